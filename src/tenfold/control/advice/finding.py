"""What one rule finds, and what a rule is: data, so that the page of all rules can be held against them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tenfold.control.advice.model import Verdict, Words
from tenfold.control.advice.scene import Scene
from tenfold.topology.steps import find_step

Value = str | int | float


@dataclass(frozen=True)
class Finding:
    """An advice before it is told. `because` comes before the reasons that hold for every advice."""

    verdict: Verdict
    words: Words
    because: tuple[Words, ...] = ()
    step: int = 0
    tier: str = ""
    resource: str = ""
    command: str = ""


@dataclass(frozen=True)
class Rule:
    """One rule: when it applies, what it says and where it comes from, in words; and the rule itself."""

    name: str
    when: str
    says: str
    source: str
    look: Callable[[Scene], Finding | None]


def words(key: str, **values: Value) -> Words:
    """A sentence of the catalogue: `advice.KEY` with what is put into it, rounded as a person reads it."""
    return Words(f"advice.{key}", {name: _rounded(value) for name, value in values.items()})


def percent(share: float) -> int:
    """A share as a whole number of hundredths."""
    return round(share * 100)


def _rounded(value: Value) -> Value:
    if isinstance(value, str | int):
        return value
    size = abs(value)
    return round(value) if size >= 100 else round(value, 1 if size >= 10 else 2)


def coming(scene: Scene, *slugs: str) -> tuple[Words, ...]:
    """What will relieve a tier one day: the first of these steps that the map does not have. Nothing is promised of a
    step that exists: it is advised."""
    for slug in slugs:
        step = find_step(slug)
        if not step.holds(scene.current):
            return () if step.exists else (words(f"coming.{step.number}", step=step.number),)
    return ()


def climb(scene: Scene, slug: str, found: Finding) -> Finding | None:
    """`found` as the advice to take a step; None when the map has it, or this version cannot take it."""
    step = find_step(slug)
    if step.holds(scene.current) or not step.exists:
        return None
    return Finding(
        "step", found.words, found.because, step.number, found.tier, found.resource, f"tenfold climb {step.number}"
    )
