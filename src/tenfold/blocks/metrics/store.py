"""The rows of the metrics: each process writes its own parts; reading merges them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.own.metrics import tf_metric, tf_metric_entry, tf_metric_visitor
from tenfold.blocks.metrics.policy import Kind, Part, counts_as_return, merged, merged_sketch
from tenfold.blocks.metrics.series import Entry, Place, Write
from tenfold.core.errors import Conflict
from tenfold.core.randomness import Randomness

FOLD_BATCH = 500
"""Entries or visitors that one transaction takes."""
GROUPS = 50
"""Label sets and days whose parts one round merges."""

_PART = (
    (tf_metric.c.name == bindparam("of"))
    & (tf_metric.c.day == bindparam("on"))
    & (tf_metric.c.labels == bindparam("with"))
    & (tf_metric.c.shard == bindparam("by"))
)
_UPDATE = update(tf_metric).where(_PART).values(value=bindparam("to_value"), sketch=bindparam("to_sketch"))
_INSERT = insert(tf_metric)
_VALUE = select(tf_metric.c.value).where(_PART)
_PARTS = select(tf_metric.c.kind, tf_metric.c.labels, tf_metric.c.day, tf_metric.c.value, tf_metric.c.sketch).where(
    tf_metric.c.name == bindparam("of"), tf_metric.c.day >= bindparam("first"), tf_metric.c.day <= bindparam("last")
)
_ENTRIES = select(
    tf_metric_entry.c.kind, tf_metric_entry.c.labels, tf_metric_entry.c.day, tf_metric_entry.c.value
).where(
    tf_metric_entry.c.name == bindparam("of"),
    tf_metric_entry.c.day >= bindparam("first"),
    tf_metric_entry.c.day <= bindparam("last"),
)
_ENTER = insert(tf_metric_entry)
_WAITING = select(tf_metric_entry).limit(FOLD_BATCH).with_for_update(skip_locked=True)
_LEAVE = delete(tf_metric_entry).where(tf_metric_entry.c.id == bindparam("which"))
_SPLIT = (
    select(tf_metric.c.name, tf_metric.c.day, tf_metric.c.labels)
    .where(tf_metric.c.day < bindparam("before"))
    .group_by(tf_metric.c.name, tf_metric.c.day, tf_metric.c.labels, tf_metric.c.kind)
    .having(func.count() > 1)
    .limit(GROUPS)
)
_GROUP = (
    (tf_metric.c.name == bindparam("of"))
    & (tf_metric.c.day == bindparam("on"))
    & (tf_metric.c.labels == bindparam("with"))
)
_OF_GROUP = select(tf_metric.c.kind, tf_metric.c.labels, tf_metric.c.day, tf_metric.c.value, tf_metric.c.sketch).where(
    _GROUP
)
_DROP_GROUP = delete(tf_metric).where(_GROUP)
_DROP_OLD = delete(tf_metric).where(tf_metric.c.day < bindparam("before"))
_LAST_VISITS = select(tf_metric_visitor.c.visitor, tf_metric_visitor.c.day).where(
    tf_metric_visitor.c.name == bindparam("of"), tf_metric_visitor.c.visitor.in_(bindparam("who", expanding=True))
)
_VISIT = (
    update(tf_metric_visitor)
    .where(tf_metric_visitor.c.name == bindparam("of"), tf_metric_visitor.c.visitor == bindparam("who"))
    .values(day=bindparam("to_day"))
)
_FIRST_VISIT = insert(tf_metric_visitor)
_DROP_VISITORS = delete(tf_metric_visitor).where(
    tf_metric_visitor.c.name == bindparam("of"), tf_metric_visitor.c.day < bindparam("before")
)


class Store:
    """The database's side. `shard` names the part to which this process adds entries and returns."""

    def __init__(self, database: Database, randomness: Randomness, shard: str) -> None:
        self._database = database
        self._randomness = randomness
        self._shard = shard
        self.write = database.transaction(isolation="read committed")(_write)
        self.drop_old = database.transaction(isolation="read committed")(_drop_old)
        self._fold = database.transaction(isolation="read committed")(_fold)
        self._visit = database.transaction(isolation="snapshot")(_visit)
        self._join = database.transaction()(_join)

    async def enter(self, tx: Transaction, entry: Entry, day: int) -> None:
        """Writes an entry as part of the caller's transaction."""
        await tx.run(_ENTER, id=self._randomness.bytes(16), bucket=tx.bucket, day=day, **entry._asdict())

    async def fold(self) -> int:
        """Adds waiting entries to this process's parts; how many. Call again while it is `FOLD_BATCH`."""
        return await self._fold(self._shard)

    async def visit(self, name: str, numbers: Sequence[int], day: int, within: int) -> int:
        """Notes visits of a day; how many of them were returns. `Conflict`, rarely: another process noted the same
        first visit at the same moment."""
        who = [number.to_bytes(8, "big") for number in numbers]
        place = Place(name, day, "", f"{self._shard}-visits")
        try:
            return await self._visit(place, who, within)
        except Conflict:  # now its row is there
            return await self._visit(place, who, within)

    async def parts(self, name: str, first: int, last: int) -> list[Part]:
        """All parts of a metric, from the day `first` to the day `last`, in one snapshot."""
        async with self._database.read(snapshot=True) as db:
            rows = await db.all(_PARTS, of=name, first=first, last=last)
            entries = await db.all(_ENTRIES, of=name, first=first, last=last)
        return [*map(_part, rows), *(Part(row.kind, row.labels, row.day, row.value, None) for row in entries)]

    async def join(self, before: int) -> int:
        """Merges the parts of days before `before`, a part for each day; how many days and label sets this round."""
        async with self._database.read() as db:
            groups = await db.all(_SPLIT, before=before)
        for group in groups:
            await self._join(group.name, group.day, group.labels, self._randomness.bytes(8).hex())
        return len(groups)


