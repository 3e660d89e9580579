"""What the cache decides, without doing it: what goes when it is full, how long an entry lives, what a value weighs.

Eviction is SIEVE (Zhang et al., NSDI 2024): one queue in order of insertion, one bit an entry, one hand. A hit only
sets the bit; the hand walks from the oldest to the newest, clears bits and takes the first entry without one. A value
that is read once (a scan, a guessed code) therefore leaves before values that are read again.

Invariants, checked by `Sieve.check`: the queue holds each entry once, `count` and `weight` are the sums over the queue,
the hand stands on an entry of the queue or on its end. Everything here is deterministic and does no I/O.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Iterator
from itertools import chain, islice
from typing import Any

ENTRY_BYTES = 200
"""Bytes that an entry costs besides its key and its value: the entry itself and its place in a table (measured)."""

SWEEP_MAX = 1024
"""Bits the hand clears at most for one eviction, so no insertion pauses the loop; then it takes where it stands."""

LARGEST_SHARE = 8
"""A value above 1/8 of the byte limit is handed out but not kept: it would push out too much that is read more."""

JITTER = 0.1
"""Entries live up to this share shorter than their ttl, so that what was filled together does not expire together."""

SAMPLE_MAX = 32
NODES_MAX = 512


class Entry:
    """A value in the cache, and its place in the queue. `expires` is monotonic seconds; `size` is bytes."""

    __slots__ = ("expires", "key", "newer", "older", "size", "table", "value", "visited")

    newer: Entry
    older: Entry

    def __init__(self, table: dict[Hashable, Entry], key: Hashable, value: Any, size: int, expires: float) -> None:
        self.table = table
        self.key = key
        self.value = value
        self.size = size
        self.expires = expires
        self.visited = False


class Sieve:
    """The queue. `end` is no entry: it closes the ring between the newest and the oldest."""

    __slots__ = ("count", "end", "hand", "weight")

    def __init__(self) -> None:
        self.end = Entry({}, None, None, 0, 0.0)
        self.end.newer = self.end.older = self.end
        self.hand = self.end
        self.count = 0
        self.weight = 0

    def __iter__(self) -> Iterator[Entry]:
        """From the oldest to the newest."""
        entry = self.end.newer
        while entry is not self.end:
            yield entry
            entry = entry.newer

    def add(self, entry: Entry) -> None:
        """Puts `entry` at the newest place."""
        newest = self.end.older
        entry.older, entry.newer = newest, self.end
        newest.newer = self.end.older = entry
        self.count += 1
        self.weight += entry.size

    def remove(self, entry: Entry) -> None:
        """Takes `entry` out, wherever it is; a hand that stands on it moves on to the next newer one."""
        if self.hand is entry:
            self.hand = entry.newer
        entry.older.newer, entry.newer.older = entry.newer, entry.older
        entry.older = entry.newer = entry
        self.count -= 1
        self.weight -= entry.size

    def victim(self, now: float) -> Entry:
        """The entry to evict next: expired, or not read since the hand last came by. The queue must not be empty."""
        assert self.count, "nothing to evict"
        entry = self.hand
        for _ in range(SWEEP_MAX):
            if entry is self.end:
                entry = entry.newer
            if not entry.visited or entry.expires <= now:
                break
            entry.visited = False
            entry = entry.newer
        if entry is self.end:
            entry = entry.newer
        self.hand = entry
        return entry

    def check(self) -> None:
        """Asserts the invariants of the module's docstring; walks the whole queue (tests)."""
        entries = list(self)
        assert len(entries) == len(set(map(id, entries))) == self.count
        assert self.weight == sum(entry.size for entry in entries)
        assert all(entry.newer.older is entry and entry.older.newer is entry for entry in entries)
        assert self.hand is self.end or any(self.hand is entry for entry in entries)


def lifetime(ttl: float, jitter: float, uniform: float) -> float:
    """Seconds an entry lives: `ttl`, shortened by up to the share `jitter`; `uniform` is in [0, 1)."""
    return ttl * (1.0 - jitter * uniform)


def admits(size: int, entries_limit: int, bytes_limit: int) -> bool:
    """Whether a value of `size` bytes (overhead included) is kept at all."""
    return entries_limit > 0 and size * LARGEST_SHARE <= bytes_limit


def size_of(value: object) -> int:
    """Bytes that `value` occupies: exact for bytes, str and numbers, an estimate for what holds other values.

    The estimate looks at up to 32 items of each container and at up to 512 values in all, and scales up. It counts a
    value that is shared inside one container as often as it appears. Give `size=` where that is too coarse.
    """
    total = 0.0
    waiting: list[tuple[object, float]] = [(value, 1.0)]
    for seen, (item, weight) in enumerate(waiting):
        total += sys.getsizeof(item) * weight
        if isinstance(item, (bytes, str, int, float)) or item is None or seen >= NODES_MAX:
            continue
        count, items = _contents(item)
        sample = list(islice(items, SAMPLE_MAX))
        each = weight * count / len(sample) if sample else 0.0
        waiting.extend((inner, each) for inner in sample)
    return round(total)


def _contents(item: object) -> tuple[int, Iterable[object]]:
    """How many values `item` holds, and these values."""
    if isinstance(item, dict):
        return 2 * len(item), chain.from_iterable(item.items())
    if isinstance(item, (tuple, list, set, frozenset)):
        return len(item), item
    fields = [value for name in _field_names(type(item)) if (value := getattr(item, name, None)) is not None]
    if (attributes := getattr(item, "__dict__", None)) is not None:
        fields.append(attributes)
    return len(fields), fields


def _field_names(kind: type) -> tuple[str, ...]:
    """Names of slots and of msgspec fields (which are slots under another name) of a class."""
    names: list[str] = []
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        names.extend((slots,) if isinstance(slots, str) else slots)
    return tuple(name for name in dict.fromkeys(names) if name not in ("__dict__", "__weakref__"))
