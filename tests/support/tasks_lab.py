"""Workers of the tasks block on one database: each with a `Database` and a `Tasks` of its own, as processes have."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from databases import Kit
from sqlalchemy import MetaData, bindparam, insert, select, update

from tenfold import Column
from tenfold.blocks.database import Database, DatabaseConfig, Transaction, sharded_by
from tenfold.blocks.database.types import Int64, Text
from tenfold.blocks.tasks import Tasks
from tenfold.core.clock import SYSTEM_CLOCK, Clock, SystemClock
from tenfold.core.randomness import SYSTEM_RANDOMNESS


class Process:
    """What one process of a service has: a table of counters, tasks, a worker."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.database = Database(MetaData(), clock=clock)
        self.tasks = Tasks(self.database, clock, SYSTEM_RANDOMNESS)
        self.clock = clock
        self.table = self.database.table(
            "counters",
            Column("name", Text(40), primary_key=True),
            Column("value", Int64(), nullable=False),
            home=sharded_by("name"),
        )
        self._find = select(self.table.c.value).where(self.table.c.name == bindparam("name"))
        self._add = insert(self.table)
        self._more = update(self.table).where(self.table.c.name == bindparam("of")).values(value=self.table.c.value + 1)
        self.within = self.database.transaction(key="name")(self._within)

    async def _within(self, tx: Transaction, name: str, body: Callable[[Transaction], Awaitable[Any]]) -> object:
        return await body(tx)

    async def count(self, tx: Transaction, name: str) -> None:
        """Adds one to a counter."""
        if not await tx.run(self._more, of=name):
            await tx.run(self._add, name=name, value=1)

    async def counted(self, name: str) -> int:
        """The value of a counter."""
        async with self.database.read(key=name, consistency="strong") as db:
            return int(await db.scalar(self._find, name=name) or 0)

    async def open(self, config: DatabaseConfig, *, work: bool = True) -> None:
        """Opens the database and starts the worker."""
        await self.database.start(config, _unexpected)
        await self.tasks.start()
        self.tasks.work(work)

    async def close(self) -> None:
        """As a service closes."""
        await self.tasks.stop()
        await self.database.stop()

    async def die(self) -> None:
        """As after SIGKILL: nothing is written any more."""
        worker = self.tasks.worker
        loops, worker._loops = worker._loops, []
        worker.finishing.stop()
        runners = list(worker.running.jobs)
        for job in list(worker.running.jobs.values()):
            worker.running.stale(job)
        for task in (*loops, *runners):
            task.cancel()
        await asyncio.gather(*loops, *runners, return_exceptions=True)
        await self.database.stop()


@contextlib.asynccontextmanager
async def opened(process: Process, kit: Kit, folder: Path, *, work: bool = True) -> AsyncIterator[DatabaseConfig]:
    """A process on an empty database."""
    config = kit.create(folder, process.database.metadata)
    await process.open(config, work=work)
    try:
        yield config
    finally:
        await process.close()


@contextlib.asynccontextmanager
async def beside(config: DatabaseConfig, process: Process, *, work: bool = True) -> AsyncIterator[Process]:
    """Another process on the same database."""
    await process.open(config, work=work)
    try:
        yield process
    finally:
        await process.close()


async def until(condition: Callable[[], Any], limit_s: float = 15.0) -> None:
    """Waits until something is so; the condition may be asynchronous."""
    async with asyncio.timeout(limit_s):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.01)


def run(work: Awaitable[Any]) -> Any:
    """Runs one test's work on a loop of its own, within half a minute."""

    async def bounded() -> Any:
        return await asyncio.wait_for(work, 30)

    return asyncio.run(bounded())


def _unexpected(error: BaseException) -> None:
    raise AssertionError(f"the database asked for a new process: {error}")


class Ahead(SystemClock):
    """The machine's clock, which a test may put forward: monotonic time, as after a pause, and wall time."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead_s = 0.0

    def advance(self, seconds: float) -> None:
        """Moves both on."""
        self._ahead_s += seconds
        self.put_off(self.offset_s + seconds)

    def monotonic(self) -> float:
        return super().monotonic() + self._ahead_s


async def bury(observer: Process) -> int:
    """Lets an observer with an `Ahead` clock look until whoever is silent is dead; how many jobs came back."""
    clock, count = observer.clock, 0
    assert isinstance(clock, Ahead)
    for _ in range(5):
        count += await observer.tasks.worker.leases.look()
        clock.advance(4)
    return count
