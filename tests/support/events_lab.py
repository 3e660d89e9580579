"""Processes of a service with the events block on one database, as a test sees them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from databases import Kit
from sqlalchemy import Column, MetaData, bindparam, insert, select, update

from tenfold.blocks.database import Database, DatabaseConfig, Transaction, sharded_by
from tenfold.blocks.database.types import Int64, Text
from tenfold.blocks.events import Event, Events
from tenfold.core.clock import SYSTEM_CLOCK, Clock, ManualClock
from tenfold.core.randomness import SYSTEM_RANDOMNESS

PATIENCE_S = 20.0


class Node:
    """One process: a database block, an events block, a table that handlers count in, and what they were given."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.clock = clock
        self.database = Database(MetaData(), clock=clock)
        self.events = Events(self.database, clock, SYSTEM_RANDOMNESS)
        counts = self.database.table(
            "counts",
            Column("code", Text(80), primary_key=True),
            Column("n", Int64(), nullable=False),
            home=sharded_by("code"),
        )
        self._find = select(counts.c.n).where(counts.c.code == bindparam("code"))
        self._add = insert(counts)
        self._more = update(counts).where(counts.c.code == bindparam("of")).values(n=counts.c.n + 1)
        self.publish = self.database.transaction(key="code")(self._publish)
        self.count = self.database.transaction(key="code")(self._count)
        self.given: list[list[Event]] = []

    async def _publish(self, tx: Transaction, code: str, *topics: str, fail: bool = False) -> None:
        for topic in topics or ("link.made",):
            await self.events.publish(tx, topic, {"code": code})
        if fail:
            raise ValueError(code)

    async def _count(self, tx: Transaction, code: str) -> None:
        if await tx.scalar(self._find, code=code) is None:
            await tx.run(self._add, code=code, n=1)
        else:
            await tx.run(self._more, of=code)

    async def counted(self, code: str) -> int:
        """How often a handler has counted it."""
        async with self.database.read(key=code) as db:
            return await db.scalar(self._find, code=code) or 0

    def listens(self, *topics: str, name: str = "listener", **options: Any) -> None:
        """A subscriber that only remembers what it was given."""

        async def remembers(batch: list[Event]) -> None:
            self.given.append(batch)

        self.events.subscriber(*(topics or ("link.made",)), name=name, **options)(remembers)

    @property
    def codes(self) -> list[str]:
        """The codes of the events that were given, in order."""
        return [event.data["code"] for batch in self.given for event in batch]

    @property
    def numbers(self) -> list[int]:
        """Their numbers."""
        return [event.seq for batch in self.given for event in batch]

    async def open(self, config: DatabaseConfig, *, works: bool = True) -> None:
        """Opens both blocks."""
        await self.database.start(config, _unexpected)
        self.events.work(works)
        await self.events.start()

    async def close(self) -> None:
        """Ends both in order."""
        await self.events.stop()
        await self.database.stop()

    def die(self) -> None:
        """Ends the events block as SIGKILL does: nothing is finished, nothing is given back."""
        for task in self.events._tasks:
            task.cancel()
        self.events._tasks = []
        self.events._started = False

    def later(self, seconds: float) -> None:
        """Moves this process's own clock on, and lets it look."""
        assert isinstance(self.clock, ManualClock)
        self.clock.advance(seconds)
        self.events.adopt(None)  # type: ignore[arg-type]  # any map wakes it up


class Lab:
    """A database and the processes on it."""

    def __init__(self, kit: Kit, folder: Path) -> None:
        self.kit = kit
        self.config = kit.create(folder, Node().database.metadata)
        self.nodes: list[Node] = []

    @contextlib.asynccontextmanager
    async def running(self, *nodes: Node, works: bool = True) -> AsyncIterator[Lab]:
        """The nodes, open."""
        try:
            for node in nodes:
                self.nodes.append(node)
                await node.open(self.config, works=works)
            yield self
        finally:
            for node in nodes:
                await node.close()

    def number(self, sql: str) -> int:
        """The first value of a query of somebody else."""
        return int(self.kit.outside(sql)[0][0] or 0)

    @property
    def log(self) -> str:
        """The log's table, for `number`."""
        return "tf.tf_event" if self.kit.capabilities.parallel_writers else "tf_event"


async def until(condition: Callable[[], object], what: str = "it never happened") -> None:
    """Waits for a condition, with a bound."""
    for _ in range(int(PATIENCE_S / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(what)


def run(work: Any) -> Any:
    """Runs one test's work on a loop of its own, within a minute."""

    async def bounded() -> Any:
        return await asyncio.wait_for(work, 60)

    return asyncio.run(bounded())


def _unexpected(error: BaseException) -> None:
    raise AssertionError(f"the database asked for a new process: {error}")
