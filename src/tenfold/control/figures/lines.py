"""Conversations with control sockets that are kept open, one for each node, so that a look costs little.

A node that does not answer (it is paused, say) has one open question and no more: nothing piles up before it, and its
answer is thrown away when it comes after all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from pathlib import Path

from tenfold.core.errors import TenfoldError
from tenfold.hosts import wire

LATE_S = 0.05
"""How long the answer to an earlier question is waited for, in seconds; before it comes there is no other question."""
_READ = 65536


class Line:
    """The way to one control socket. One question at a time; it may be used from one event loop after another."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._conn: socket.socket | None = None
        self._file: tuple[int, int] | None = None
        self._buffer = bytearray()
        self._owed = 0

    async def ask(self, question: bytes, limit_s: float) -> bytes | None:
        """The answer to one line; None when nobody listens, or when there is none within the limit.

        Where a successor listens now, it is asked. A connection that the other end has closed is made anew, once.
        """
        if self._conn is not None and self._file != _file(self._path):
            self.close()
        with contextlib.suppress(TimeoutError):
            for _ in range(2):
                with contextlib.suppress(ConnectionError, TenfoldError):
                    return await self._exchange(question, limit_s)
                self.close()
        return None

    def peer(self) -> int:
        """The pid of who listens there, as the kernel knows it; 0 without a connection."""
        if self._conn is None:
            return 0
        raw = self._conn.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", raw)[0])

    def close(self) -> None:
        """Ends the conversation; the next question begins another one."""
        if self._conn is not None:
            self._conn.close()
        self._conn = None
        self._buffer.clear()
        self._owed = 0

    async def _exchange(self, question: bytes, limit_s: float) -> bytes:
        conn = self._connected()
        if self._owed:
            async with asyncio.timeout(LATE_S):
                while self._owed:
                    await self._line(conn)
        async with asyncio.timeout(limit_s):
            self._owed += 1
            await asyncio.get_running_loop().sock_sendall(conn, question)
            return await self._line(conn)

    def _connected(self) -> socket.socket:
        if self._conn is None:
            # Without waiting: the queue of a process that accepts nobody fills up, and connecting would stand still.
            self._conn = wire.connect_unix(self._path, 0.0)
            self._file = _file(self._path)
        return self._conn

    async def _line(self, conn: socket.socket) -> bytes:
        loop = asyncio.get_running_loop()
        while (end := self._buffer.find(b"\n")) < 0:
            received = await loop.sock_recv(conn, _READ)
            if not received or len(self._buffer) > wire.MAX_LINE:
                raise ConnectionResetError("The other end went away, or its answer has no end.")
            self._buffer += received
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._owed -= 1
        return line


def _file(path: Path) -> tuple[int, int] | None:
    """Which file that is: a successor makes a new one."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns
