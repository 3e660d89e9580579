"""The control socket of a process: how its keeper asks it things.

One JSON object a line, answered with one JSON object a line, over a unix socket that only the same user (or root) may
use. `listener` is answered with the public listener attached (SCM_RIGHTS), so that after the death of a keeper its
successor gets it back from a process that lives. Balancers hand each other their encrypted listener so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from tenfold.core.errors import TenfoldError, UsageError
from tenfold.hosts import wire

ACCEPT_AGAIN_S = 0.2

Facts = dict[str, Any]
Operation = Callable[[Facts], Awaitable[Facts]]

log = logging.getLogger("tenfold.serve")


class NodeSocket:
    """Serves the operations of one node. `operations` maps an op to what answers it; `listener_fd` is what the built-in
    op `listener` hands out, or -1 when there is none. `hands` maps further such ops to what names their descriptor."""

    def __init__(
        self,
        path: Path,
        operations: Mapping[str, Operation],
        *,
        listener_fd: int = -1,
        hands: Mapping[str, Callable[[], int]] | None = None,
    ) -> None:
        self._path = path
        self._operations = operations
        self._hands = {"listener": lambda: listener_fd, **(hands or {})}
        self._socket: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listens. A socket file that a dead process of this name left behind is replaced."""
        self._socket = wire.listen_unix(self._path)
        self._socket.setblocking(False)
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
            try:
                peer, _ = await loop.sock_accept(listener)
            except OSError as error:  # out of descriptors; answering later is better than never again
                log.warning("The control socket cannot accept: %s", error)
                await asyncio.sleep(ACCEPT_AGAIN_S)
            else:
                self._spawn(self._converse(peer))

    async def _converse(self, peer: socket.socket) -> None:
        with peer, contextlib.suppress(OSError):
            if not wire.may_ask(wire.peer_uid(peer)):
                return
            loop = asyncio.get_running_loop()
            buffer = b""
            while len(buffer) <= wire.MAX_LINE:
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
            request = wire.decode(line)
            descriptor = self._hands.get(str(request.get("op")), lambda: -1)()
            if descriptor >= 0:
                # Short enough for the buffer of a fresh unix socket, so it goes in one piece with its descriptor.
                socket.send_fds(peer, [wire.encode({"ok": True})], [descriptor])
                return
            answer = wire.encode(await self._perform(request))
        except TenfoldError as error:
            answer = wire.refusal(error)
        except Exception as error:
            log.exception("An operation of the control socket failed.")
            answer = wire.refusal(TenfoldError(f"The operation failed: {error!r}.", hint="See the log of this node."))
        await asyncio.get_running_loop().sock_sendall(peer, answer)

    async def _perform(self, request: Facts) -> Facts:
        operation = self._operations.get(str(request.get("op")))
        if operation is None:
            known = ", ".join(sorted([*self._operations, *self._hands]))
            raise UsageError(
                f"This node does not know the operation {request.get('op')!r}.", hint=f"It knows: {known}."
            )
        return {"ok": True, **await operation(request)}
