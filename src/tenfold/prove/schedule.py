"""Which fault comes when: a pure function of the seed, so that a seed repeats the schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tenfold.core.randomness import Randomness

Amount = Literal["one", "minority", "all"]
"""One of the nodes that a target means, fewer than half of them (at least one), or all at the same time."""

QUIET_S = 2.0
"""Load without faults before the first one and after the last."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault: `at_s` after the load began, for `for_s` where it lasts (a pause)."""

    at_s: float
    kind: str
    target: str
    for_s: float = 0.0
    amount: Amount = "one"

    def __str__(self) -> str:
        lasting = f" for {self.for_s:g} s" if self.for_s else ""
        how_many = "" if self.amount == "one" else f"{self.amount} "
        return f"{self.at_s:7.1f} s  {self.kind} {how_many}{self.target}{lasting}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How often a fault comes in a run, to whom (and to how many of them), and how long it lasts."""

    kind: str
    target: str
    times: int
    for_s: float = 0.0
    amount: Amount = "one"


def schedule(recipes: Sequence[Recipe], seconds: float, randomness: Randomness) -> list[Planned]:
    """Spreads the faults over the run in random order, each in a slot of its own, so that no two overlap.

    A slot has room for the fault and as much quiet after it; a run that is too short for all gets those that fit.
    """
    wanted = [recipe for recipe in recipes for _ in range(recipe.times)]
    order = sorted(wanted, key=lambda _: randomness.uniform())
    room = seconds - 2 * QUIET_S - sum(recipe.for_s for recipe in order)
    if not order or room <= 0:
        return []
    gap, at, planned = room / len(order), QUIET_S, []
    for recipe in order:
        at_s = round(at + gap * randomness.uniform() * 0.5, 3)
        planned.append(Planned(at_s, recipe.kind, recipe.target, recipe.for_s, recipe.amount))
        at += gap + recipe.for_s
    return planned
