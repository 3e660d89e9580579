"""What the cache decides, without doing it: how long an entry lives, what may be served then, what a value weighs.

Which entry goes when there is no room is in eviction.py. Everything here is deterministic and does no I/O.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable
from enum import Enum
from itertools import chain, islice
from typing import Any

ENTRY_BYTES = 240
"""Bytes that an entry costs besides its key and its value: the entry itself and its place in a table (measured)."""

LARGEST_SHARE = 8
"""A value above 1/8 of the byte limit is handed out but not kept: it would push out too much that is read more."""

JITTER = 0.1
"""Entries live up to this share shorter than their ttl, so that what was filled together does not expire together."""

SAMPLE_MAX = 32
NODES_MAX = 512


class Entry:
    """A value in the cache, and its place in the queue. Times are monotonic seconds; `size` is bytes.

    Until `expires` a hit asks nothing; then `standing` says what the value is still good for: it is fresh until
    `fresh_until`, and may stand in for a load that fails until `keep_until`. `rank` belongs to the eviction policy.
    """

    __slots__ = (
        "expires", "fresh_until", "keep_until", "key", "newer", "older", "queue", "rank", "size", "table",
        "tags", "value", "visited",
    )  # fmt: skip

    newer: Entry
    older: Entry
    queue: Any

    def __init__(
        self,
        table: dict[Hashable, Entry],
        key: Hashable,
        value: Any,
        size: int,
        expires: float,
        *,
        fresh_until: float | None = None,
        keep_until: float | None = None,
        tags: tuple[str, ...] = (),
    ) -> None:
        self.table = table
        self.key = key
        self.value = value
        self.size = size
        self.expires = expires
        self.fresh_until = expires if fresh_until is None else fresh_until
        self.keep_until = self.fresh_until if keep_until is None else keep_until
        self.tags = tags
        self.rank = 0
        self.visited = False


class Standing(Enum):
    """What is to be done with an entry whose `expires` has passed, or with none."""

    GONE = "load, and everybody waits"
    AHEAD = "serve it, and load behind"
    STALE = "load; when that fails or takes too long, serve it"


def standing(entry: Entry | None, now: float) -> Standing:
    """What an entry is good for at `now`, after its `expires`."""
    if entry is None or entry.keep_until <= now:
        return Standing.GONE
    return Standing.AHEAD if now < entry.fresh_until else Standing.STALE


def look_at(now: float, fresh_s: float, ahead: float | None) -> float:
    """When a hit has to ask: at the end of the entry's life, or at the share `ahead` of it (refresh-ahead)."""
    return now + fresh_s if ahead is None else now + fresh_s * ahead


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
