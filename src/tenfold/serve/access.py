"""The access log: one JSON line a request, cheap enough to leave on.

Lines are kept for up to 50 ms and written with one call. A disk that is full, or a reader that does not read, costs
lines (counted in `/metrics`), never a request. Query strings are left out: they carry secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from datetime import UTC, datetime

import msgspec

from tenfold.core.clock import Clock

FLUSH_AFTER_S = 0.05
MAX_PENDING_BYTES = 1 << 20
"""What may wait for a disk or reader that does not take it; newer lines are dropped beyond."""

MAX_LINES = 4096
"""Lines that are kept before they are written without waiting for the 50 ms."""

Record = tuple[float, str, str, str, int, float, int]


class Line(msgspec.Struct):
    """One line. `ms` is the time to answer in milliseconds, `bytes` the size of the body."""

    time: datetime
    id: str
    method: str
    path: str
    status: int
    ms: float
    bytes: int


class AccessLog:
    """Writes to a file descriptor that it does not own. Used on the event loop's thread only."""

    def __init__(self, fd: int, clock: Clock) -> None:
        self._fd, self._owned = _without_blocking(fd)
        self._clock = clock
        self._encoder = msgspec.json.Encoder()
        self._records: list[Record] = []
        self._pending = b""
        self._armed = False
        self.dropped = 0

    def add(self, record: Record) -> None:
        """Takes (monotonic end, id, method, path, status, seconds, bytes); never fails."""
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
        if self._owned:
            os.close(self._fd)
            self._owned = False
        self._fd = -1

    def _write(self) -> None:
        records, self._records = self._records, []
        if records:
            lines = self._encoded(records)
            if lines and len(self._pending) + len(lines) <= MAX_PENDING_BYTES:
                self._pending += lines
            else:
                self.dropped += len(records)
        with contextlib.suppress(OSError):
            written = os.write(self._fd, self._pending)
            # A part of a line stays and is completed by the next write, so lines are never torn.
            self._pending = self._pending[written:]

    def _encoded(self, records: list[Record]) -> bytes:
        wall_now, now = self._clock.wall_us() / 1e6, self._clock.monotonic()
        lines = [
            Line(
                datetime.fromtimestamp(wall_now - (now - ended), UTC),
                request_id,
                method,
                path,
                status,
                round(seconds * 1000, 3),
                size,
            )
            for ended, request_id, method, path, status, seconds, size in records
        ]
        try:
            return self._encoder.encode_lines(lines)
        except UnicodeEncodeError:
            return b""  # a path that is no Unicode text, which our own web process refuses before it comes here


def _without_blocking(fd: int) -> tuple[int, bool]:
    """A pipe whose reader stands still would stop the whole process: it is opened anew, so that only this description
    is non-blocking and nobody else's writes change."""
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        return fd, False
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC), True
    except OSError:
        return fd, False
