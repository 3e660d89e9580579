"""Which entry goes when there is no room. One policy a cache, over all its cached functions.

- SIEVE (Zhang et al., NSDI 2024), the default: one queue in order of insertion, one bit an entry, one hand. A hit only
  sets the bit; the hand walks from the oldest to the newest, clears bits and takes the first entry without one. A value
  that is read once (a scan, a guessed code) leaves before values that are read again.
- LRU: a hit moves the entry to the newest place.
- LFU in constant time (Shah, Mitra, Matani 2010): entries with equally many hits share a queue; the oldest of those
  with the fewest goes. Hits count to `COUNT_MAX`.
- FIFO: a hit changes nothing.

Invariants, checked by `check`: the queue holds each entry once, `count` and `weight` are the sums over it. Everything
here is deterministic and does no I/O. A hit is `entry.visited = True`; LRU and LFU make an attribute of it that acts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from tenfold.blocks.cache.policy import Entry

SWEEP_MAX = 1024
"""Bits the hand clears at most for one eviction, so no insertion pauses the loop; then it takes where it stands."""

COUNT_MAX = 255

Eviction = Literal["sieve", "lru", "lfu", "fifo"]


class Ring:
    """Entries from the oldest to the newest. `end` is none: it closes the ring between the newest and the oldest."""

    __slots__ = ("end",)

    def __init__(self) -> None:
        self.end = Entry({}, None, None, 0, 0.0)
        self.end.newer = self.end.older = self.end

    def __iter__(self) -> Iterator[Entry]:
        """From the oldest to the newest."""
        entry = self.end.newer
        while entry is not self.end:
            yield entry
            entry = entry.newer

    def append(self, entry: Entry) -> None:
        """Puts `entry` at the newest place."""
        newest = self.end.older
        entry.older, entry.newer = newest, self.end
        newest.newer = self.end.older = entry

    @staticmethod
    def unlink(entry: Entry) -> None:
        """Takes `entry` out, wherever it is."""
        entry.older.newer, entry.newer.older = entry.newer, entry.older
        entry.older = entry.newer = entry

    @property
    def oldest(self) -> Entry | None:
        """The entry that has been in longest."""
        return None if self.end.newer is self.end else self.end.newer


class Fifo:
    """First in, first out; and what all policies share."""

    __slots__ = ("_ring", "count", "weight")

    kind: type[Entry] = Entry
    """The class of its entries."""

    def __init__(self) -> None:
        self._ring = Ring()
        self.count = 0
        self.weight = 0

    def __iter__(self) -> Iterator[Entry]:
        """From the one that came first to the one that came last."""
        return iter(self._ring)

    def add(self, entry: Entry) -> None:
        """Takes `entry` in."""
        entry.queue = self
        entry.__class__ = self.kind
        self._link(entry)
        self.count += 1
        self.weight += entry.size

    def remove(self, entry: Entry) -> None:
        """Takes `entry` out, wherever it is."""
        self._unlink(entry)
        self.count -= 1
        self.weight -= entry.size

    def victim(self, now: float) -> Entry:
        """The entry to evict next. The queue must not be empty."""
        assert self.count, "nothing to evict"
        return self._victim(now)

    def check(self) -> None:
        """Asserts the invariants of the module's docstring; walks the whole queue (tests)."""
        entries = list(self)
        assert len(entries) == len(set(map(id, entries))) == self.count
        assert self.weight == sum(entry.size for entry in entries)
        assert all(entry.newer.older is entry and entry.older.newer is entry for entry in entries)

    def _link(self, entry: Entry) -> None:
        self._ring.append(entry)

    def _unlink(self, entry: Entry) -> None:
        self._ring.unlink(entry)

    def _victim(self, now: float) -> Entry:
        return self._ring.end.newer


class Sieve(Fifo):
    """SIEVE. The hand stands on an entry of the queue, or on its end."""

    __slots__ = ("hand",)

    def __init__(self) -> None:
        super().__init__()
        self.hand = self._ring.end

    def _unlink(self, entry: Entry) -> None:
        if self.hand is entry:
            self.hand = entry.newer
        self._ring.unlink(entry)

    def _victim(self, now: float) -> Entry:
        """Expired, or not read since the hand last came by."""
        entry, end = self.hand, self._ring.end
        for _ in range(SWEEP_MAX):
            if entry is end:
                entry = entry.newer
            if not entry.visited or entry.keep_until <= now:
                break
            entry.visited = False
            entry = entry.newer
        if entry is end:
            entry = entry.newer
        self.hand = entry
        return entry

    def check(self) -> None:
        super().check()
        assert self.hand is self._ring.end or any(self.hand is entry for entry in self)


class LruEntry(Entry):
    """An entry that a hit moves."""

    __slots__ = ()

    @property
    def visited(self) -> bool:
        """Nothing to remember: the place in the queue says it."""
        return False

    @visited.setter
    def visited(self, hit: bool) -> None:
        if hit:
            self.queue.hit(self)


class Lru(Fifo):
    """Least recently used."""

    __slots__ = ()

    kind = LruEntry

    def hit(self, entry: Entry) -> None:
        """Moves it to the newest place."""
        self._ring.unlink(entry)
        self._ring.append(entry)


class Lfu(Fifo):
    """Least frequently used; among equals the one that has been so for longest."""

    __slots__ = ("_fewest", "_rings")

    kind = LruEntry

    def __init__(self) -> None:
        super().__init__()
        self._rings = [Ring() for _ in range(COUNT_MAX + 1)]
        self._fewest = 0

    def __iter__(self) -> Iterator[Entry]:
        """From the one that goes first to the one that goes last."""
        for ring in self._rings:
            yield from ring

    def hit(self, entry: Entry) -> None:
        """Counts it."""
        Ring.unlink(entry)
        entry.rank = min(entry.rank + 1, COUNT_MAX)
        self._rings[entry.rank].append(entry)

    def _link(self, entry: Entry) -> None:
        self._rings[entry.rank].append(entry)
        self._fewest = min(self._fewest, entry.rank)

    def _victim(self, now: float) -> Entry:
        while (oldest := self._rings[self._fewest].oldest) is None:
            self._fewest += 1
        return oldest


QUEUES: dict[Eviction, Any] = {"sieve": Sieve, "lru": Lru, "lfu": Lfu, "fifo": Fifo}
