"""Advice as data: what saturates first, what to do about it, and the figures that say so."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["stay", "bigger-machine", "step", "scale", "too-little"]
"""`too-little`: not enough was seen to say anything. `scale`: more processes of a tier that can have more."""


class Pressure(msgspec.Struct, frozen=True):
    """How full one resource of one tier is: `used` of `most` in `unit` (`cores`, `connections`, `bytes`, `share`).

    `share` is used / most, at its busiest node; `room` how many times the present load fits until it is full.
    """

    tier: str
    resource: str
    used: float
    most: float
    unit: str
    share: float
    room: float | None = None


class Words(msgspec.Struct, frozen=True):
    """A sentence that can be said in any language: its key in the catalogue, and what is put into it."""

    key: str
    values: dict[str, str | int | float] = {}


class Advice(msgspec.Struct, frozen=True):
    """`step` is the number of the step that is advised, 0 for another verdict; `command` what brings it about.

    `sentence` is the advice in English; `words` the same for other languages; `because` the reasons in the same way,
    the heaviest first. `first` is what saturates first, `pressures` all that was looked at, fullest first.
    """

    verdict: Verdict
    sentence: str
    words: Words
    because: tuple[str, ...] = ()
    because_words: tuple[Words, ...] = ()
    step: int = 0
    tier: str = ""
    command: str = ""
    first: Pressure | None = None
    pressures: tuple[Pressure, ...] = ()
