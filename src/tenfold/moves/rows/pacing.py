"""How the copy leaves room for the service: a pure rule from what was seen to a pause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SLOWER = 1.3
"""The service may be this much slower at its 99th percentile while rows are copied."""

_FIRST, _LEAST, _MOST = 1.0, 0.25, 16.0


@dataclass(slots=True)
class Pacer:
    """Pauses after each chunk, as a multiple of the time that the chunk took.

    An idle service is not spared. A busy one is given as much time as the copy takes, more while its p99 (seconds, from
    `p99()`; None when it is not known) is above what it was before the copy, less when it is not.
    """

    p99: Callable[[], float | None] = lambda: None
    before: float | None = None
    share: float = _FIRST

    def pause(self, took_s: float, busy: bool) -> float:
        """Seconds to pause after a chunk that took `took_s`; `busy` says whether the service wrote meanwhile."""
        if not busy:
            return 0.0
        now = self.p99()
        if now is not None and self.before is None:
            self.before = now
        elif now is not None and self.before is not None:
            slower = now > self.before * SLOWER
            self.share = min(_MOST, self.share * 2) if slower else max(_LEAST, self.share * 0.9)
        return took_s * self.share
