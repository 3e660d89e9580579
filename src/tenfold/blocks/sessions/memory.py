"""What one process remembers of sessions: bounded, and dropped by what other processes announce.

The same rules as in the cache block: a load that was begun before a drop is not kept; an older version never takes the
place of a newer one. Beyond that nothing is believed for longer than `KEPT_S`, because a process that dies between its
commit and its announcement on PostgreSQL tells nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ENTRIES = 10_000
"""Sessions of which one process remembers something."""
BYTES = 16 * 1024 * 1024
"""Of their values, as JSON."""
KEPT_S = 5.0


@dataclass(slots=True)
class Record:
    """One session as it is stored. Shared by all requests that read it: values are never changed in place."""

    id: bytes
    owner: str | None
    version: int
    created_us: int
    seen_us: int
    values: dict[str, Any]
    size: int
    until: float = 0.0
    """Monotonic seconds; set by the memory."""


class Memory:
    """Records by the hash of their id; the one that was stored longest ago goes first (FIFO)."""

    def __init__(self, entries: int = ENTRIES, bytes_limit: int = BYTES) -> None:
        self._entries, self._bytes_limit = entries, bytes_limit
        self._records: dict[bytes, Record] = {}
        self._loading: dict[bytes, object] = {}
        self.bytes = 0
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._records)

    def find(self, id_: bytes, now: float) -> Record | None:
        """What is remembered and still believed; `now` in monotonic seconds."""
        found = self._records.get(id_)
        return found if found is not None and now < found.until else None

    def loading(self, id_: bytes) -> object:
        """Begins a load; give the mark to `loaded`."""
        mark = self._loading[id_] = object()
        return mark

    def loaded(self, id_: bytes, mark: object, record: Record | None, now: float) -> None:
        """Keeps what a load found, unless the session was dropped or written since it began."""
        if self._loading.get(id_) is mark:
            del self._loading[id_]
            if record is not None and record.id == id_:
                self.put(record, now)

    def put(self, record: Record, now: float) -> None:
        """Keeps what was committed or loaded, unless something newer is known. Loads under way are not kept."""
        before = self._records.get(record.id)
        self._loading.pop(record.id, None)
        if before is not None:
            if before.version > record.version:
                return
            self._forget(record.id)
        record.until = now + KEPT_S
        self._records[record.id] = record
        self.bytes += record.size
        while len(self._records) > self._entries or self.bytes > self._bytes_limit:
            self._forget(next(iter(self._records)))
            self.evictions += 1

    def drop(self, id_: bytes) -> None:
        """Forgets one; loads that are under way are not kept."""
        self._loading.pop(id_, None)
        if id_ in self._records:
            self._forget(id_)

    def clear(self) -> None:
        """Forgets all."""
        self._records.clear()
        self._loading.clear()
        self.bytes = 0

    def _forget(self, id_: bytes) -> None:
        self.bytes -= self._records.pop(id_).size
