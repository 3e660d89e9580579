"""Jobs that wait and jobs that run go from SQLite to a real PostgreSQL and back, under load, and none is lost."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

from databases import Kit, SqliteKit
from postgres import needs_postgres
from postgres_kit import PostgresKit
from tasks_lab import Process, run, until

from tenfold.blocks.database import DatabaseConfig, Transaction
from tenfold.blocks.database.own import own_metadata

SWITCHES = 4
LONG_S = 0.4
"""A job takes longer than a switch: it begins on one database and ends on the other."""


class Two:
    """The file and the server, and what a move does: hold, copy every table, go on elsewhere."""

    def __init__(self, folder: Path, process: Process) -> None:
        self.process = process
        self.kits: dict[str, Kit] = {"sqlite": SqliteKit(), "postgres": PostgresKit()}
        at_file = self.kits["sqlite"].create(folder, process.database.metadata)
        server = self.kits["postgres"].create(folder, process.database.metadata).server
        self.config = dataclasses.replace(at_file, server=server)
        self.epoch = 1

    def map(self, backend: str, *, held: bool = False) -> DatabaseConfig:
        standby = "postgres" if backend == "sqlite" else "sqlite"
        return dataclasses.replace(self.config, epoch=self.epoch, backend=backend, standby=standby, held=held)

    def adopt(self, backend: str, *, held: bool = False) -> None:
        self.epoch += 1
        self.process.database.adopt(self.map(backend, held=held))

    async def switch(self, source: str, target: str) -> None:
        self.adopt(source, held=True)
        await asyncio.sleep(0.1)  # what began there ends there
        for table in [*own_metadata.sorted_tables, self.process.table]:
            columns = ", ".join(column.name for column in table.columns)
            found = self.kits[source].outside(f"SELECT {columns} FROM {table.name}")
            await asyncio.to_thread(self.kits[target].outside, f"DELETE FROM {table.name}")
            for row in found:
                values = ", ".join(_literal(value, target) for value in row)
                await asyncio.to_thread(
                    self.kits[target].outside, f"INSERT INTO {table.name} ({columns}) VALUES ({values})"
                )
        self.adopt(target)


def _literal(value: Any, target: str) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'" if target == "sqlite" else f"'\\x{value.hex()}'"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


@needs_postgres
def test_no_job_is_lost_and_none_has_its_effect_twice(tmp_path: Path) -> None:
    process = Process()
    effects: list[int] = []
    crossed: list[int] = []
    enqueued, going = 0, True
    at = "sqlite"

    @process.tasks.task("long")
    async def long(n: int) -> None:
        began_at = at
        await asyncio.sleep(LONG_S if n % 4 == 0 else 0)
        if n % 2:  # ended by the worker; the others by themselves, with their effect
            return effects.append(n)

        async def body(tx: Transaction) -> None:
            await process.count(tx, "k")
            await process.tasks.complete(tx)
            tx.on_commit(lambda: effects.append(n))
            if at != began_at:
                tx.on_commit(lambda: crossed.append(n))

        return await process.within("k", body)

    async def produce() -> None:
        nonlocal enqueued
        while going:
            enqueued += 1
            await long.with_(key="k", delay="200ms" if enqueued % 8 == 0 else None).enqueue(enqueued)
            await asyncio.sleep(0.005)

    async def work() -> None:
        nonlocal going, at
        two = Two(tmp_path, process)
        await process.open(two.map("sqlite"))
        try:
            await process.database.prepared(20)
            producer = asyncio.create_task(produce())
            for _ in range(SWITCHES):
                wanted = len(effects) + 40
                await until(lambda wanted=wanted: len(effects) >= wanted)
                target = "postgres" if at == "sqlite" else "sqlite"
                source, at = at, target
                await two.switch(source, target)
                assert not producer.done(), "no enqueue may fail"
            going = False
            await producer
            await until(lambda: len(effects) >= enqueued and not process.tasks.busy())
            assert await process.counted("k") == enqueued // 2
            assert process.tasks.stats().stale == 0
        finally:
            await process.close()
        assert sorted(effects) == list(range(1, enqueued + 1))
        assert crossed, "jobs began on one database and were completed on the other"
        assert two.kits[at].outside("SELECT count(*) FROM tf_job") == [(0,)]

    run(work())


def test_the_tables_of_the_block_move_with_the_others() -> None:
    assert {"tf_job", "tf_worker", "tf_cron"} <= set(own_metadata.tables)
