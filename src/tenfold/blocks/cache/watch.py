"""How old what the cache knows of other processes may be.

Before an answer, the cache asks whether others have dropped keys, at most once in `LOOK_EVERY_S`. It goes by
the clock that a hit reads anyway, not by a timer of the loop: a process that was paused runs what had arrived before
its timers, and would answer from a memory as old as the pause.
"""

from __future__ import annotations

import math
from collections.abc import Callable

LOOK_EVERY_S = 0.002
"""What is answered is at most that old. A look costs 2 to 5 microseconds: a quarter of a percent of a core at most."""


class Watch:
    """Says when to look next: `until` is monotonic seconds, infinite while there is nobody to ask."""

    __slots__ = ("_catch_up", "until")

    def __init__(self) -> None:
        self.until = math.inf
        self._catch_up: Callable[[], object] = _nothing

    def follow(self, catch_up: Callable[[], object]) -> None:
        """Asks `catch_up` from now on."""
        self._catch_up = catch_up
        self.until = -math.inf

    def look(self, now: float) -> None:
        """Asks now; the next time is `LOOK_EVERY_S` after `now`."""
        self.until = now + LOOK_EVERY_S
        self._catch_up()


def _nothing() -> None:
    return None
