"""Lines on their way to a file descriptor: batched, bounded, never in the way.

Lines are kept for up to 50 ms and written with one call. A disk that is full, or a reader that does not read, costs
lines (counted), never the work that wrote them.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import os
import stat
import threading

FLUSH_AFTER_S = 0.05
MAX_PENDING_BYTES = 1 << 20
"""What may wait for a disk or reader that does not take it; newer lines are dropped beyond."""

MAX_LINES = 4096
"""Lines that are kept before they are written without waiting for the 50 ms."""


class Outlet:
    """Writes to a file descriptor that it does not own. One thread at a time."""

    def __init__(self, fd: int) -> None:
        self._fd, self._owned = _without_blocking(fd)
        self._pending = b""
        self.dropped = 0
        """Lines that were not written, and will not be."""

    def put(self, lines: bytes, count: int) -> None:
        """Writes what waits and `lines`, which are `count` whole lines; never fails, never waits for a reader."""
        if lines and len(self._pending) + len(lines) <= MAX_PENDING_BYTES:
            self._pending += lines
        else:
            self.dropped += count
        with contextlib.suppress(OSError):
            written = os.write(self._fd, self._pending)
            # A part of a line stays and is completed by the next write, so lines are never torn.
            self._pending = self._pending[written:]

    def close(self) -> None:
        """Later lines are dropped."""
        if self._owned:
            os.close(self._fd)
            self._owned = False
        self._fd = -1


class Lines:
    """Batches lines for an outlet. From any thread; one that runs no event loop writes at once."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._lines: list[bytes] = []
        self._writing = threading.RLock()
        self._is_writing = False
        self._armed_on: asyncio.AbstractEventLoop | None = None

    @property
    def dropped(self) -> int:
        """Lines that could not be written."""
        return self._outlet.dropped

    def add(self, line: bytes, *, now: bool = False) -> None:
        """Takes one whole line, its newline included; with `now` it is written before this returns. Never fails."""
        lines = self._lines
        lines.append(line)
        if now or len(lines) >= MAX_LINES:
            self.flush()
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        # A timer of a loop that has ended never comes: the next loop sets its own.
        if loop is not self._armed_on:
            self._armed_on = loop
            loop.call_later(FLUSH_AFTER_S, self._due)

    def flush(self) -> None:
        """Writes what waits; at the end of the process too."""
        with self._writing:
            # The garbage collector may run in here, and what it collects may have something to say (a task whose
            # error nobody saw): that line is written behind these, by this thread, which must not wait for itself.
            if self._is_writing:
                return
            self._is_writing = True
            try:
                self._write()
                while self._lines:
                    self._write()
            finally:
                self._is_writing = False

    def _write(self) -> None:
        count = len(self._lines)  # other threads append meanwhile: to the same list, behind these
        lines = self._lines[:count]
        del self._lines[:count]
        self._outlet.put(b"".join(lines), count)

    def _due(self) -> None:
        self._armed_on = None
        self.flush()


@functools.cache
def standard_error() -> Lines:
    """The one writer of this process to its standard error; what waits is written when the process ends in order."""
    lines = Lines(Outlet(2))
    atexit.register(lines.flush)
    return lines


def _without_blocking(fd: int) -> tuple[int, bool]:
    """A pipe whose reader stands still would stop the whole process: it is opened anew, so that only this description
    is non-blocking and nobody else's writes change."""
    try:
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):
            return fd, False
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC), True
    except OSError:
        return fd, False
