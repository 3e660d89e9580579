"""The two doors of a web process, opened and closed in place as the map says.

The public one is the keeper's socket, which several processes share: a process accepts there while the map says that
web processes do (`public.door`) and that clients come to this one (`traffic`). The private one is an address of its
own, on which only balancers are answered.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.core.secrets import DOOR, Secrets
from tenfold.serve.door import BACKLOG, Door
from tenfold.serve.drain import GRACE_S, LOOK_EVERY_S, end_lasting, wind_down
from tenfold.topology.map import Map

AGAIN_S = 0.1
PRIVATE_QUIET_S = 0.25
"""Balancers are told first that a process leaves: what is idle then is not about to be used."""

BALANCERS_LEAVE_S = 1.0
"""So long after it was said that a HAProxy leaves, it surely accepts nothing more."""

Connect = Callable[[Door], asyncio.Protocol]

log = logging.getLogger("tenfold.serve")


@dataclass(frozen=True, slots=True)
class WantedDoors:
    """What a map says of one process: whether it accepts on the public socket, and its private address, if any."""

    public: bool = False
    address: str = ""


def wanted_doors(current: Map, node: str, before: WantedDoors) -> WantedDoors:
    """The doors that a map wants of `node`. One that it does not name is about to be stopped, or not yet announced:
    nothing changes for it."""
    found = current.node(node)
    if found is None:
        return before
    return WantedDoors(public=current.public.door == "web" and found.traffic == "on", address=found.address)


class Doors:
    """`public` is the inherited listener, which stays open for as long as the process lives, so that it can be handed
    back; `connect` makes the protocol of a connection that came through a door."""

    def __init__(self, node: str, public: socket.socket, connect: Connect) -> None:
        self.public = Door()
        self.private = Door(private=True, quiet_s=PRIVATE_QUIET_S)
        self._node = node
        self._listener = public
        self._connect = connect
        self._wanted = WantedDoors()
        self._secrets: Secrets | None = None
        self._address = ""
        """Where the private door is open."""
        self._serving = False
        self._left = False
        self._reason = ""
        """Why a door did not open."""
        self._lock = asyncio.Lock()
        self._winding: asyncio.Task[None] | None = None
        self._balanced = False
        """Whether clients come by way of balancers."""
        self._returning: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """Connections of both doors."""
        return self.public.count + self.private.count

    @property
    def missing(self) -> str:
        """Which door is to be open and is not; empty when all is as the map says."""
        if self._wanted.address and not self.private.is_open:
            return self._reason or f"The private address {self._wanted.address} is not open yet."
        if self._wanted.public and not self.public.is_open:
            return self._reason or "The public address is not open yet."
        return ""

    def follow(self, current: Map) -> None:
        """Goes by a map: closes at once what it wants closed; `settle` opens the rest."""
        if self._left:
            return
        self._wanted = wanted_doors(current, self._node, self._wanted)
        self._secrets = Secrets(Path(current.state) / "secrets")
        before, self._balanced = self._balanced, current.public.door == "balancer"
        if before and not self._balanced and self._returning is None:
            self._returning = asyncio.get_running_loop().create_task(self._call_back(), name="streams")
        self._shut()

    async def serve(self) -> None:
        """The process can answer from now on: opens what the map wants open. A door that does not open now does not
        keep the process from starting; `try_again` opens it later."""
        self._serving = not self._left
        await self.try_again()

    async def try_again(self) -> None:
        """Opens what is still missing, if it can be opened by now."""
        try:
            await self.settle()
            self._reason = ""
        except Unavailable as error:
            if self._reason != error.message:
                self._reason = error.message
                log.warning("%s", error)

    async def settle(self) -> None:
        """Opens what is to be open; at once when all is. Raises `Unavailable` with the reason."""
        async with self._lock:
            if not self._serving:
                return
            try:
                if self._wanted.public and not self.public.is_open:
                    await self.public.open(self._listener.dup(), lambda: self._connect(self.public))
                if self._wanted.address and not self.private.is_open:
                    await self._open_private(self._wanted.address)
            except OSError as error:  # out of descriptors, for one
                raise Unavailable(f"A door cannot be opened: {error.strerror or error}.") from error
            finally:
                self._shut()  # a newer map may have come, or the process may leave by now

    async def settled(self, limit_s: float) -> None:
        """Returns when the doors are as the map says. Raises `Unavailable` with the reason after `limit_s` seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        while True:
            try:
                return await self.settle()
            except Unavailable:
                if loop.time() + AGAIN_S > deadline:
                    raise
            await asyncio.sleep(AGAIN_S)

    def sweep(self, now: float) -> None:
        """Cuts the connections that have been too slow."""
        for door in (self.public, self.private):
            for connection in list(door.connections):
                connection.sweep(now)

    def leave(self) -> None:
        """Closes both doors for good."""
        self._wanted = WantedDoors()
        self._serving, self._left = False, True
        for door in (self.public, self.private):
            door.close()
        self._wind_down()

    def _shut(self) -> None:
        if self.public.is_open and not self._wanted.public:
            self.public.close()
        if self.private.is_open and self._address != self._wanted.address:
            self.private.close()
        self._wind_down()

    async def _open_private(self, address: str) -> None:
        assert self._secrets is not None, "a map was followed before"
        try:
            secret = self._secrets.find(DOOR)
        except TenfoldError as error:
            raise Unavailable(f"The private address {address} is not opened: {error.message}") from error
        if secret is None:
            raise Unavailable(
                f"The private address {address} is not opened: the balancers' secret is not in {self._secrets.folder}.",
                hint="`tenfold climb` makes it before it publishes private addresses.",
            )
        self.private.secret = secret.encode()
        await self.private.open(private_listener(address), lambda: self._connect(self.private))
        self._address = address

    async def call_back(self) -> None:
        """Ends what lasts on the private door now, each in a way that its client comes back from, over the grace: a
        HAProxy is replaced, and would cut off in the end what it has."""
        await asyncio.sleep(BALANCERS_LEAVE_S)
        door, loop = self.private, asyncio.get_running_loop()
        among, since = {*door.connections, *door.websockets}, loop.time()
        while end_lasting(door, since, loop.time(), among) and loop.time() - since < 2 * GRACE_S:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_EVERY_S)

    async def _call_back(self) -> None:
        """Ends what lasts on the private door once the balancers leave: they wait for it, would cut it off in the end,
        and cannot tell the client. It comes back through the public door."""
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(BALANCERS_LEAVE_S)
            since = loop.time()
            while not self._balanced and self.private.is_open:
                end_lasting(self.private, since, loop.time())
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            self._returning = None

    def _wind_down(self) -> None:
        if self._winding is None and (self.public.closing or self.private.closing):
            self._winding = asyncio.get_running_loop().create_task(self._lead_out(), name="doors")

    async def _lead_out(self) -> None:
        """Leads out who came through a door that is closing, until none is left or it is open again."""
        loop = asyncio.get_running_loop()
        try:
            while closing := [door for door in (self.public, self.private) if door.closing]:
                await asyncio.sleep(LOOK_EVERY_S)
                if not any(door.count for door in closing) and self._serving:
                    return
                for door in closing:
                    if door.closing:
                        wind_down(door, loop.time())
        finally:
            self._winding = None


def private_listener(address: str) -> socket.socket:
    """A listener on "host:port". Raises `Unavailable` when the address cannot be had now."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)))
        listener.listen(BACKLOG)
    except (OSError, ValueError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unavailable(
            f"The private address {address} cannot be opened: {reason}.",
            hint="Another program may use it; `ss -ltnp` shows which.",
        ) from error
    return listener
