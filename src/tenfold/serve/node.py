"""The control socket of a process: how its keeper asks it things.

One JSON object a line, answered with one JSON object a line, over a unix socket that only the same user (or root) may
use. `listener` is answered with the public listener attached (SCM_RIGHTS), so that after the death of a keeper its
successor gets it back from a process that lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tenfold.core.errors import TenfoldError, UsageError

MAX_LINE_BYTES = 64 << 10

Facts = dict[str, Any]
Operation = Callable[[Facts], Awaitable[Facts]]

log = logging.getLogger("tenfold.serve")


class NodeSocket:
    """Serves the operations of one node. `operations` maps an op to what answers it; `listener_fd` is what the built-in
    op `listener` hands out, or -1 when there is none."""

    def __init__(self, path: Path, operations: Mapping[str, Operation], *, listener_fd: int = -1) -> None:
        self._path = path
        self._operations = operations
        self._listener_fd = listener_fd
        self._socket: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens. A socket file that a dead process of this name left behind is replaced."""
        self._socket = _listen(self._path)
        self._spawn(self._accept(self._socket))

    async def stop(self) -> None:
        """Ends all conversations. The file stays: a successor of the same name may own it already."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            peer, _ = await loop.sock_accept(listener)
            self._spawn(self._converse(peer))

    async def _converse(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            if not _is_trusted(peer):
                return
            loop = asyncio.get_running_loop()
            buffer = b""
            while len(buffer) <= MAX_LINE_BYTES:
                line, newline, rest = buffer.partition(b"\n")
                if newline:
                    buffer = rest
                    await self._answer(peer, line)
                elif received := await loop.sock_recv(peer, 8192):
                    buffer += received
                else:
                    return

    async def _answer(self, peer: socket.socket, line: bytes) -> None:
        try:
            request = msgspec.json.decode(line, type=Facts)
        except msgspec.MsgspecError:
            request = {}
        answer: Facts
        if request.get("op") == "listener" and self._listener_fd >= 0:
            # Short enough for the buffer of a fresh unix socket, so it goes in one piece with its descriptor.
            socket.send_fds(peer, [b'{"ok":true}\n'], [self._listener_fd])
            return
        try:
            answer = await self._perform(request)
        except TenfoldError as error:
            facts = {"code": error.code, "message": error.message, "hint": error.hint}
            answer = {"ok": False, "error": facts}
        except Exception as error:
            log.exception("The operation %s failed.", request.get("op"))
            answer = {"ok": False, "error": {"code": "TF-INTERNAL", "message": repr(error), "hint": ""}}
        await asyncio.get_running_loop().sock_sendall(peer, msgspec.json.encode(answer) + b"\n")

    async def _perform(self, request: Facts) -> Facts:
        operation = self._operations.get(str(request.get("op")))
        if operation is None:
            known = ", ".join(sorted([*self._operations, "listener"]))
            raise UsageError(
                f"This node does not know the operation {request.get('op')!r}.", hint=f"It knows: {known}."
            )
        return {"ok": True, **await operation(request)}


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path.name, dir_fd=directory)
        # Through the directory's descriptor, because a socket's path may have 107 bytes only.
        listener.bind(f"/proc/self/fd/{directory}/{path.name}")
        os.chmod(path.name, 0o600, dir_fd=directory)
    finally:
        os.close(directory)
    listener.listen(16)
    listener.setblocking(False)
    return listener


def _is_trusted(peer: socket.socket) -> bool:
    """The directory is private already; this holds even where somebody made it readable."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return uid in (os.geteuid(), 0)
