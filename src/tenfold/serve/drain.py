"""The drain: a process leaves without one of its clients noticing.

1. It closes its own copy of the listener. The accept queue belongs to the socket, which the keeper (and a successor)
   hold open, so nobody who is connecting is turned away.
2. Every further response says `Connection: close`. An idle keep-alive connection is NOT closed at once: its client may
   be sending a request at this very moment, and that one would be lost.
3. A connection that has been silent for 5 s, and has nothing in its receive buffer, is closed: what remains is the race
   that any keep-alive timeout has, at a moment when the client has shown that it is not busy.
4. The process leaves when no connection is left, or when the limit has passed.
"""

from __future__ import annotations

import asyncio
import logging

import uvicorn

from tenfold.serve.protocol import WebProtocol

QUIET_S = 5.0
LOOK_EVERY_S = 0.05

log = logging.getLogger("tenfold.serve")


class Drain:
    """Drains one uvicorn server; beginning twice is beginning once."""

    def __init__(self, server: uvicorn.Server) -> None:
        self._server = server
        self._task: asyncio.Task[None] | None = None

    @property
    def begun(self) -> bool:
        """Whether the process is leaving."""
        return self._task is not None

    def begin(self, limit_s: float) -> None:
        """Starts to leave; the server exits by itself, after at most about `limit_s` seconds."""
        if self._task is not None:
            return
        self._task = asyncio.get_running_loop().create_task(self._run(limit_s), name="drain")

    def leave_now(self) -> None:
        """Gives up waiting for clients."""
        self._server.should_exit = True

    async def _run(self, limit_s: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        # Asked to leave during its start: what it accepts in between is drained too.
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(LOOK_EVERY_S)
        for listener in self._server.servers:
            listener.close()
        WebProtocol.draining = True
        for connection in self._connections():
            connection.announce_close()
        # One look's time first: what was accepted a moment ago is not among the connections yet.
        await asyncio.sleep(LOOK_EVERY_S)
        while self._server.server_state.connections and loop.time() < deadline:
            self._close_silent(loop.time())
            await asyncio.sleep(LOOK_EVERY_S)
        if left := len(self._server.server_state.connections):
            log.warning("The drain's limit of %g s has passed with %d connections open.", limit_s, left)
        self._server.should_exit = True

    def _close_silent(self, now: float) -> None:
        for connection in self._connections():
            since = connection.idle_since()
            if since is not None and now - since >= QUIET_S:
                connection.close_if_quiet()

    def _connections(self) -> list[WebProtocol]:
        return [each for each in self._server.server_state.connections if isinstance(each, WebProtocol)]
