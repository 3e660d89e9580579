"""Clearing up after processes that died: drafts, uploads without a row, static files that nobody uses any more."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from tenfold.blocks.files.published import Published
from tenfold.blocks.files.rows import Rows
from tenfold.blocks.files.static import Static
from tenfold.blocks.files.store import Store
from tenfold.blocks.files.uploads import DOUBT, DOUBT_S, discard, unmark
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.core.lifecycle import Background
from tenfold.core.randomness import Randomness

EVERY_S = 1800.0
STATIC_EVERY_S = 86_400.0

log = logging.getLogger("tenfold.files")


class Caretaker(Background):
    """Looks around every half hour or so, at another moment in each process."""

    def __init__(self, store: Store, rows: Rows, published: Published, *, clock: Clock, randomness: Randomness) -> None:
        super().__init__()
        self.published = published
        self.statics: list[Static] = []
        self._store = store
        self._rows = rows
        self._clock = clock
        self._randomness = randomness
        self._pruned = clock.monotonic()

    async def run(self) -> None:
        """Clears up for ever; what fails is tried again next time."""
        while True:
            await asyncio.sleep(EVERY_S * (0.5 + self._randomness.uniform()))
            with contextlib.suppress(TenfoldError):
                await self.tidy()
            if self._clock.monotonic() - self._pruned >= STATIC_EVERY_S:
                self._pruned = self._clock.monotonic()
                await asyncio.to_thread(self.renew)

    async def tidy(self) -> int:
        """Removes drafts of the dead, and settles what has been in doubt for an hour; how many things it removed."""
        removed = await self._store.tidy()
        before_s = self._clock.wall_us() / 1e6 - DOUBT_S
        old = [kept.name.partition("/")[2] async for kept in self._store.list(DOUBT) if kept.at_s < before_s]
        for name in old:
            removed += await self._settle(name)
        return removed

    async def _settle(self, name: str) -> bool:
        if await self._rows.find(name, strong=True) is not None:
            await unmark(self._store, name)
            return False
        log.info("The upload %s has no row: its bytes are removed.", name)
        await discard(self._store, name)
        return True

    def renew(self) -> None:
        """Marks this process's static files as used, and removes what nobody uses. It blocks on the disk."""
        for static in self.statics:
            static.publish(self.published)
        self.published.prune(self._clock.wall_us() / 1e6)
