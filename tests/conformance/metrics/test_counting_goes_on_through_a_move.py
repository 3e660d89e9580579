"""What is counted while the data moves from SQLite to PostgreSQL, and back, is all there: once."""

from __future__ import annotations

import asyncio
import dataclasses
from decimal import Decimal
from pathlib import Path

from databases import Kit, SqliteKit
from postgres import needs_postgres
from postgres_kit import PostgresKit
from sqlalchemy import MetaData

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.metrics import Metrics
from tenfold.core.clock import ManualClock
from tenfold.core.randomness import SeededRandomness

TABLES = {
    "tf_metric": ("name", "day", "labels", "shard", "kind", "value", "sketch"),
    "tf_metric_entry": ("id", "bucket", "name", "day", "labels", "kind", "value"),
    "tf_metric_visitor": ("name", "visitor", "day"),
}


def copy(source: Kit, target: Kit) -> None:
    """As the mover does: every row, whole."""
    for table, columns in TABLES.items():
        from_, to = (f"{'tf.' if kit.capabilities.parallel_writers else ''}{table}" for kit in (source, target))
        target.outside(f"DELETE FROM {to}")
        for row in source.outside(f"SELECT {', '.join(columns)} FROM {from_}"):
            values = ", ".join(written(value, target) for value in row)
            target.outside(f"INSERT INTO {to} ({', '.join(columns)}) VALUES ({values})")


def written(value: object, kit: Kit) -> str:
    match value:
        case None:
            return "NULL"
        case bytes():
            return f"'\\x{value.hex()}'" if kit.capabilities.parallel_writers else f"x'{value.hex()}'"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case _:
            return str(value)


@needs_postgres
def test_nothing_is_lost_and_nothing_counts_twice(tmp_path: Path) -> None:
    asyncio.run(counted_through_moves(tmp_path))


async def counted_through_moves(folder: Path) -> None:
    database = Database(MetaData())
    kits: dict[str, Kit] = {"sqlite": SqliteKit(), "postgres": PostgresKit()}
    config = kits["sqlite"].create(folder, database.metadata)
    config = dataclasses.replace(config, server=kits["postgres"].create(folder, database.metadata).server)
    metrics = Metrics(database, ManualClock(), SeededRandomness(1))
    clicks, revenue = metrics.count("clicks"), metrics.sum("revenue")
    active, returning = metrics.unique("active"), metrics.visits("returning")
    counted = paid = 0
    going = True

    @database.transaction()
    async def pay(tx: Transaction) -> None:
        await revenue.add_in(tx, "0.01")

    async def count() -> None:
        nonlocal counted, paid
        while going:
            counted += 1
            clicks.add()
            active.add(f"user {counted % 3000}")
            returning.add(counted % 100)
            if counted % 5 == 0:
                await pay()
                paid += 1
            await asyncio.sleep(0)

    async def write() -> None:
        while going:
            await metrics.flush()
            await asyncio.sleep(0)

    await database.start(dataclasses.replace(config, standby="postgres"), print)
    try:
        await database.prepared(20)
        tasks = [asyncio.create_task(count()), asyncio.create_task(write())]
        source, target = "sqlite", "postgres"
        for number in range(4):
            before = counted
            async with asyncio.timeout(30):
                while counted < before + 300:
                    await asyncio.sleep(0.001)
                held = dataclasses.replace(config, epoch=2 * number + 2, backend=source, standby=target, held=True)
                database.adopt(held)
                while database.holding.now < 2:  # both wait at the gate: nothing is being written
                    await asyncio.sleep(0.001)
            await asyncio.to_thread(copy, kits[source], kits[target])
            database.adopt(dataclasses.replace(config, epoch=2 * number + 3, backend=target, standby=source))
            source, target = target, source
        going = False
        await asyncio.gather(*tasks)
        assert [day.value for day in await metrics.read("returning", days=1)] == [0]
        assert [day.value for day in await metrics.read("clicks", days=1)] == [counted]
        assert [day.value for day in await metrics.read("revenue", days=1)] == [paid * Decimal("0.01")]
        assert [day.value for day in await metrics.read("active", days=1)] == [min(counted, 2999 + (counted >= 3000))]
    finally:
        await database.stop()
