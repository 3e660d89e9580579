"""The decisions of the tasks block, without a database."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.blocks.tasks.policy import (
    AGE_US,
    LOOK_LIMIT_S,
    NOWHERE,
    PRIORITIES,
    SILENT_S,
    SLACK_US,
    Retry,
    Silence,
    duration_us,
    free_in_lanes,
    poll_s,
    rank,
    watermark,
)
from tenfold.core.errors import ContractError
from tenfold.core.randomness import SeededRandomness

NOW = 1_700_000_000_000_000


def test_the_first_to_be_due_goes_first_and_priority_is_a_head_start() -> None:
    assert rank(NOW, 0) < rank(NOW + 1, 0)
    assert rank(NOW + AGE_US - 1, 1) < rank(NOW, 0) < rank(NOW + AGE_US + 1, 1)


@given(st.integers(-PRIORITIES, PRIORITIES), st.integers(-PRIORITIES, PRIORITIES))
def test_who_waits_long_enough_goes_before_everybody_who_comes_later(mine: int, theirs: int) -> None:
    assert rank(NOW, mine) < rank(NOW + 2 * PRIORITIES * AGE_US + 1, theirs)


def test_waits_grow_to_their_limit_and_are_spread() -> None:
    retry, draw = Retry(max=9, first="1s", limit="10s", jitter=0.5), SeededRandomness(1)
    for attempt, longest in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (50, 10)):
        waits = [retry.wait_s(attempt, draw) for _ in range(50)]
        assert longest / 2 <= min(waits) < max(waits) <= longest


def test_a_job_goes_on_until_its_attempts_are_used_or_its_error_is_hopeless() -> None:
    retry = Retry(max=3, give_up=(KeyError, OSError))
    assert [retry.goes_on(attempt, ValueError()) for attempt in (1, 2, 3, 4)] == [True, True, False, False]
    assert not retry.goes_on(1, KeyError())
    assert not retry.goes_on(1, FileNotFoundError())
    assert not Retry(max=1).goes_on(1, ValueError())


@pytest.mark.parametrize(
    "wrong", [{"max": 0}, {"max": True}, {"first": "0s"}, {"first": "2s", "limit": "1s"}, {"jitter": 2}, {"max": 1001}]
)
def test_a_retry_that_is_not_possible_is_refused_when_it_is_made(wrong: dict[str, object]) -> None:
    with pytest.raises(ContractError, match="TF-TASK-OPTIONS"):
        Retry(**wrong)  # type: ignore[arg-type]


def test_a_duration_that_is_none_names_the_option() -> None:
    assert duration_us("1m30s", "timeout") == 90_000_000
    with pytest.raises(ContractError, match="timeout"):
        duration_us("soon", "timeout")
    with pytest.raises(ContractError, match="100 years"):
        duration_us("99999999999d", "delay")


def test_a_worker_is_dead_when_its_beat_stands_still_for_long_enough() -> None:
    silence = Silence()
    for second in range(int(SILENT_S) + 1):
        assert silence.look(second, {"a": 1, "b": second}) == []
    assert silence.look(SILENT_S + 1, {"a": 1, "b": 99}) == ["a"]
    assert silence.look(SILENT_S + 2, {"a": 2, "b": 99}) == [], "who beats again is alive"


def test_a_worker_that_is_seen_for_the_first_time_has_its_whole_lease() -> None:
    silence = Silence()
    silence.look(0, {})
    assert silence.look(1000, {"new": 5}) == []
    assert silence.look(1000 + LOOK_LIMIT_S, {"new": 5}) == []


@pytest.mark.parametrize("pause_s", [10.1, 60.0, 3600.0, 1e9])
def test_a_pause_of_the_one_who_looks_condemns_nobody(pause_s: float) -> None:
    silence = Silence()
    silence.look(0, {"a": 1})
    silence.look(1, {"a": 1})
    assert silence.look(1 + pause_s, {"a": 1}) == []
    assert silence.look(2 + pause_s, {"a": 2}) == []


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=40))
def test_nobody_is_dead_before_the_lease_is_over_by_the_clock_of_the_one_who_looks(gaps: list[float]) -> None:
    silence = Silence()
    for now in itertools.accumulate(gaps, initial=0.0):
        if silence.look(now, {"a": 1}):
            assert now > SILENT_S


def test_a_lane_has_as_many_free_places_as_its_limit_leaves() -> None:
    assert free_in_lanes({"a": 3, "b": 1, "c": 2}, [("a", 1), ("b", 1), ("x", 9)]) == {"a": 2, "c": 2}
    assert free_in_lanes({"a": 1}, [("a", 5)]) == {}


def test_a_watermark_only_rises_and_stays_below_what_may_still_come() -> None:
    assert watermark(NOWHERE, None, NOW) == NOW - SLACK_US
    assert watermark(NOWHERE, NOW - 50_000_000, NOW) == NOW - 50_000_000 - SLACK_US
    assert watermark(NOW, NOW - 50_000_000, NOW) == NOW
    assert watermark(NOWHERE, NOW + 10**9, NOW) == NOW - SLACK_US, "a rank of the future hides nothing that is due"


def test_an_idle_worker_polls_ever_more_rarely_up_to_two_seconds() -> None:
    waits = [poll_s(empty) for empty in range(100)]
    assert waits[0] == 0.1
    assert waits == sorted(waits)
    assert waits[-1] == 2.0
