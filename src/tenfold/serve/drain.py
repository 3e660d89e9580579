"""The drain: a door is closed, or the whole process leaves, without one of its clients noticing.

1. The process closes its own copy of the listener. The accept queue of the public socket belongs to the socket, which
   the keeper (and a successor) hold open, so nobody who is connecting is turned away.
2. Every further response says `Connection: close`. An idle keep-alive connection is NOT closed at once: its client may
   be sending a request at this very moment, and that one would be lost.
3. A connection that has been silent for a while (5 s; 0.25 s where a balancer is the client, because it sends no more),
   and has nothing in its receive buffer, is closed: what remains is the race that any keep-alive timeout has.
4. What would never end by itself is ended in a way that its client understands and comes back from: a WebSocket by a
   close frame with 1012, an event stream by its last chunk. They go one after another over 2 s, so that they do not
   all come back at once, and a WebSocket whose application is busy with a message has these 2 s to answer it.
5. A process that leaves begins no job. It ends when no connection and no job is left, or when the limit has passed.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from tenfold.serve.door import Door
    from tenfold.serve.doors import Doors

LOOK_EVERY_S = 0.05
GRACE_S = 2.0
"""How long a WebSocket may be busy, and over how long the lasting connections are spread, in seconds."""

log = logging.getLogger("tenfold.serve")


def share_of(lasting: int, waited_s: float) -> int:
    """How many of `lasting` connections end with this look, so that the last one ends with the grace."""
    left_s = max(LOOK_EVERY_S, GRACE_S - waited_s)
    return math.ceil(lasting * LOOK_EVERY_S / left_s)


def wind_down(door: Door, now: float) -> None:
    """One look at what came through a closing door; `now` is the loop's time."""
    for connection in list(door.connections):
        since = connection.idle_since()
        if since is not None and now - since >= door.quiet_s:
            connection.close_if_quiet()
    end_lasting(door, door.since, now)


def end_lasting(door: Door, since: float, now: float, among: Collection[object] | None = None) -> bool:
    """One look at the event streams and WebSockets of a door (of those `among` them), which are to end `since` then;
    whether there are any left."""
    streams = [each for each in door.connections if each.streams() and (among is None or each in among)]
    websockets = [each for each in door.websockets if among is None or each in among]
    share = share_of(len(streams) + len(websockets), now - since)
    for stream in streams[:share]:
        stream.end_stream()
    late = now - since >= GRACE_S
    quiet = [each for each in websockets if late or each.is_quiet()]
    for websocket in quiet[: max(0, share - len(streams))]:
        websocket.end()
    return bool(streams or websockets)


class Drain:
    """Lets one process leave; beginning twice is beginning once."""

    def __init__(self, server: uvicorn.Server, doors: Doors, busy: Callable[[], int]) -> None:
        """`busy`: how many jobs run in this process."""
        self._server = server
        self._doors = doors
        self._busy = busy
        self._task: asyncio.Task[None] | None = None

    @property
    def begun(self) -> bool:
        """Whether the process is leaving."""
        return self._task is not None

    def begin(self, limit_s: float) -> None:
        """Starts to leave; the server exits by itself, after at most about `limit_s` seconds."""
        if self._task is not None:
            return
        self._doors.leave()
        self._task = asyncio.get_running_loop().create_task(self._run(limit_s), name="drain")

    def leave_now(self) -> None:
        """Gives up waiting for clients."""
        self._server.should_exit = True

    def _left(self) -> int:
        return self._doors.count + self._busy()

    async def _run(self, limit_s: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(LOOK_EVERY_S)
        # One look's time first: what was accepted a moment ago is not among the connections yet.
        await asyncio.sleep(LOOK_EVERY_S)
        while self._left() and loop.time() < deadline:  # noqa: ASYNC110 - what is left is looked at anyway
            await asyncio.sleep(LOOK_EVERY_S)
        if self._left():
            log.warning(
                "The drain's limit of %g s has passed with %d connections open and %d jobs running.",
                limit_s, self._doors.count, self._busy(),
            )  # fmt: skip
        self._server.should_exit = True
