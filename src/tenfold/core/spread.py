"""How long things took, counted by bucket: cheap to add to, and two counts are two histograms less one another."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """How long something took, as counts by bucket: one more count than bounds, for what took longer than all.

    `bounds_s` are upper bounds in seconds, ascending; `sum_s` is the time of all together, in seconds.
    """

    bounds_s: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    sum_s: float = 0.0


class Durations:
    """Durations as they come. Belongs to one thread; `add` takes about 0.1 µs."""

    __slots__ = ("_bounds_s", "counts", "sum_s")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        """`bounds_s` are upper bounds of the buckets in seconds, ascending."""
        self._bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        """By bucket; the list stays the same one."""
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Counts one."""
        self.counts[bisect_left(self._bounds_s, seconds)] += 1
        self.sum_s += seconds

    def merge(self, counts: Sequence[int], sum_s: float) -> None:
        """Adds what was counted elsewhere, by the same bounds."""
        self.counts[:] = [mine + theirs for mine, theirs in zip(self.counts, counts, strict=True)]
        self.sum_s += sum_s

    def spread(self) -> Spread:
        """What has been counted so far."""
        return Spread(self._bounds_s, tuple(self.counts), self.sum_s)
