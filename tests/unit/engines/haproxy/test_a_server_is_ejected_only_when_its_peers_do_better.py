"""When a web server gets nothing new for a while, and when it must not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.engines.haproxy.outliers import (
    FIRST_OUT_S,
    FORGIVEN_AFTER_S,
    LONGEST_OUT_S,
    Ejection,
    Outliers,
    Sample,
    Tally,
    look,
    tally_of,
)
from tenfold.engines.haproxy.runtime import ServerStat

Rates = dict[str, tuple[int, int]]


def watch(rates: Rates, seconds: int) -> Outliers:
    """So many seconds in which each server gets (requests, failures) each second, unless it is out."""
    state = Outliers()
    counts = {name: Tally(1000, 0) for name in rates}
    for second in range(seconds + 1):
        out = state.ejected(second)
        state = look(state, Sample(second, dict(counts)), frozenset(rates))
        counts = {
            name: tally if name in out else Tally(tally.requests + rates[name][0], tally.failures + rates[name][1])
            for name, tally in counts.items()
        }
    return state


@pytest.mark.parametrize("peers", [1, 2, 5])
def test_one_that_fails_while_the_others_do_not_is_ejected(peers: int) -> None:
    good = {f"web-{number}": (20, 0) for number in range(2, peers + 2)}
    assert watch({"web-1": (20, 20), **good}, 5).ejected(5) == {"web-1"}
    assert watch({"web-1": (20, 10), **good}, 5).ejected(5) == {"web-1"}


@pytest.mark.parametrize(
    "rates",
    [
        {"web-1": (20, 20), "web-2": (20, 20), "web-3": (20, 20)},  # an address that fails everywhere
        {"web-1": (20, 12), "web-2": (20, 4), "web-3": (20, 4)},  # worse, but not much worse
        {"web-1": (20, 2), "web-2": (20, 0), "web-3": (20, 0)},  # much worse, but not bad
        {"web-1": (1, 1), "web-2": (20, 0), "web-3": (20, 0)},  # too little is known of it
        {"web-1": (20, 20), "web-2": (1, 0)},  # too little is known of its peers
        {"web-1": (20, 20)},  # it has none
        {"web-1": (0, 0), "web-2": (0, 0)},
    ],
)
def test_others_are_left_alone(rates: Rates) -> None:
    assert watch(rates, 9).ejected(9) == frozenset()


def test_it_comes_back_and_stays_away_longer_each_time() -> None:
    rates = {"web-1": (20, 20), "web-2": (20, 0), "web-3": (20, 0)}
    state, spans, began = Outliers(), [], None
    counts = {name: Tally() for name in rates}
    for second in range(1500):
        out = state.ejected(second)
        state = look(state, Sample(second, dict(counts)), frozenset(rates))
        now_out = "web-1" in state.ejected(second)
        if now_out and began is None:
            began = second
        if not now_out and began is not None:
            spans.append(second - began)
            began = None
        counts = {
            name: tally if name in out else Tally(tally.requests + rates[name][0], tally.failures + rates[name][1])
            for name, tally in counts.items()
        }
    assert spans[:5] == [FIRST_OUT_S * 2**number for number in range(5)]
    assert max(spans) <= LONGEST_OUT_S


def test_it_is_forgiven_after_a_long_time_without() -> None:
    state = Outliers(ejections={"web-1": Ejection(until_s=100.0, times=4)})
    known = look(state, Sample(100.0 + FORGIVEN_AFTER_S - 1, {}), frozenset())
    assert known.ejections["web-1"].times == 4
    assert look(state, Sample(100.0 + FORGIVEN_AFTER_S, {}), frozenset()).ejections == {}


@given(bad=st.integers(0, 9), good=st.integers(0, 9), seconds=st.integers(2, 40), worse=st.integers(0, 20))
def test_never_more_than_a_third_and_never_the_last(bad: int, good: int, seconds: int, worse: int) -> None:
    rates = {f"bad-{number}": (20, worse) for number in range(bad)} | {
        f"good-{number}": (20, 0) for number in range(good)
    }
    state = Outliers()
    counts = {name: Tally() for name in rates}
    for second in range(seconds):
        out = state.ejected(second)
        state = look(state, Sample(second, dict(counts)), frozenset(rates))
        ejected = state.ejected(second)
        assert len(ejected) <= max(1, len(rates) // 3)
        assert not rates or ejected != set(rates)
        assert not any(name.startswith("good") for name in ejected)
        counts = {
            name: tally if name in out else Tally(tally.requests + rates[name][0], tally.failures + rates[name][1])
            for name, tally in counts.items()
        }


def test_counts_that_begin_anew_are_not_taken_for_less() -> None:
    """HAProxy was reloaded: its counts are zero again."""
    rates = {"web-1": (20, 0), "web-2": (20, 0)}
    state = watch(rates, 5)
    fresh = {"web-1": Tally(5, 5), "web-2": Tally(30, 0)}
    state = look(state, Sample(6.0, fresh), frozenset(rates))
    assert state.ejected(6.0) == frozenset(), "5 failures of 105 requests"


def test_one_that_is_down_already_does_not_use_up_the_room_of_others() -> None:
    rates = {"web-1": (20, 20), "web-2": (20, 0), "web-3": (20, 0)}
    state, counts = Outliers(), {name: Tally() for name in rates}
    for second in range(6):
        state = look(state, Sample(second, dict(counts)), frozenset({"web-1"}))
        counts = {
            name: Tally(one.requests + rates[name][0], one.failures + rates[name][1]) for name, one in counts.items()
        }
    assert state.ejected(6) == frozenset(), "web-1 is the last that serves"


def test_what_counts_as_failed() -> None:
    stat = ServerStat("web", "web-1", "UP", 1, 0, 0, 0, 10, 2, 3, 4, 0, 0, 0, 0, "L7OK")
    assert tally_of(stat) == Tally(10, 9)
