"""A door: one listening address of a web process, and the connections that came through it.

Closing a door never closes the process. Its copy of the listener goes away, and who came through it is led out without
noticing (`tenfold.serve.drain` says how); the door may be opened again at any time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

BACKLOG = 4096


class Connection(Protocol):
    """An HTTP connection, as a door sees it."""

    def announce_close(self) -> None:
        """The response under way, if its head is not yet sent, ends the connection."""
        ...

    def idle_since(self) -> float | None:
        """The loop's time since when nothing is under way; None while something is."""
        ...

    def close_if_quiet(self) -> bool:
        """Closes the connection if it is idle and nothing waits in its receive buffer; whether it is closing."""
        ...

    def sweep(self, now: float) -> None:
        """Cuts the connection if it has been too slow."""
        ...

    def streams(self) -> bool:
        """Whether an event stream is under way, which by itself would never end."""
        ...

    def end_stream(self) -> None:
        """Ends the event stream properly."""
        ...


class LastingConnection(Protocol):
    """A WebSocket, as a door sees it."""

    def is_quiet(self) -> bool:
        """Whether nothing is under way: a good moment to end it."""
        ...

    def end(self) -> None:
        """Closes it with 1012, "service restart"."""
        ...


class Door:
    """`quiet_s`: how long a connection must have been silent before it is closed while the door is closing."""

    __slots__ = ("_server", "closing", "connections", "private", "quiet_s", "secret", "since", "websockets")

    def __init__(self, *, private: bool = False, quiet_s: float = 5.0) -> None:
        self.private = private
        self.quiet_s = quiet_s
        self.secret = b""
        """What a balancer proves itself with; of a private door only."""
        self.closing = False
        """Every further response ends its connection."""
        self.since = 0.0
        """When it began to close; the loop's time."""
        self.connections: set[Connection] = set()
        self.websockets: set[LastingConnection] = set()
        self._server: asyncio.AbstractServer | None = None

    @property
    def is_open(self) -> bool:
        """Whether new connections are accepted."""
        return self._server is not None

    @property
    def count(self) -> int:
        """Connections that came through it, WebSockets among them."""
        return len(self.connections) + len(self.websockets)

    async def open(self, listener: socket.socket, connect: Callable[[], asyncio.Protocol]) -> None:
        """Accepts connections from `listener`, which it owns from now on; `connect` makes the protocol of each."""
        assert self._server is None, "a door is opened once until it is closed"
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(connect, sock=listener, backlog=BACKLOG)
        self.closing = False

    def close(self) -> None:
        """Accepts no more. Closing twice is closing once."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if not self.closing:
            self.closing = True
            self.since = asyncio.get_running_loop().time()
            for connection in list(self.connections):
                connection.announce_close()
