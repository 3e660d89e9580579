"""When a child that ended is started again. Pure: lives in, delays out."""

from __future__ import annotations

from dataclasses import dataclass

DELAYS_S = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
"""Seconds before the first, second, ... restart in a row; the last one repeats."""
SETTLED_S = 1.0
"""A life that was ready this long is a good one: whatever ended it, the next start is immediate."""
LOOP_AFTER = 4
"""Short lives in a row from which on the child is reported as crashing again and again."""


@dataclass(frozen=True)
class Backoff:
    """How many lives in a row were short. A child that is killed while it works comes back at once, however often;
    one that never gets ready, or dies as soon as it is, waits longer each time."""

    short_lives: int = 0

    def after(self, ready_s: float | None, *, killed: bool = False) -> tuple[Backoff, float]:
        """The next state and the delay in seconds, after a life that was ready for `ready_s` seconds (None: never).

        `killed`: somebody else ended it with SIGKILL, which says nothing about the process itself once it was ready.
        """
        settled = ready_s is not None and (ready_s >= SETTLED_S or killed)
        before = 0 if settled else self.short_lives
        delay = DELAYS_S[min(before, len(DELAYS_S) - 1)]
        return Backoff(0 if settled else before + 1), delay

    @property
    def loops(self) -> bool:
        return self.short_lives >= LOOP_AFTER
