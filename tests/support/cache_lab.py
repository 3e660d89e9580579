"""What every cache backend keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tenfold.blocks.cache import Cache
from tenfold.core.clock import ManualClock
from tenfold.core.randomness import SeededRandomness


class Tx:
    """A transaction as the cache sees it."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []

    def on_commit(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def announce(self, key: str) -> None:
        """There are no others."""

    def commit(self) -> None:
        for callback in self._callbacks:
            callback()


class Source:
    """Where loaders read. `hold()` makes the loads that begin from now on wait for `let_go(n)`."""

    def __init__(self) -> None:
        self.rows: dict[Any, Any] = {}
        self.loads: list[Any] = []
        self._holding = False
        self._gates: list[asyncio.Future[None]] = []
        self._began: asyncio.Event | None = None

    def hold(self) -> None:
        self._holding, self._began = True, asyncio.Event()

    async def load(self, key: Any) -> Any:
        """Reads first and returns later: what it returns is as old as its beginning."""
        self.loads.append(key)
        value = self.rows.get(key)
        if self._holding:
            gate = asyncio.get_running_loop().create_future()
            self._gates.append(gate)
            assert self._began is not None
            self._began.set()
            await gate
        return value

    async def began(self, loads: int) -> None:
        assert self._began is not None
        while len(self._gates) < loads:
            self._began.clear()
            await asyncio.wait_for(self._began.wait(), 5)

    def let_go(self, load: int = 0) -> None:
        self._gates[load].set_result(None)


class Lab:
    """One cache with a loader over a `Source`."""

    def __init__(self, make: Callable[..., Cache], **options: Any) -> None:
        self.clock = ManualClock()
        self.source = Source()
        self.in_transaction = False
        bounds = {name: options.pop(name) for name in ("entries", "bytes_limit") if name in options}
        self.cache = make(self.clock, SeededRandomness(1), in_transaction=lambda: self.in_transaction, **bounds)

        @self.cache.read("link:{code}", **{"ttl": 100, **options})
        async def find(code: Any) -> Any:
            return await self.source.load(code)

        self.find = find

    def commit(self, key: Any, value: Any) -> None:
        tx = Tx()
        self.cache.invalidate(tx, self.find, key)
        self.source.rows[key] = value
        tx.commit()


def run(body: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(body, 20))


async def turns(count: int = 10) -> None:
    """Lets everything that can run run."""
    for _ in range(count):
        await asyncio.sleep(0)
