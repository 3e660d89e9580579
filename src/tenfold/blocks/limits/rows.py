"""The rows of `tf_limit`: leases in one transaction each, by the database's own clock, which all processes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.own.limits import tf_limit
from tenfold.blocks.database.types import Int64
from tenfold.blocks.limits.leasing import NOTHING_BACK, SPAN_NS, Ask, Grant, Row, lease
from tenfold.blocks.limits.policy import Terms
from tenfold.core.errors import Conflict

LOADED_MAX = 50_000
"""Rows that a process takes over at most when it goes on alone."""

TRIES = 3
"""How often a row is begun anew that another process made at the same moment."""


class DatabaseNow(FunctionElement[int]):
    """Nanoseconds since 1970 by the clock of the database; on SQLite that is the clock of the one machine."""

    type = Int64()
    inherit_cache = True
    name = "tf_now_ns"


@compiles(DatabaseNow, "sqlite")
def _sqlite_now(element: Any, compiler: Any, **_: Any) -> str:
    return "(CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER) * 1000000)"


@compiles(DatabaseNow, "postgresql")
def _postgres_now(element: Any, compiler: Any, **_: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000000000 AS bigint)"


_NOW = select(DatabaseNow())
_FIND = select(tf_limit, DatabaseNow().label("now_ns")).where(tf_limit.c.name == bindparam("of")).with_for_update()
_MAKE = insert(tf_limit)
_KEEP = (
    update(tf_limit)
    .where(tf_limit.c.name == bindparam("of"))
    .values(
        {
            name: bindparam(f"to_{name}")
            for name in ("tat_ns", "at_ns", "interval_ns", "span", "out", "out_before", "full_ns")
        }
    )
)
_OWED = select(tf_limit.c.name, tf_limit.c.tat_ns).where(tf_limit.c.tat_ns > bindparam("after"))
_FORGET = delete(tf_limit).where(tf_limit.c.tat_ns < bindparam("before"))


class Rows:
    """Reads and writes of `tf_limit`. `now_ns` stands for the database's clock in tests."""

    def __init__(self, database: Database, now_ns: Callable[[], int] | None = None) -> None:
        self._database = database
        self._now_ns = now_ns
        self._lease = database.transaction(key="name", isolation="read committed")(self._leased)
        self._forget = database.transaction(key="name", isolation="read committed")(_forgotten)

    async def lease(self, name: str, terms: Terms, ask: Ask) -> Grant:
        """Gives a lease back and takes another; see `leasing.lease`. Raises what the database raises."""
        for _ in range(TRIES):
            try:
                return Grant(*await self._lease(name, terms, ask))
            except Conflict:  # another process made the row between our look and our insert
                continue
        return Grant(*await self._lease(name, terms, ask))

    async def _leased(self, tx: Transaction, name: str, terms: Terms, ask: Ask) -> tuple[int, ...]:
        found = await tx.one_or_none(_FIND, of=name)
        now_ns = await self._time(tx, found)
        before = found and Row(
            found.tat_ns, found.at_ns, found.interval_ns, found.span, found.out, found.out_before, found.full_ns
        )
        row, grant = lease(before, now_ns, terms, ask)
        values = {
            "tat_ns": row.tat_ns, "at_ns": row.at_ns, "interval_ns": row.interval_ns, "span": row.span,
            "out": row.out, "out_before": row.before, "full_ns": row.full_ns,
        }  # fmt: skip
        if found is None:
            await tx.run(_MAKE, name=name, bucket=tx.bucket, **values)
        elif grant.tokens or ask.back != NOTHING_BACK or ask.owed_ns:  # a refusal changes nothing
            await tx.run(_KEEP, of=name, **{f"to_{column}": value for column, value in values.items()})
        return grant.tokens, grant.leased, grant.room, grant.wait_ns, grant.valid_ns, grant.span, grant.at_ns

    async def _time(self, tx: Transaction, found: Any) -> int:
        if self._now_ns is not None:
            return self._now_ns()
        return int(await tx.scalar(_NOW) if found is None else found.now_ns)

    async def owed(self) -> dict[str, int]:
        """By row name, by how many nanoseconds the bucket is not full; only those that are not."""
        now_ns = self._now_ns() if self._now_ns is not None else await self._now()
        async with self._database.fanout() as db:
            rows = await db.all(_OWED.limit(LOADED_MAX), after=now_ns)
        return {row.name: row.tat_ns - now_ns for row in rows}

    async def _now(self) -> int:
        async with self._database.read(consistency="strong") as db:
            return int(await db.scalar(_NOW))

    async def forget(self) -> int:
        """Removes rows of full buckets, which say nothing; how many."""
        now_ns = self._now_ns() if self._now_ns is not None else await self._now()
        return await self._forget("tf_limit", now_ns - 3 * SPAN_NS)


async def _forgotten(tx: Transaction, name: str, before: int) -> int:
    return await tx.run(_FORGET, before=before)
