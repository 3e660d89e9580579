"""Stands in for a database that the map sends work to and that this process has not opened yet."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tenfold.blocks.database.backend import Backend, Call, Consistency, DatabaseConfig, Heard, ReadContext, Reader, deaf
from tenfold.blocks.database.meter import PoolUse
from tenfold.blocks.database.token import Token

Opened = Callable[[], Awaitable[Backend]]


class NotOpenYet:
    """A backend whose scopes wait, when they are entered, until the one behind it is open.

    A process gets here when it missed the map that named the standby: it was paused, or has just started. Writes wait
    at the gate.
    """

    def __init__(self, before: Backend, opened: Opened) -> None:
        self.capabilities = before.capabilities
        self.heard: Heard = deaf
        self.announce = before.announce
        self.meter = before.meter
        self._position = before.position()
        self._opened = opened

    async def start(self) -> None:
        """Does nothing."""

    async def stop(self) -> None:
        """Does nothing."""

    def adopt(self, config: DatabaseConfig) -> None:
        """Does nothing."""

    async def write(self, call: Call) -> Any:
        """Waits, then writes."""
        return await (await self._opened()).write(call)

    def read(self, keys: tuple[Any, ...] | None, consistency: Consistency, snapshot: bool) -> ReadContext:
        """A scope that waits when it is entered."""
        return _Waiting(self._opened, lambda backend: backend.read(keys, consistency, snapshot))

    def fanout(self) -> ReadContext:
        """A scope that waits when it is entered."""
        return _Waiting(self._opened, lambda backend: backend.fanout())

    def catch_up(self) -> bool:
        """Does nothing: what a process remembers was dropped when it got here."""
        return False

    def position(self) -> Token:
        """Where the database before it was."""
        return self._position

    def in_transaction(self) -> bool:
        """No body runs here."""
        return False

    def pool(self) -> PoolUse:
        """None yet."""
        return PoolUse()

    def ready(self) -> tuple[bool, str]:
        """Not ready."""
        return False, "the database that the map names is being opened"


class _Waiting:
    """A read scope that becomes the real one when it is entered."""

    __slots__ = ("_inner", "_make", "_opened")

    def __init__(self, opened: Opened, make: Callable[[Backend], ReadContext]) -> None:
        self._opened = opened
        self._make = make

    async def __aenter__(self) -> Reader:
        self._inner = self._make(await self._opened())
        return await self._inner.__aenter__()

    async def __aexit__(self, *exc: object) -> None:
        await self._inner.__aexit__(*exc)
