"""Backoff: at once after a good life, later and later after short ones, never later than ten seconds."""

from __future__ import annotations

from tenfold.hosts.backoff import DELAYS_S, LOOP_AFTER, SETTLED_S, Backoff


def delays(*lives: float | None) -> list[float]:
    state, found = Backoff(), []
    for ready_s in lives:
        state, delay = state.after(ready_s)
        found.append(delay)
    return found


def test_the_first_restart_is_immediate_whatever_happened() -> None:
    assert delays(None) == delays(0.01) == delays(3600.0) == [0.0]


def test_lives_that_never_got_ready_wait_longer_up_to_ten_seconds() -> None:
    found = delays(*[None] * 12)
    assert found == sorted(found)
    assert found[:8] == list(DELAYS_S)
    assert set(found[8:]) == {10.0}


def test_a_settled_life_makes_the_next_start_immediate_again() -> None:
    assert delays(None, None, None, SETTLED_S, None) == [0.0, 0.25, 0.5, 0.0, 0.0]


def test_being_killed_while_ready_is_not_held_against_a_process() -> None:
    state = Backoff()
    for _ in range(100):
        state, delay = state.after(0.01, killed=True)
        assert delay == 0.0
    assert not state.loops


def test_being_killed_before_it_was_ready_counts_as_a_short_life() -> None:
    assert Backoff(3).after(None, killed=True) == (Backoff(4), DELAYS_S[3])


def test_a_crash_loop_is_named_after_some_short_lives_and_forgotten_after_a_good_one() -> None:
    state = Backoff()
    for _ in range(LOOP_AFTER):
        assert not state.loops
        state, _delay = state.after(None)
    assert state.loops
    assert not state.after(SETTLED_S)[0].loops
