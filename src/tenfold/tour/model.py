"""What a tour has seen, as data: trials of a load, how a step was climbed to, and what each step carried."""

from __future__ import annotations

import msgspec

from tenfold.control.advice.model import Advice

P99_LIMIT_MS = 250.0
"""A rate is carried when 99 % of its answers take at most this long, from when they were due ..."""
OK_LEAST = 0.999
"""... and this share of the requests is answered as it should be."""
LAG_LIMIT_MS = 50.0
"""When the load itself sends this much too late (99 %), the trial says nothing about the service."""


class Trial(msgspec.Struct, frozen=True):
    """One rate (requests a second) for a while. `lag_ms`: by how much the load was sent too late (99 %)."""

    rate: float
    seconds: float
    sent: int
    ok: int
    p50_ms: float
    p99_ms: float
    longest_ms: float = 0.0
    lag_ms: float = 0.0

    @property
    def carried(self) -> bool:
        """Whether the service carried this rate. Pure."""
        return bool(self.sent) and self.ok >= self.sent * OK_LEAST and self.p99_ms <= P99_LIMIT_MS

    @property
    def says_nothing(self) -> bool:
        """Whether it was not carried because the load could not be sent in time: the fault of the sender."""
        return not self.carried and self.lag_ms > LAG_LIMIT_MS


class Move(msgspec.Struct, frozen=True):
    """One move of a climb; how long it took, and for how long writes were held at most."""

    name: str
    took_s: float
    held_ms: float


class Climb(msgspec.Struct, frozen=True):
    """How a place was reached under load, and what the users saw of it (`load`)."""

    moves: tuple[Move, ...]
    took_s: float
    load: Trial

    @property
    def held_ms(self) -> float:
        """For how long writes were held, by the moves themselves."""
        return max((move.held_ms for move in self.moves), default=0.0)

    @property
    def failed(self) -> int:
        """How many of the requests were not answered as they should."""
        return self.load.sent - self.load.ok


class Stop(msgspec.Struct, frozen=True):
    """One place of the tour: a step, and what it carried.

    `rate` is the highest rate that was carried, with its percentiles; `at_least` when the load had no more to send,
    `sure` when it was carried twice. `roles` counts the nodes; `wide`: the same step as before with more web servers.
    `not_run` says why the step was not taken; then nothing else is known of it.
    """

    step: int
    slug: str
    wide: bool = False
    roles: dict[str, int] = {}
    rate: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    at_least: bool = False
    sure: bool = True
    trials: tuple[Trial, ...] = ()
    advice: Advice | None = None
    climb: Climb | None = None
    not_run: str = ""

    @property
    def ran(self) -> bool:
        """Whether something was measured here."""
        return not self.not_run and bool(self.trials)


class Tour(msgspec.Struct, frozen=True):
    """A whole tour. `parts` are the parts of a core that nodes had, by role; empty without caps. `partial` says why it
    ended before its end, empty when it did not. `seconds` is what each step got for the search."""

    service: str
    at_us: int
    version: str
    language: str
    cores: int
    parts: dict[str, float]
    seconds: float
    stops: tuple[Stop, ...] = ()
    took_s: float = 0.0
    partial: str = ""
    p99_limit_ms: float = P99_LIMIT_MS
    ok_least: float = OK_LEAST
