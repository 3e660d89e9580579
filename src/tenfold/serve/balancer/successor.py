"""The way from a HAProxy that drains to the one that took its place.

A client that was silent during a reload comes back to the old HAProxy once more, and that one can be told nothing any
more: the web servers that it knows may be gone by then. So before it drains it is told to take none of them, and its
last resort is an abstract socket on which, from then on, only its successor accepts.
"""

from __future__ import annotations

import contextlib
import os
import socket

from tenfold.core.errors import TenfoldError
from tenfold.core.randomness import SYSTEM_RANDOMNESS, Randomness
from tenfold.engines.haproxy.runtime import Runtime
from tenfold.engines.haproxy.servers import LAST_RESORT, WEB

SUCCESSOR_FD = 102
"""The number under which every HAProxy gets the socket."""
BACKLOG = 4096
_NAME_BYTES = 107
"""HAProxy fills an abstract name up with zeros, and to the kernel they are part of it."""


class SuccessorSocket:
    """The socket, and its name without the zero byte that makes it abstract; not to be guessed by others."""

    def __init__(self, randomness: Randomness = SYSTEM_RANDOMNESS) -> None:
        self.name = f"tenfold-{randomness.bytes(12).hex()}"
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.bind(b"\0" + self.name.encode().ljust(_NAME_BYTES, b"\0"))
        made.listen(BACKLOG)
        os.dup2(made.fileno(), SUCCESSOR_FD, inheritable=False)
        made.close()

    def close(self) -> None:
        """Lets it go; it is there for as long as a HAProxy has it."""
        os.close(SUCCESSOR_FD)

    @property
    def again(self) -> tuple[str, int]:
        """As `render` takes it."""
        return self.name, SUCCESSOR_FD


async def send_to_successor(runtime: Runtime) -> None:
    """Makes a HAProxy that is about to drain pass on what still comes to it. One that does not do so uses the web
    servers that it knows, as long as they are there."""
    with contextlib.suppress(TenfoldError):
        for server in await runtime.servers():
            if server.backend == WEB and server.name != LAST_RESORT and server.standing == "ready":
                await runtime.run(f"set server {WEB}/{server.name} state drain")