def _part(row: Any) -> Part:
    return Part(row.kind, row.labels, row.day, row.value, row.sketch)


async def _write(tx: Transaction, writes: Sequence[Write]) -> list[bool]:
    """Writes parts whole, so that writing twice changes nothing; for each whether its row had to be made.

    A row that was there and is not any more was merged with others: only what is new is written then.
    """
    made = []
    for each in writes:
        touched = await tx.run(_UPDATE, **_where(each.place), to_value=each.value, to_sketch=each.sketch)
        made.append(not touched)
        if not touched:
            await _insert(tx, each.place, each.kind, each.more, each.sketch)
    return made


def _where(place: Place) -> dict[str, Any]:
    return {"of": place.name, "on": place.day, "with": place.labels, "by": place.shard}


async def _insert(tx: Transaction, place: Place, kind: str, value: str, sketch: bytes | None = None) -> None:
    await tx.run(_INSERT, **place._asdict(), kind=kind, value=value, sketch=sketch)


async def _add(tx: Transaction, place: Place, kind: Kind, parts: list[Part]) -> None:
    """Adds to a part that only this process writes."""
    before = await tx.scalar(_VALUE, **_where(place))
    if before is None:
        await _insert(tx, place, kind, str(merged(kind, parts)))
    else:
        whole = merged(kind, [*parts, Part(kind, place.labels, place.day, before, None)])
        await tx.run(_UPDATE, **_where(place), to_value=str(whole), to_sketch=None)


async def _fold(tx: Transaction, shard: str) -> int:
    rows = await tx.all(_WAITING)
    groups: dict[tuple[Place, Kind], list[Part]] = {}
    for row in rows:
        place = Place(row.name, row.day, row.labels, f"{shard}-{row.kind}")
        groups.setdefault((place, row.kind), []).append(Part(row.kind, row.labels, row.day, row.value, None))
    for (place, kind), parts in groups.items():
        await _add(tx, place, kind, parts)
    if rows:
        await tx.run_many(_LEAVE, [{"which": row.id} for row in rows])
    return len(rows)


async def _visit(tx: Transaction, place: Place, who: list[bytes], within: int) -> int:
    name, day = place.name, place.day
    last = {row.visitor: row.day for row in await tx.all(_LAST_VISITS, of=name, who=who)}
    known = [each for each in who if each in last and last[each] < day]
    new = [each for each in who if each not in last]
    if known:
        await tx.run_many(_VISIT, [{"of": name, "who": each, "to_day": day} for each in known])
    if new:
        await tx.run_many(_FIRST_VISIT, [{"name": name, "visitor": each, "day": day} for each in new])
    returns = sum(counts_as_return(last.get(each), day, within) for each in who)
    if returns:
        await _add(tx, place, "visits", [Part("visits", "", day, str(returns), None)])
    return returns


async def _join(tx: Transaction, name: str, day: int, labels: str, shard: str) -> None:
    group = {"of": name, "on": day, "with": labels}
    by_kind: dict[Any, list[Part]] = {}
    for row in map(_part, await tx.all(_OF_GROUP, **group)):
        by_kind.setdefault(row.kind, []).append(row)
    await tx.run(_DROP_GROUP, **group)
    for kind, parts in by_kind.items():
        sketch = merged_sketch(parts).dump() if kind == "unique" else None
        value = "0" if kind == "unique" else str(merged(kind, parts))
        await _insert(tx, Place(name, day, labels, f"{shard}-{kind}"), kind, value, sketch)


async def _drop_old(tx: Transaction, before: int, visitors: dict[str, int]) -> None:
    """Drops days before `before`, and of each metric the visitors who were there last before a day."""
    await tx.run(_DROP_OLD, before=before)
    for name, day in visitors.items():
        await tx.run(_DROP_VISITORS, of=name, before=day)
