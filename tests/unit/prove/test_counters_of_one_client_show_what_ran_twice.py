"""The exactly-once checker: by hand, and against the definition on thousands of small histories."""

from __future__ import annotations

import itertools

import pytest
from histories import named, op
from hypothesis import given
from hypothesis import strategies as st

from tenfold.prove.checkers import exactly_once
from tenfold.prove.history import Operation, Status

UNKNOWN, FAIL = Status.UNKNOWN, Status.FAIL


def add(answer: int | None, at: int, status: Status = Status.OK, **more: object) -> Operation:
    return op("increment", answer if status is Status.OK else None, at, at + 5, status, **more)


def seen(count: object, at: int) -> Operation:
    return op("read", count, at, at + 5)


def test_a_client_that_counts_alone_hears_its_own_number() -> None:
    found = exactly_once.check([add(1, 0), add(2, 10), add(3, 20, keyed=True), seen(3, 30)])
    assert found.clean
    assert (found.n, found.figures) == (3, {"keyed": 1, "unknown": 0, "unread": 0})


def test_a_request_that_ran_twice_shows_in_its_own_answer_or_in_the_next() -> None:
    found = exactly_once.check([add(1, 0), add(3, 10), seen(3, 20)])
    assert found.anomalies == {"counted-twice": 2}
    assert named(found)["counted-twice"][0] == [("increment", 3)]
    assert exactly_once.check([add(1, 0), add(2, 10), seen(3, 20)]).anomalies == {"counted-twice": 1}


def test_an_acknowledged_one_that_is_gone_shows() -> None:
    assert exactly_once.check([add(1, 0), add(1, 10), seen(1, 20)]).anomalies == {"not-counted": 2}


def test_an_unknown_one_may_count_or_not_and_a_failed_one_must_not() -> None:
    for count, clean in ((1, True), (2, True), (3, False), (0, False)):
        assert exactly_once.check([add(1, 0), add(None, 10, UNKNOWN), seen(count, 20)]).clean is clean
    assert exactly_once.check([add(1, 0), add(None, 10, FAIL), seen(2, 20)]).anomalies == {"counted-twice": 1}


@pytest.mark.parametrize("value", [None, "3", True, 1.5])
def test_what_is_no_number_is_named(value: object) -> None:
    assert exactly_once.check([seen(value, 0)]).anomalies == {"not-a-number": 1}


def test_a_counter_that_nobody_read_at_the_end_is_told() -> None:
    assert exactly_once.check([add(1, 0)]).figures["unread"] == 1
    assert exactly_once.check([add(1, 0), seen(1, 3)]).figures["unread"] == 1, "it was sent before"
    assert exactly_once.check([add(1, 0), seen(1, 5)]).figures["unread"] == 0


@given(st.lists(st.tuples(st.sampled_from([Status.OK, Status.OK, UNKNOWN, FAIL]), st.integers(0, 4)), max_size=6))
def test_it_agrees_with_every_way_that_it_can_have_been(steps: list[tuple[Status, int]]) -> None:
    """By definition: some choice of which unknown ones were applied, and when from then on, explains every answer."""
    history = [add(answer, 10 * place, status) for place, (status, answer) in enumerate(steps)]
    assert exactly_once.check(history).clean is explained(history)


def explained(history: list[Operation]) -> bool:
    unknown = [place for place, each in enumerate(history) if each.status is UNKNOWN]
    never = len(history)
    for applied in itertools.product(*(range(place, never + 1) for place in unknown)):
        count, good = 0, True
        for place, each in enumerate(history):
            count += sum(when == place for when in applied)
            if each.status is Status.OK:
                count += 1
                # what is applied while this one runs may come before it or after it: both orders are tried by `applied`
                good = good and each.value == count
        if good:
            return True
    return False
