"""Who is alive: each worker counts its row up, and looks whether the others do.

No clock is compared with another one: docs/decisions/leases-without-clocks.md says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.tasks import statements as sql
from tenfold.blocks.tasks.host import Identity, identity, is_gone
from tenfold.blocks.tasks.job import Told, telling
from tenfold.blocks.tasks.policy import CRASHES, Silence
from tenfold.core.clock import Clock
from tenfold.core.randomness import Randomness

BEAT_S = 3.0
LOOK_S = 1.0

ORPHAN = -1
"""Stands for the beat of a worker that holds jobs and has no row."""

log = logging.getLogger("tenfold.tasks")


class Leases:
    """The row of this worker, and its view of the others. `lost()` is called when it was taken for dead."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness, lost: Callable[[], None]) -> None:
        self.id = ""
        """The name of this worker; empty while it has no row."""
        self.returned = 0
        """Jobs of dead workers that this one gave back."""
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._lost = lost
        self._here = Identity("", 0, 0)
        self._silence = Silence()
        self._missing: set[tuple[str, int]] = set()
        self._strays: set[tuple[str, int]] = set()
        brief = database.transaction(isolation="read committed")
        self._register = brief(_register)
        self._beat = brief(_beat)
        self._leave = brief(_leave)
        self._bury = brief(_bury)

    async def register(self) -> None:
        """Makes the row of this worker, under a name that nobody has had."""
        self._here = identity()
        name = self._randomness.bytes(12).hex()
        here = self._here
        row = {"id": name, "host": here.host, "pid": here.pid, "started": here.started, "beat": 0}
        await self._register({**row, "at_us": self._clock.wall_us()})
        self.id = name

    async def leave(self) -> None:
        """Removes the row; its jobs have been given back before."""
        name, self.id = self.id, ""
        if name:
            await self._leave(name)

    async def beat(self) -> bool:
        """Counts up; False when this worker was taken for dead, and its jobs were given to others."""
        if await self._beat(self.id, self._clock.wall_us()):
            return True
        self.id = ""
        self._lost()
        return False

    async def held(self) -> dict[str, tuple[int, bool]]:
        """The running jobs of this worker as the database has them: epoch, and whether it is asked to cancel."""
        async with self._database.read(consistency="strong") as db:
            rows = await db.all(sql.HELD, by=self.id)
        return {row.id: (row.epoch, row.cancel != 0) for row in rows}

    def compared(
        self, mine: set[tuple[str, int]], theirs: set[tuple[str, int]]
    ) -> tuple[set[tuple[str, int]], set[tuple[str, int]]]:
        """Attempts that were taken from this worker, and those that it has and does not know of.

        Each is believed when it was so at two beats: a commit may be known here a moment before or after.
        """
        missing, strays = mine - theirs, theirs - mine
        lost, found = missing & self._missing, strays & self._strays
        self._missing, self._strays = missing, strays
        return lost, found

    async def look(self) -> int:
        """Gives back the jobs of workers that are dead; how many jobs."""
        async with self._database.read(consistency="strong") as db:
            rows = await db.all(sql.WORKERS)
            orphaned = await db.all(sql.ORPHANED)
        beats = {row.id: row.beat for row in rows if row.id != self.id}
        beats |= {row.worker: ORPHAN for row in orphaned if row.worker and row.worker != self.id}
        gone = {row.id for row in rows if row.id in beats and self._has_ended(row)}
        dead = [name for name in beats if name in gone] + [
            name for name in self._silence.look(self._clock.monotonic(), beats) if name not in gone
        ]
        count = 0
        for name in dead:
            count += await self._buried(name, beats[name])
        return count

    def _has_ended(self, row: Any) -> bool:
        return is_gone(Identity(row.host, row.pid, row.started), self._here)

    async def _buried(self, name: str, beat: int) -> int:
        why = telling(Told(error=f"The process that ran it died, {CRASHES} times."))
        parked, returned = await self._bury(name, beat, why, self._clock.wall_us())
        if parked or returned:
            log.warning("A worker died: %d of its jobs run again, %d are dead letters now.", returned, parked)
        self.returned += returned
        return returned


async def _register(tx: Transaction, row: dict[str, Any]) -> None:
    await tx.run(sql.REGISTER, **row)


async def _beat(tx: Transaction, name: str, now_us: int) -> bool:
    return await tx.run(sql.BEAT, of=name, to_at=now_us) > 0


async def _leave(tx: Transaction, name: str) -> None:
    await tx.run(sql.LEAVE, of=name)


async def _bury(tx: Transaction, name: str, beat: int, why: str, now_us: int) -> tuple[int, int]:
    """Removes a dead worker unless it has beaten meanwhile; how many jobs were parked and given back."""
    if beat != ORPHAN and not await tx.run(sql.BURY, of=name, at_beat=beat):
        return 0, 0
    parked = await tx.run(sql.PARK_CRASHED, by=name, telling=why, now=now_us)
    return parked, await tx.run(sql.RETURN_CRASHED, by=name)
