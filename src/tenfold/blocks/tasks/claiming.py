"""Claiming: which jobs begin here, in one statement for many."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.token import EMPTY, Token
from tenfold.blocks.tasks import statements as sql
from tenfold.blocks.tasks.policy import NOWHERE, SUSPECTS, State, free_in_lanes, watermark
from tenfold.blocks.tasks.task import Task
from tenfold.core.clock import Clock

FROM_THE_BEGINNING_S = 1.0
"""How often a claim looks below the watermark without being told."""

_RANK = attrgetter("rank")

LANES_S = 1.0
"""How often jobs with a limit are looked for without being told."""

log = logging.getLogger("tenfold.tasks")


class Claiming:
    """The claims of one worker."""

    def __init__(self, database: Database, clock: Clock, tasks: Mapping[str, Task[Any, Any]]) -> None:
        self.token: Token = EMPTY
        """A token at or after the last claim, and so after whatever enqueued its jobs."""
        self._database = database
        self._clock = clock
        self._tasks = tasks
        self._low = NOWHERE
        self._whole_at = self._lanes_at = -1e9
        self._claim = database.transaction(isolation="read committed")(_claim)
        self._claim_in_lanes = database.transaction()(_claim_in_lanes)

    def look_from_the_beginning(self) -> None:
        """The next claim looks below the watermark: something may have come in there."""
        self._whole_at = -1e9

    def look_at_lanes(self) -> None:
        """The next claim looks for jobs with a limit: one was enqueued, or one has ended."""
        self._lanes_at = -1e9

    async def claim(self, worker: str, count: int, *, threads: bool = True) -> tuple[list[Any], bool]:
        """Up to `count` jobs for `worker`, and whether there may be more at once; `threads`: also of `def` tasks."""
        but = () if threads else [name for name, task in self._tasks.items() if not task.is_async]
        now = self._clock.monotonic()
        whole = now - self._whole_at >= FROM_THE_BEGINNING_S
        if whole:
            self._whole_at, self._low = now, NOWHERE
        rows = await self._claim(worker, self._low, count, but)
        rows.sort(key=_RANK)  # what an UPDATE returns is in no order
        self._low = watermark(self._low, rows[0].rank if rows else None, self._clock.wall_us())
        full = len(rows) >= count
        if not full and now - self._lanes_at >= LANES_S:
            self._lanes_at = now
            rows += await self._laned_beside(rows, worker, count - len(rows), but)
        self.token = self._database.position()
        return rows, full

    async def _laned_beside(self, rows: list[Any], *how: Any) -> list[Any]:
        """What is claimed already runs, whatever becomes of the look at the lanes: the next claim tries it again."""
        try:
            return await self._laned(*how)
        except Exception as error:
            self.look_at_lanes()
            if not rows:
                raise
            log.info("The look for jobs with a limit failed, and is tried again: %s", error)
            return []

    async def _laned(self, worker: str, count: int, but: Sequence[str]) -> list[Any]:
        limits = {task.lane: task.options.concurrency or 1 for task in self._tasks.values() if task.lane}
        limits[SUSPECTS] = 1
        async with self._database.read(consistency="strong") as db:
            waiting = await db.all(sql.LANES, state=int(State.READY), lanes=list(limits))
        if not waiting:
            return []
        return await self._claim_in_lanes(worker, {row.lane: limits[row.lane] for row in waiting}, count, but)


async def _claim(tx: Transaction, worker: str, low: int, count: int, but: Sequence[str] = ()) -> list[Any]:
    if but:
        return await tx.all(sql.CLAIM_BUT, by=worker, low=low, count=count, but=list(but))
    return await tx.all(sql.CLAIM, by=worker, low=low, count=count)


async def _claim_in_lanes(
    tx: Transaction, worker: str, limits: dict[str, int], count: int, but: Sequence[str]
) -> list[Any]:
    """SERIALIZABLE: of two that count the same lane at once, one begins anew and sees what the other has claimed."""
    running = await tx.all(sql.LANES, state=int(State.RUNNING), lanes=list(limits))
    claimed: list[Any] = []
    for lane, free in free_in_lanes(limits, [(row.lane, row.jobs) for row in running]).items():
        wanted = min(free, count - len(claimed))
        if wanted > 0 and but:
            claimed += await tx.all(sql.CLAIM_IN_LANE_BUT, by=worker, lane=lane, count=wanted, but=list(but))
        elif wanted > 0:
            claimed += await tx.all(sql.CLAIM_IN_LANE, by=worker, lane=lane, count=wanted)
    return claimed
