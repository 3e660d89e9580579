"""Decisions about the HAProxy of one balancer. Pure: what is seen goes in, what is to be done comes out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

HANGS_AFTER_S = 3.0
"""A HAProxy that has not answered for so long does not serve either: it is killed and started again."""
ASKED = 2
"""So often it is asked before that."""
ANSWERS_WITHIN_S = 5.0
"""A new HAProxy that has not answered within that time is given up; the old one goes on."""
LEAVES_LATE_S = 2.0
"""An old HAProxy bounds its own drain; when it has not ended this long after that, it is killed."""
GRACE_SLACK_S = 5.0
"""What the keeper grants a balancer beyond the drain's limit."""
MOST_OLD = 8
"""Old HAProxys that still drain, at most; with one more, the oldest is killed."""


Voice = Literal["answers", "closed", "silent"]
"""What a HAProxy's control socket says: it answers; nobody listens there any more, as when HAProxy drains; or somebody
does and says nothing, as when HAProxy hangs."""


@dataclass(frozen=True)
class Found:
    """A HAProxy of ours that runs. `generation` counts the starts; `stopping`: it answers that it drains."""

    generation: int
    voice: Voice
    stopping: bool = False


@dataclass(frozen=True)
class Takeover:
    """What becomes of each HAProxy that a balancer process before this one left running, by generation."""

    serves: int | None = None
    drain: tuple[int, ...] = ()
    kill: tuple[int, ...] = ()


def take_over(found: Iterable[Found]) -> Takeover:
    """Which HAProxy goes on to serve when a new balancer process starts.

    The youngest that answers: an older one that answers as well was about to be replaced by it when its process died.
    What hangs is killed, the rest ends after its last request.
    """
    by_age = sorted(found, key=lambda one: one.generation)
    able = [one.generation for one in by_age if one.voice == "answers" and not one.stopping]
    serves = able[-1] if able else None
    return Takeover(
        serves=serves,
        drain=tuple(one.generation for one in by_age if one.voice != "silent" and one.generation != serves),
        kill=tuple(one.generation for one in by_age if one.voice == "silent"),
    )


@dataclass(frozen=True)
class Leaving:
    """An old HAProxy: `age_s` is for how long it has been leaving."""

    generation: int
    age_s: float


def to_kill(leaving: Sequence[Leaving], drain_limit_s: float) -> tuple[int, ...]:
    """The generations of those that have been leaving for too long, or that are too many."""
    by_age = sorted(leaving, key=lambda one: (-one.age_s, one.generation))
    surplus = max(len(by_age) - MOST_OLD, 0)
    return tuple(
        one.generation
        for place, one in enumerate(by_age)
        if place < surplus or one.age_s > drain_limit_s + LEAVES_LATE_S
    )


def descriptors_for(limit: int) -> int:
    """How many files HAProxy is said to be able to open where the limit is `limit`: it takes half a pipe more for each
    connection than the two sockets, and it does not start when that is too much."""
    return limit * 4 // 5
