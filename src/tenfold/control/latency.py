"""How slow the service is just now: the 99th percentile over the last seconds, asked of its web processes.

Each process counts its answers in a histogram that only grows; the difference of two looks is what happened between.
Within a bucket the answers are taken as spread evenly, as Prometheus does (`histogram_quantile`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Mapping, Sequence

from tenfold.control.crew import Crew
from tenfold.control.place import Place
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.hosts import wire

EVERY_S = 0.5
WINDOW_S = 2.0
"""What one figure is about, in seconds."""

FEWEST = 20
"""Answers in a window; from fewer no 99th percentile is told."""

SHARE = 0.99
Counts = Mapping[str, Sequence[int]]


def quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float:
    """The value (in the unit of `bounds`) that `share` of the counted do not exceed.

    `counts` has one more entry than `bounds`: what is beyond the last one, which counts as the last one.
    """
    wanted, seen, lower = share * sum(counts), 0, 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and seen + count >= wanted:
            return lower + (bound - lower) * (wanted - seen) / count
        seen, lower = seen + count, bound
    return lower


def between(before: Counts, after: Counts) -> list[int]:
    """The answers of all nodes from one look to a later one; a node that is new began with none."""
    totals: list[int] = []
    for node, counts in after.items():
        old = before.get(node, [0] * len(counts))
        grown = [max(0, now - then) for now, then in zip(counts, old, strict=True)]
        totals = [a + b for a, b in zip(totals, grown, strict=True)] if totals else grown
    return totals


class Latency:
    """Looks at the service twice a second while `run` runs."""

    def __init__(self, place: Place, crew: Crew, clock: Clock) -> None:
        self._place = place
        self._crew = crew
        self._clock = clock
        self._bounds: Sequence[float] = ()
        self._looks: deque[tuple[float, Counts]] = deque()

    def p99(self) -> float | None:
        """Seconds; None while too little is known."""
        if len(self._looks) < 2:
            return None
        counts = between(self._looks[0][1], self._looks[-1][1])
        return quantile(self._bounds, counts, SHARE) if sum(counts) >= FEWEST else None

    async def run(self) -> None:
        """Looks until it is cancelled. A service that does not answer is looked at again."""
        while True:
            with contextlib.suppress(TenfoldError):
                await self._look()
            await asyncio.sleep(EVERY_S)

    async def _look(self) -> None:
        found: dict[str, Sequence[int]] = {}
        for node in await self._crew.kept("web"):
            told = await wire.ask(self._place.run / f"{node}.sock", {"op": "durations"}, 2.0)
            found[f"{node} {told['pid']}"] = told["counts"]
            self._bounds = told["bounds"]
        now = self._clock.monotonic()
        self._looks.append((now, found))
        while len(self._looks) > 2 and now - self._looks[1][0] >= WINDOW_S:
            self._looks.popleft()
