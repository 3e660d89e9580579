from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tenfold.core.randomness import SeededRandomness
from tenfold.prove.schedule import QUIET_S, Recipe, schedule

RECIPES = (Recipe("kill", "web", 5), Recipe("pause", "web", 2, 3.0), Recipe("kill", "keeper", 1))


def test_the_same_seed_gives_the_same_schedule_and_another_one_does_not() -> None:
    assert schedule(RECIPES, 60, SeededRandomness(1)) == schedule(RECIPES, 60, SeededRandomness(1))
    assert schedule(RECIPES, 60, SeededRandomness(1)) != schedule(RECIPES, 60, SeededRandomness(2))


@given(st.integers(0, 10_000), st.floats(20, 2000))
def test_every_fault_comes_once_in_order_without_overlap_and_with_quiet_at_both_ends(seed: int, seconds: float) -> None:
    planned = schedule(RECIPES, seconds, SeededRandomness(seed))
    assert sorted((each.kind, each.target) for each in planned) == sorted(
        (recipe.kind, recipe.target) for recipe in RECIPES for _ in range(recipe.times)
    )
    assert planned[0].at_s >= QUIET_S
    for one, later in itertools.pairwise(planned):
        assert one.at_s + one.for_s <= later.at_s + 0.001
    assert planned[-1].at_s + planned[-1].for_s <= seconds - QUIET_S + 0.001


def test_a_run_without_room_for_faults_has_none() -> None:
    assert schedule(RECIPES, 5, SeededRandomness(1)) == []


def test_a_fault_is_told_with_its_time_and_length() -> None:
    planned = schedule((Recipe("pause", "web", 1, 3.0),), 30, SeededRandomness(1))[0]
    assert str(planned).split() == [f"{planned.at_s:.1f}", "s", "pause", "web", "for", "3", "s"]
