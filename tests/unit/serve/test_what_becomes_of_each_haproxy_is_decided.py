"""Which HAProxy serves after a new start of its balancer, which drain, which are killed: every case of up to three."""

from __future__ import annotations

import itertools

import pytest

from tenfold.serve.balancer.policy import LEAVES_LATE_S, MOST_OLD, Found, Leaving, take_over, to_kill

KINDS = [("answers", False), ("answers", True), ("closed", False), ("silent", False)]
ALL = [
    tuple(Found(place + 1, voice, stopping) for place, (voice, stopping) in enumerate(kinds))
    for count in range(4)
    for kinds in itertools.product(KINDS, repeat=count)
]


@pytest.mark.parametrize("found", ALL, ids=lambda found: ",".join(f"{one.voice}{one.stopping:d}" for one in found))
def test_each_one_is_served_by_drained_or_killed(found: tuple[Found, ...]) -> None:
    decided = take_over(found)
    assert decided == take_over(reversed(found)), "the order in which they are found says nothing"
    every = [*decided.drain, *decided.kill, *([] if decided.serves is None else [decided.serves])]
    assert sorted(every) == [one.generation for one in found]
    able = [one.generation for one in found if one.voice == "answers" and not one.stopping]
    assert decided.serves == (max(able) if able else None)
    assert decided.kill == tuple(one.generation for one in found if one.voice == "silent")


def leaving(*ages_s: float) -> list[Leaving]:
    return [Leaving(generation, age_s) for generation, age_s in enumerate(ages_s, 1)]


def test_an_old_one_may_drain_as_long_as_it_said_and_a_little_longer() -> None:
    assert to_kill(leaving(0.0, 30.0, 30.0 + LEAVES_LATE_S), 30.0) == ()
    assert to_kill(leaving(30.1 + LEAVES_LATE_S, 0.0), 30.0) == (1,)
    assert to_kill([], 30.0) == ()


def test_of_too_many_the_oldest_go() -> None:
    many = leaving(*(float(MOST_OLD + 2 - place) for place in range(MOST_OLD + 2)))
    assert to_kill(many, 30.0) == (1, 2)
    assert to_kill(many[2:], 30.0) == ()
    assert to_kill(list(reversed(many)), 30.0) == (1, 2)
