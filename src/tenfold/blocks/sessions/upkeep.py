"""What is done for sessions beside requests: writing down that they were used, and removing those that are over."""

from __future__ import annotations

import asyncio
import contextlib

from tenfold.blocks.sessions.store import Store
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.core.lifecycle import Background
from tenfold.core.randomness import Randomness

GATHER_S = 1.0
"""Sessions that were used within it are written down in one transaction."""
SWEEP_EVERY_S = 600.0
WAITING_MAX = 100_000
"""Sessions that wait to be written down, while the database is away; more are not."""


class Upkeep(Background):
    """No request waits for it, and none fails because of it."""

    def __init__(self, store: Store, clock: Clock, randomness: Randomness) -> None:
        super().__init__()
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._used: set[bytes] = set()
        self._wake: asyncio.Event | None = None
        self.touches = 0

    def used(self, id_: bytes) -> None:
        """Writes down, soon, that a session was used."""
        if len(self._used) < WAITING_MAX:
            self._used.add(id_)
        if self._wake is not None:
            self._wake.set()

    async def run(self) -> None:
        """Works until it is stopped; what cannot be done now is done later."""
        self._wake = asyncio.Event()
        sweep_at = self._next_sweep()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(sweep_at - self._clock.monotonic(), 0.0)):
                    await self._wake.wait()
            self._wake.clear()
            if self._clock.monotonic() >= sweep_at:
                with contextlib.suppress(TenfoldError):
                    await self._store.sweep()
                sweep_at = self._next_sweep()
            if self._used:
                await asyncio.sleep(GATHER_S)
                await self.write_down()

    async def stop(self) -> None:
        """Ends it, after what was used is written down."""
        await super().stop()
        self._wake = None
        await self.write_down()

    async def write_down(self) -> None:
        """Writes down what was used up to now; a database that is away is told later."""
        used, self._used = self._used, set()
        if not used:
            return
        try:
            await self._store.touch(list(used))
        except TenfoldError:
            self._used |= used
            if self._wake is not None:
                self._wake.set()
        else:
            self.touches += len(used)

    def _next_sweep(self) -> float:
        return self._clock.monotonic() + SWEEP_EVERY_S * (0.5 + self._randomness.uniform())
