"""Requests that are worth a look: the slowest of the last minutes, and the last that failed.

Memory is bounded, and so is what a request costs: nearly all of them are compared with two numbers. What is kept names
a route, never a path, a key, a value or a client.
"""

from __future__ import annotations

import heapq
import json
from collections import deque
from collections.abc import Iterable

import msgspec

from tenfold.serve.told import Told

SLOWEST = 50
SLICE_S = 60.0
SLICES = 10
"""The slowest are kept by minute, so that they are forgotten by minute."""

FAILED = 100
LINE_BYTES = 56 * 1024
"""An answer of the control socket is one line; half of this is for each kind."""

Kept = tuple[float, int, float, Told]


class Noted:
    """The slow and the failed requests of one process. Times are seconds of one monotonic clock.

    A request is told to it when its status is 500 or above, when it took more than `above_s`, or when it ended after
    `until`; of others nothing would be kept.
    """

    def __init__(self) -> None:
        self.above_s = 0.0
        self.until = 0.0
        self._serial = 0
        self._slices: deque[list[Kept]] = deque(maxlen=SLICES + 1)  # the oldest one is on its way out
        self._failed: deque[Told] = deque(maxlen=FAILED)

    def tick(self, now: float) -> None:
        """Begins another minute, if it is time."""
        if now >= self.until:
            missed = 1 if not self._slices else min(int((now - self.until) // SLICE_S) + 1, SLICES + 1)
            self._slices.extend([] for _ in range(missed))
            self.until = now + SLICE_S
            self.above_s = 0.0

    def slow(self, told: Told, took_s: float, now: float) -> None:
        """Keeps a request that may be one of the slowest; after `tick`."""
        self._serial += 1
        heap = self._slices[-1]
        kept = (took_s, self._serial, now, told)
        if len(heap) < SLOWEST:
            heapq.heappush(heap, kept)
        else:
            heapq.heappushpop(heap, kept)
        if len(heap) == SLOWEST:
            self.above_s = heap[0][0]

    def failed(self, told: Told) -> None:
        """Keeps one that failed."""
        self._failed.append(told)

    def slowest(self, now: float) -> list[Told]:
        """The slowest of the last ten minutes, the slowest one first."""
        since = now - SLICES * SLICE_S
        lately = (kept for heap in self._slices for kept in heap if kept[2] >= since)
        return [kept[3] for kept in heapq.nlargest(SLOWEST, lately)]

    def failures(self) -> list[Told]:
        """The last that failed, the last one first."""
        return list(reversed(self._failed))


def fitting(found: Iterable[Told], limit: int = LINE_BYTES // 2) -> list[dict[str, object]]:
    """The first of them, as far as they fit into `limit` bytes of a line."""
    fits: list[dict[str, object]] = []
    for told in found:
        facts: dict[str, object] = msgspec.to_builtins(told)
        limit -= len(json.dumps(facts, separators=(",", ":"))) + 1
        if limit < 0:
            break
        fits.append(facts)
    return fits
