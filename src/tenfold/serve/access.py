"""The access log: one JSON line a request, cheap enough to leave on.

Requests are kept for up to 50 ms and their lines written with one call (`tenfold.core.lines`). A disk that is full, or
a reader that does not read, costs lines (counted in `/metrics`), never a request. Query strings are left out: they
carry secrets.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec

from tenfold.core.clock import Clock
from tenfold.core.lines import FLUSH_AFTER_S, MAX_LINES, MAX_PENDING_BYTES, Outlet

__all__ = ["FLUSH_AFTER_S", "MAX_LINES", "MAX_PENDING_BYTES", "AccessLog", "Line", "Record"]

Record = tuple[float, str, str, str, str, int, float, int]


class Line(msgspec.Struct):
    """One line. `ms` is the time to answer in milliseconds, `bytes` the size of the body."""

    time: datetime
    id: str
    trace_id: str
    method: str
    path: str
    status: int
    ms: float
    bytes: int


class AccessLog:
    """Writes to a file descriptor that it does not own. Used on the event loop's thread only."""

    def __init__(self, fd: int, clock: Clock) -> None:
        self._outlet = Outlet(fd)
        self._clock = clock
        self._encoder = msgspec.json.Encoder()
        self._records: list[Record] = []
        self._armed = False

    @property
    def dropped(self) -> int:
        """Lines that could not be written."""
        return self._outlet.dropped

    def add(self, record: Record) -> None:
        """Takes (monotonic end, id, trace id, method, path, status, seconds, bytes); never fails."""
        self._records.append(record)
        if not self._armed:
            self._armed = True
            asyncio.get_running_loop().call_later(FLUSH_AFTER_S, self.flush)
        elif len(self._records) >= MAX_LINES:
            self._write()

    def flush(self) -> None:
        """Writes what waits; at the end of the process too."""
        self._armed = False
        self._write()

    def close(self) -> None:
        """Flushes; later records are dropped."""
        self.flush()
        self._outlet.close()

    def _write(self) -> None:
        records, self._records = self._records, []
        self._outlet.put(self._encoded(records) if records else b"", len(records))

    def _encoded(self, records: list[Record]) -> bytes:
        wall_now, now = self._clock.wall_us() / 1e6, self._clock.monotonic()
        lines = [
            Line(
                datetime.fromtimestamp(wall_now - (now - ended), UTC),
                request_id,
                trace_id,
                method,
                path,
                status,
                round(seconds * 1000, 3),
                size,
            )
            for ended, request_id, trace_id, method, path, status, seconds, size in records
        ]
        try:
            return self._encoder.encode_lines(lines)
        except UnicodeEncodeError:
            return b""  # a path that is no Unicode text, which our own web process refuses before it comes here
