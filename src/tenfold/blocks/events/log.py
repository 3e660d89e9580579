"""The log of events in the database: adding, and reading no further than nothing can be missed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, bindparam, case, delete, func, insert, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.own.events import tf_event
from tenfold.blocks.database.types import Int64
from tenfold.blocks.events.event import Event, events
from tenfold.blocks.events.policy import PRUNE_ROWS, SLOT, WINDOW, Grace, cut, last_of, looked, row_after

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
    """An id that is drawn now, after the statement's snapshot: higher than that of any transaction that had one."""

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
    # Not the snapshot's xmax: that is behind the last transaction that has ended, and others may run at or above it.
    return "pg_current_xact_id()::text::bigint"


_seq = tf_event.c.seq
_ADD = insert(tf_event).values(seq=_Next())
_LOOK = select(
    func.coalesce(func.max(_seq), 0).label("newest"),
    _OldestRunning().label("oldest"),
    case((func.max(_seq) > bindparam("known", type_=Int64()), _NextId()), else_=0).label("id"),
)
_NEWEST = select(func.coalesce(func.max(_seq), 0))
_FIRST = select(func.min(_seq)).where(_seq >= bindparam("first"), _seq <= bindparam("last"))
_WANTED = (
    _seq >= bindparam("first"),
    _seq <= bindparam("last"),
    tf_event.c.topic.in_(bindparam("topics", expanding=True)),
)
_HEADS = select(_seq, tf_event.c.events).where(*_WANTED).order_by(_seq).limit(bindparam("most", type_=Integer()))
_READ = (
    select(_seq, tf_event.c.topic, tf_event.c.at_us, tf_event.c.events, tf_event.c.data).where(*_WANTED).order_by(_seq)
)
_OLD = (
    select(_seq)
    .where(_seq <= bindparam("last"), tf_event.c.at_us < bindparam("before"))
    .order_by(_seq)
    .limit(PRUNE_ROWS)
)
_DROP = delete(tf_event).where(_seq.in_(bindparam("numbers", expanding=True)))


@dataclass(frozen=True, slots=True)
class Found:
    """Events of the topics that were asked for, all there are up to the number `upto`."""

    events: list[Event]
    upto: int


def row(bucket: int, topic: str, at_us: int, data: str, count: int = 1) -> dict[str, Any]:
    """The parameters of `add` for one event, or for several that share a row."""
    return {"bucket": bucket, "topic": topic, "at_us": at_us, "events": count, "data": data}


async def add(tx: Transaction, rows: list[dict[str, Any]]) -> None:
    """Adds events, in their order, as part of the transaction."""
    if len(rows) == 1:
        await tx.run(_ADD, **rows[0])
    else:
        await tx.run_many(_ADD, rows)


async def newest(tx: Transaction) -> int:
    """The position behind everything that the transaction sees."""
    return last_of(int(await tx.scalar(_NEWEST)))


class EventLog:
    """Reads the log for all subscribers of this process. Belongs to one loop."""

    def __init__(self, database: Database) -> None:
        self.grace = Grace()
        self._database = database
        self._looking: asyncio.Task[None] | None = None
        self._drop = database.transaction(isolation="read committed")(_drop)

    def forget(self) -> None:
        """Begins anew: what was settled was so in the database that was open before."""
        self.grace = Grace()

    @property
    def waits(self) -> bool:
        """Whether there are events that a transaction which has not ended yet holds back."""
        return self.grace.settled < self.grace.newest

    async def settled(self) -> int:
        """Up to which row nothing can appear any more; asked once for all who ask at the same time."""
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
            (seen,) = await db.all(_LOOK, known=self.grace.settled)
        self.grace = looked(self.grace, seen.newest, seen.oldest, seen.id)

    async def after(self, position: int, topics: tuple[str, ...], most: int) -> Found:
        """The next `most` events after `position`, as far as a read of bounded size gets."""
        settled, first = await self.settled(), row_after(position)
        if settled < first:
            return Found([], position)
        async with self._database.read(consistency="strong") as db:
            first = await db.scalar(_FIRST, first=first, last=settled)
            if first is None:
                return Found([], last_of(settled))
            end = min(settled, first + WINDOW - 1)
            # One row more than events: nothing of the first may be left.
            heads = await db.all(_HEADS, first=first, last=end, topics=list(topics), most=most + 1)
            last = _last(heads, position, most)
            rows = [] if last is None else await db.all(_READ, first=first, last=last, topics=list(topics))
        found = _expanded(rows, position, last_of(end))[:most]
        return Found(found, found[-1].seq if len(found) == most else last_of(end))

    async def between(self, position: int, upto: int, topics: tuple[str, ...]) -> list[Event]:
        """The events of a batch that was claimed before."""
        async with self._database.read(consistency="strong") as db:
            rows = await db.all(_READ, first=row_after(position), last=upto // SLOT, topics=list(topics))
        return _expanded(rows, position, upto)

    async def prune(self, positions: list[int], before_us: int) -> int:
        """Removes rows that all have passed and that are older, in small transactions; how many."""
        removed = 0
        while True:
            async with self._database.read(consistency="strong") as db:
                last = cut(positions, int(await db.scalar(_NEWEST)))
                numbers = [each.seq for each in await db.all(_OLD, last=last, before=before_us)]
            if numbers:
                removed += await self._drop(numbers)
            if len(numbers) < PRUNE_ROWS:
                return removed


def _last(heads: list[Any], position: int, most: int) -> int | None:
    """The row with which `most` events after the position are together, or the last one; None without any."""
    total, last = 0, None
    for head in heads:
        last = head.seq
        total += max(head.events - max(position + 1 - head.seq * SLOT, 0), 0)
        if total >= most:
            break
    return last


def _expanded(rows: list[Any], position: int, upto: int) -> list[Event]:
    return [each for row in rows for each in events(row) if position < each.seq <= upto]


async def _drop(tx: Transaction, numbers: list[int]) -> int:
    return await tx.run(_DROP, numbers=numbers)
