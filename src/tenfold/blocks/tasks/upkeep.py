"""What time brings: jobs that become due, names that are known again, kept results that are old; and crons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, select

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.tasks import statements as sql
from tenfold.blocks.tasks.job import Job, Told, telling
from tenfold.blocks.tasks.policy import State
from tenfold.blocks.tasks.task import Task
from tenfold.core.clock import Clock

TOGETHER = 500
"""Rows that one transaction of upkeep changes at most."""

NET_S = 2.0
"""How long it relies on being told."""

_ANY = select(sql.job.state).where(sql.job.state == bindparam("state")).limit(1)


class Upkeep:
    """The steps of one worker that are nobody's job."""

    def __init__(self, database: Database, clock: Clock, tasks: Mapping[str, Task[Any, Any]]) -> None:
        self._database = database
        self._clock = clock
        self._tasks = tasks
        brief = database.transaction(isolation="read committed")
        self._due = brief(_due)
        self._forget = brief(_forget)
        self._known = brief(_known)
        self._tell = brief(_tell)
        self._put_back = brief(_put_back)

    async def promote(self) -> tuple[int, float]:
        """Makes ready what is due; how many, and seconds until there may be more."""
        count = 0
        async with self._database.read(consistency="strong") as db:
            due_us = await db.scalar(sql.NEXT_DUE)
        if due_us is not None and due_us <= self._clock.wall_us():
            count = await self._due(self._clock.wall_us(), TOGETHER)
            return count, 0.001
        if due_us is None:
            return 0, NET_S
        return 0, min(max((due_us - self._clock.wall_us()) / 1e6, 0.001), NET_S)

    async def tidy(self) -> int:
        """Removes results that were kept long enough; makes ready what has a name that is known again: how many."""
        async with self._database.read(consistency="strong") as db:
            kept = await db.all(_ANY, state=int(State.DONE))
            unknown = await db.all(_ANY, state=int(State.UNKNOWN))
        while kept and await self._forget(self._clock.wall_us(), TOGETHER) >= TOGETHER:
            pass  # there may be more: jobs end faster than one transaction in a while removes them
        if unknown and self._tasks:
            return await self._known(list(self._tasks))
        return 0

    async def tell(self, job: Job) -> None:
        """Writes down how far a job is."""
        await self._tell(job.id, job.epoch, telling(job.told or Told()))

    async def give_back(self, name: str, epoch: int) -> None:
        """Gives back a job that was claimed, and of which the answer was lost."""
        await self._put_back(name, epoch)


async def _due(tx: Transaction, now_us: int, count: int) -> int:
    return await tx.run(sql.DUE, now=now_us, count=count)


async def _forget(tx: Transaction, now_us: int, count: int) -> int:
    return await tx.run(sql.FORGET, now=now_us, count=count)


async def _known(tx: Transaction, names: list[str]) -> int:
    return await tx.run(sql.KNOWN_AGAIN, names=names)


async def _tell(tx: Transaction, name: str, epoch: int, text: str) -> None:
    await tx.run(sql.TELL, of=name, at=epoch, telling=text)


async def _put_back(tx: Transaction, name: str, epoch: int) -> None:
    await tx.run(sql.GIVE_BACK, of=name, at=epoch)
