"""Removing what expired. It only frees space: reads look at the clock and never give an expired value."""

from __future__ import annotations

import asyncio
import contextlib

from sqlalchemy import bindparam, select

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.own.kv import tf_kv
from tenfold.blocks.kv import writes
from tenfold.blocks.kv.policy import At
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.core.lifecycle import Background
from tenfold.core.randomness import Randomness

EVERY_S = 60.0
ROWS = 500
"""Entries looked for at once, so that clearing up never holds writers for long."""
AT_ONCE = 50

_EXPIRED = (
    select(tf_kv.c.place, tf_kv.c.name, tf_kv.c.expires_us)
    .where(tf_kv.c.expires_us <= bindparam("now_us"))
    .order_by(tf_kv.c.expires_us)
    .limit(ROWS)
)


class Sweeper(Background):
    """Clears up about once a minute, at another moment in each process."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness) -> None:
        super().__init__()
        self.removed = 0
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._clear = database.transaction(key="place")(_clear)

    async def run(self) -> None:
        """Clears up for ever; a database that is full or away is tried again next time."""
        while True:
            await asyncio.sleep(EVERY_S * (0.5 + self._randomness.uniform()))
            with contextlib.suppress(TenfoldError):
                await self.sweep()

    async def sweep(self) -> int:
        """Removes all that expired by now; how many entries."""
        removed, found = 0, ROWS
        while found == ROWS:
            found, gone = await self._round()
            removed += gone
            if not gone:  # others clear them up just now, or the clock went back
                break
        return removed

    async def _round(self) -> tuple[int, int]:
        now_us, removed = self._clock.wall_us(), 0
        async with self._database.fanout() as db:
            rows = await db.all(_EXPIRED, now_us=now_us)
        for first in range(0, len(rows), AT_ONCE):
            some = rows[first : first + AT_ONCE]
            removed += sum(await asyncio.gather(*(self._clear(row.place, row.name, now_us) for row in some)))
        self.removed += removed
        return len(rows), removed


async def _clear(tx: Transaction, place: str, name: str, now_us: int) -> bool:
    return await writes.clear(tx, At(place, name), now_us)
