"""The log of events in the database: adding, and reading no further than nothing can be missed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, bindparam, delete, func, insert, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.own.events import tf_event
from tenfold.blocks.database.types import Int64
from tenfold.blocks.events.event import Event, event
from tenfold.blocks.events.policy import PRUNE_ROWS, WINDOW, Grace, cut, looked

ANNOUNCED = "tf:events"
NEWS = f"{ANNOUNCED}|"


class _Next(FunctionElement[int]):
    """The next number. SQLite counts on from its newest row, in the order of commits because writers take turns."""

    type = Int64()
    inherit_cache = True


class _OldestRunning(FunctionElement[int]):
    """The lowest id of a transaction that had not ended; 0 where there are none at once."""

    type = Int64()
    inherit_cache = True


class _NextId(FunctionElement[int]):
    """The id that the next transaction gets."""

    type = Int64()
    inherit_cache = True


@compiles(_Next, "sqlite")
def _next_on_sqlite(element: Any, compiler: Any, **_: Any) -> str:
    return "NULL"


@compiles(_Next, "postgresql")
def _next_on_postgres(element: Any, compiler: Any, **_: Any) -> str:
    # The id of the transaction first, then the number: `policy.Grace` rests on this order, and CASE keeps it.
    return "CASE WHEN pg_current_xact_id() IS NOT NULL THEN nextval('tf.tf_event_seq') END"


@compiles(_OldestRunning, "sqlite")
@compiles(_NextId, "sqlite")
def _none(element: Any, compiler: Any, **_: Any) -> str:
    return "0"


@compiles(_OldestRunning, "postgresql")
def _xmin(element: Any, compiler: Any, **_: Any) -> str:
    return "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"


@compiles(_NextId, "postgresql")
def _xmax(element: Any, compiler: Any, **_: Any) -> str:
    return "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"


_SEQ = tf_event.c.seq
_ADD = insert(tf_event).values(seq=_Next())
_LOOK = select(
    func.coalesce(func.max(_SEQ), 0).label("newest"), _OldestRunning().label("oldest"), _NextId().label("id")
)
_NEWEST = select(func.coalesce(func.max(_SEQ), 0))
_FIRST = select(func.min(_SEQ)).where(bindparam("after") < _SEQ, bindparam("upto") >= _SEQ)
_READ = (
    select(_SEQ, tf_event.c.topic, tf_event.c.at_us, tf_event.c.data)
    .where(
        bindparam("after") < _SEQ, bindparam("upto") >= _SEQ, tf_event.c.topic.in_(bindparam("topics", expanding=True))
    )
    .order_by(_SEQ)
    .limit(bindparam("most", type_=Integer()))
)
_OLD = (
    select(_SEQ)
    .where(bindparam("upto") >= _SEQ, tf_event.c.at_us < bindparam("before"))
    .order_by(_SEQ)
    .limit(PRUNE_ROWS)
)
_DROP = delete(tf_event).where(_SEQ.in_(bindparam("numbers", expanding=True)))


@dataclass(frozen=True, slots=True)
class Found:
    """Events of the topics that were asked for, all there are up to the number `upto`."""

    events: list[Event]
    upto: int


def row(bucket: int, topic: str, at_us: int, data: str) -> dict[str, Any]:
    """The parameters of `add` for one event."""
    return {"bucket": bucket, "topic": topic, "at_us": at_us, "data": data}


async def add(tx: Transaction, rows: list[dict[str, Any]]) -> None:
    """Adds events, in their order, as part of the transaction."""
    if len(rows) == 1:
        await tx.run(_ADD, **rows[0])
    else:
        await tx.run_many(_ADD, rows)


async def newest(tx: Transaction) -> int:
    """The highest number that the transaction sees; 0 in an empty log."""
    return int(await tx.scalar(_NEWEST))


class EventLog:
    """Reads the log for all subscribers of this process. Belongs to one loop."""

    def __init__(self, database: Database) -> None:
        self.grace = Grace()
        self._database = database
        self._looking: asyncio.Task[None] | None = None
        self._drop = database.transaction(isolation="read committed")(_drop)

    @property
    def waits(self) -> bool:
        """Whether there are events that a transaction which has not ended yet holds back."""
        return self.grace.settled < self.grace.newest

    async def settled(self) -> int:
        """Up to which number nothing can appear any more; asked once for all who ask at the same time."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
            self._looking.add_done_callback(self._looked)
        await asyncio.shield(self._looking)
        return self.grace.settled

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        if not task.cancelled():
            task.exception()  # whoever waited has it

    async def _look(self) -> None:
        async with self._database.read(consistency="strong") as db:
            seen = await db.one(_LOOK)
        self.grace = looked(self.grace, seen.newest, seen.oldest, seen.id)

    async def after(self, position: int, topics: tuple[str, ...], most: int) -> Found:
        """The next `most` events after `position`, as far as a read of bounded size gets."""
        settled = await self.settled()
        if settled <= position:
            return Found([], position)
        async with self._database.read(consistency="strong") as db:
            first = await db.scalar(_FIRST, after=position, upto=settled)
            if first is None:
                return Found([], settled)
            end = min(settled, first - 1 + WINDOW)
            rows = await db.all(_READ, after=first - 1, upto=end, topics=list(topics), most=most)
        return Found([event(each) for each in rows], rows[-1].seq if len(rows) == most else end)

    async def between(self, position: int, upto: int, topics: tuple[str, ...], most: int) -> list[Event]:
        """The events of a batch that was claimed before."""
        async with self._database.read(consistency="strong") as db:
            rows = await db.all(_READ, after=position, upto=upto, topics=list(topics), most=most)
        return [event(each) for each in rows]

    async def prune(self, positions: list[int], before_us: int) -> int:
        """Removes events that all have passed and that are older, in small transactions; how many."""
        removed = 0
        while True:
            async with self._database.read(consistency="strong") as db:
                upto = cut(positions, int(await db.scalar(_NEWEST)))
                numbers = [each.seq for each in await db.all(_OLD, upto=upto, before=before_us)]
            if numbers:
                removed += await self._drop(numbers)
            if len(numbers) < PRUNE_ROWS:
                return removed


async def _drop(tx: Transaction, numbers: list[int]) -> int:
    return await tx.run(_DROP, numbers=numbers)
