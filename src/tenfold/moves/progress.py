"""How far a move is: what its stages tell, with a rate and the time that is left, for whoever looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tenfold.core.clock import Clock
from tenfold.core.redact import redact

SAVE_EVERY_S = 1.0
STEADY_S = 0.5
"""No rate is told before it has been seen for so long: the first rows of a table are no measure for the rest."""

WINDOW_S = 10.0
"""Over how long a rate is measured, when a stage tells none."""

Facts = dict[str, Any]


class Tracker:
    """The progress of one move. `save` gets the facts at most once a second, for those who look after its death."""

    def __init__(self, clock: Clock, save: Callable[[Facts], None] = lambda _facts: None) -> None:
        self._clock = clock
        self._save = save
        self._saved_s = float("-inf")
        self._told: Facts = {}
        self.begin("", "")

    def begin(self, stage: str, doing: str) -> None:
        """A stage (or the undoing of one) is under way."""
        self._stage, self._doing, self._since_s = stage, doing, self._clock.monotonic()
        self._done, self._total, self._unit, self._rate = 0, 0, "", 0.0
        self._seen: list[tuple[float, int]] = []
        self._told = {}
        self._maybe_save()

    def say(self, doing: str, *, done: int = 0, total: int = 0, unit: str = "", rate: float = 0.0) -> None:
        """See `moves.base.Progress`."""
        if (unit, total > 0) != (self._unit, self._total > 0) or done < self._done:
            self._seen = []
        self._doing, self._done, self._total, self._unit = doing, done, total, unit
        self._rate = rate or self._measured()
        self._maybe_save()

    def fact(self, name: str, value: Any) -> None:
        """See `moves.base.Progress`."""
        self._told[name] = redact(value)

    def take_facts(self) -> Facts:
        """What the stage told about itself since it began."""
        told, self._told = self._told, {}
        return told

    def facts(self) -> Facts:
        """`stage`, `doing`, `done` of `total` in `unit`, `rate` a second, `left_s` (None: nobody knows), `for_s`."""
        left = (self._total - self._done) / self._rate if self._rate > 0 and self._total > self._done else None
        return {
            "stage": self._stage,
            "doing": self._doing,
            "done": self._done,
            "total": self._total,
            "unit": self._unit,
            "rate": round(self._rate, 1),
            "left_s": None if left is None else round(left, 1),
            "for_s": round(self._clock.monotonic() - self._since_s, 1),
        }

    def _measured(self) -> float:
        now = self._clock.monotonic()
        self._seen = [(at, done) for at, done in self._seen if now - at <= WINDOW_S]
        self._seen.append((now, self._done))
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        return (last - first) / (last_s - first_s) if last_s - first_s >= STEADY_S else 0.0

    def _maybe_save(self) -> None:
        now = self._clock.monotonic()
        if now - self._saved_s >= SAVE_EVERY_S:
            self._saved_s = now
            self._save(self.facts())
