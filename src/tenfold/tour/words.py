"""What a tour says, in English and Korean: `words/LANGUAGE.json`, where `{name}` stands for a value."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from importlib.resources import files

from tenfold.control.advice.phrases import say, shown
from tenfold.tour.model import Climb, Stop, Trial

LANGUAGES = ("en", "ko")
HELD_MOST_MS = 1000.0
"""For how long a move may hold writes (P1)."""
PARTS = ("what", "brings", "costs", "due")
"""What is said of each step, in this order."""
MORE, LESS = 1.1, 0.9
"""A step that carries this many times what the one before did has grown; below the other it has shrunk."""

Value = str | int | float


@functools.cache
def catalogue(language: str) -> Mapping[str, str]:
    """The sentences of one of `LANGUAGES`."""
    text = files("tenfold.tour").joinpath("words", f"{language}.json").read_text("utf-8")
    found: dict[str, str] = json.loads(text)
    return found


class Words:
    """The sentences of one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._catalogue = catalogue(language)

    def __call__(self, key: str, **values: Value) -> str:
        """A sentence with its values. A `KeyError` is a fault of ours."""
        return self._catalogue[key].format(**{name: shown(value) for name, value in values.items()})

    def title(self, stop: Stop) -> str:
        """The heading of a place of the tour."""
        name = self(f"step.{stop.step}.title")
        if stop.wide:
            return self("wide", step=stop.step, title=name, web=stop.roles.get("web", 0))
        return self("step", step=stop.step, title=name)

    def label(self, stop: Stop) -> str:
        """A few words for it in a plot."""
        if stop.wide:
            return self("wide.label", web=stop.roles.get("web", 0))
        return self(f"step.{stop.step}.title")

    def explained(self, step: int, *, wide: bool = False) -> list[tuple[str, str]]:
        """What a step is, brings, costs, and when it is due: a heading and a text each."""
        prefix = "wide" if wide else f"step.{step}"
        return [(self(part), self(f"{prefix}.{part}")) for part in PARTS]

    def verdict(self, trial: Trial) -> str:
        """What became of a trial, in a word or two."""
        if trial.carried:
            return self("trial.carried")
        if trial.says_nothing:
            return self("trial.sender")
        failed = trial.sent - trial.ok
        slow = trial.p99_ms > 0 and failed <= trial.sent / 1000
        return self("trial.slow") if slow else self("trial.failed", failed=failed)

    def carried(self, stop: Stop) -> str:
        """What it carries, in a sentence."""
        if not stop.rate:
            return self("carries.nothing")
        found = self("carries.at_least" if stop.at_least else "carries", rate=stop.rate, p99=stop.p99_ms)
        return found if stop.sure else f"{found} {self('carries.once')}"

    def compared(self, stop: Stop, before: Stop | None) -> str:
        """How that compares with the place before; empty when there is nothing to compare."""
        if before is None or not before.rate or not stop.rate or before.at_least or stop.at_least:
            return ""
        times = round(stop.rate / before.rate, 2)
        if times >= MORE:
            return self("grew", times=times)
        if times > LESS:
            return self("same", times=times)
        alone = stop.roles.get("web") == 1
        return self("shrank" if alone else "shrank.other", times=times)

    def advice(self, stop: Stop) -> tuple[str, list[str]]:
        """The advice and its reasons."""
        if stop.advice is None:
            return self("advice.none"), []
        return say(stop.advice.words, self.language), [say(each, self.language) for each in stop.advice.because_words]

    def promised(self) -> str:
        """What every climb promises."""
        return self("promised", held=HELD_MOST_MS)

    def seen(self, climb: Climb) -> str:
        """What its users saw of a climb."""
        load = climb.load
        return self(
            "seen" if climb.held_ms else "seen.none",
            failed=climb.failed,
            sent=load.sent,
            held=round(climb.held_ms),
            longest=round(load.longest_ms),
            took=climb.took_s,
        )

    def parts(self, parts: Mapping[str, float], unit: str = "") -> str:
        """The parts of a core by role, in percent."""
        return ", ".join(self(f"part.{role}", part=f"{part * 100:g}{unit}") for role, part in parts.items())
