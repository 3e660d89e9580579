"""The advice: the rules in their order, the first that applies, and what holds for every advice. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tenfold.control.advice.calm_rules import CALM_RULES
from tenfold.control.advice.data_rules import DATABASE_RULES, FILE_RULES
from tenfold.control.advice.finding import Finding, Rule, words
from tenfold.control.advice.levels import FULL, LEAST_S, TOLERANCE
from tenfold.control.advice.machine_rules import DISK_RULE, MACHINE_RULES, PROCESSOR_RULE
from tenfold.control.advice.model import Advice, Pressure, Words
from tenfold.control.advice.phrases import say
from tenfold.control.advice.pressures import ERRORS_MOST, LEAST_RATE, first_of, pressures_of
from tenfold.control.advice.scene import Scene, missing_in, scene_of
from tenfold.control.advice.tier_rules import TIER_RULES
from tenfold.control.figures.model import Figures
from tenfold.topology.map import Map

RULES: tuple[Rule, ...] = (
    *MACHINE_RULES,
    *DATABASE_RULES,
    PROCESSOR_RULE,
    DISK_RULE,
    *FILE_RULES,
    *TIER_RULES,
    *CALM_RULES,
)
"""In the order in which they are asked; the first that applies is the advice."""


def advise(current: Map, history: Sequence[Figures]) -> Advice:
    """What to do next with a deployment: mostly nothing.

    `history` are windows of any length and in any order; those of the last ten minutes count, as far as they were
    measured with the nodes that the map has now. With less than four seconds of them, and while a move is under way,
    the verdict is `too-little`. The same values give the same advice.
    """
    scene = scene_of(current, history)
    if scene.seconds < LEAST_S:
        return _too_little(scene, missing_in(current, history))
    pressures = pressures_of(scene)
    if scene.moving:
        return _told(Finding("too-little", words("moving")), (), pressures)
    found = next(finding for rule in RULES if (finding := rule.look(scene)) is not None)
    return _told(found, _also(scene, found), pressures)


def _too_little(scene: Scene, missing: tuple[str, ...]) -> Advice:
    if missing:
        return _told(Finding("too-little", words("missing", nodes=", ".join(missing))), (), ())
    return _told(Finding("too-little", words("too_little", seconds=scene.seconds, least=LEAST_S)), (), ())


def _told(found: Finding, also: tuple[Words, ...], pressures: tuple[Pressure, ...]) -> Advice:
    because = (*found.because, *also)
    of_it = (each for each in pressures if (each.tier, each.resource) == (found.tier, found.resource))
    return Advice(
        verdict=found.verdict,
        sentence=say(found.words),
        words=found.words,
        because=tuple(say(reason) for reason in because),
        because_words=because,
        step=found.step,
        tier=found.tier,
        command=found.command,
        first=next(of_it, first_of(pressures)),
        pressures=pressures,
    )


def _also(scene: Scene, found: Finding) -> tuple[Words, ...]:
    """Reasons that hold whatever the advice is."""
    reasons = []
    took = scene.took_ms(lambda window: window.public), scene.took_ms(lambda window: window.public, "p99_ms")
    if scene.rate >= LEAST_RATE and took[1]:
        reasons.append(words("seen", rate=scene.rate, p50=took[0], p99=took[1]))
    if found.resource != "errors" and scene.rate >= LEAST_RATE and scene.errors >= ERRORS_MOST:
        reasons.append(words("errors.too", part=scene.errors * 100))
    if found.verdict != "stay" and _past(scene, found):
        reasons.append(words("past", minutes=max(1, round(scene.seconds / 60))))
    if scene.machine.silent:
        reasons.append(words("silent", nodes=", ".join(scene.machine.silent)))
    return tuple(reasons)


def _past(scene: Scene, found: Finding) -> bool:
    """Whether the tier was full in the last minutes and is not any more."""
    uses = scene.uses(found.tier) if found.resource == "cpu" else []
    return bool(uses) and all(use.now < FULL * (1 - TOLERANCE) for use in uses)
