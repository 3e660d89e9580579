"""The in-process backend: tables of entries, bounded together by number and by bytes.

Each cached function reads its own table (a plain dict), so that a hit is one look-up; all tables share one queue and
one bound. Belongs to one event loop: nothing here takes a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from tenfold.blocks.cache.eviction import QUEUES, Eviction, Fifo
from tenfold.blocks.cache.policy import Entry, admits

Table = dict[Hashable, Entry]


class Memory:
    """Entries in this process. After every call `entries <= entries_limit` and `bytes <= bytes_limit`."""

    def __init__(self, entries_limit: int, bytes_limit: int, eviction: Eviction = "sieve") -> None:
        self.eviction = eviction
        self._queue: Fifo = QUEUES[eviction]()
        self.on_remove: Callable[[Entry], object] | None = None
        """Called with each entry that has tags and leaves."""
        self.entries_limit = entries_limit
        self.bytes_limit = bytes_limit
        self.evictions = 0
        self.refusals = 0

    @property
    def entries(self) -> int:
        """Entries held, expired ones that nobody asked for since included."""
        return self._queue.count

    @property
    def bytes(self) -> int:
        """Bytes held by the account of `policy.size_of`."""
        return self._queue.weight

    def put(self, entry: Entry, now: float) -> None:
        """Stores `entry` in its table, over an older one; makes room first. What is too large is not kept.

        A value that was read before keeps that mark when it is replaced: a reload is no reason to leave earlier.
        """
        old = self.remove(entry.table, entry.key)
        if not admits(entry.size, self.entries_limit, self.bytes_limit):
            self.refusals += 1
            return
        self._make_room(1, entry.size, now)
        entry.visited = old is not None and old.visited
        entry.rank = 0 if old is None else old.rank
        entry.table[entry.key] = entry
        self._queue.add(entry)

    def remove(self, table: Table, key: Hashable) -> Entry | None:
        """Forgets `key`; returns its entry if there was one."""
        entry = table.pop(key, None)
        if entry is not None:
            self._queue.remove(entry)
            if entry.tags and self.on_remove is not None:
                self.on_remove(entry)
        return entry

    def clear(self) -> None:
        """Forgets everything. Unlinks one by one, so that memory is free without waiting for the garbage collector."""
        for entry in list(self._queue):
            self.remove(entry.table, entry.key)

    def resize(self, entries_limit: int, bytes_limit: int, now: float) -> None:
        """Sets new bounds; what no longer fits goes now."""
        self.entries_limit = entries_limit
        self.bytes_limit = bytes_limit
        self._make_room(0, 0, now)

    def evict_by(self, eviction: Eviction) -> None:
        """Goes by another policy from now on; what the one before knew of hits is forgotten."""
        if eviction == self.eviction:
            return
        entries = list(self._queue)
        self.eviction, self._queue = eviction, QUEUES[eviction]()
        for entry in entries:
            self._queue.add(entry)

    def _make_room(self, entries: int, size: int, now: float) -> None:
        queue = self._queue
        while queue.count and (queue.count + entries > self.entries_limit or queue.weight + size > self.bytes_limit):
            victim = queue.victim(now)
            self.remove(victim.table, victim.key)
            self.evictions += 1
