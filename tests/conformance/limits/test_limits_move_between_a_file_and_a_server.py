"""Processes that share limits go from SQLite to a real PostgreSQL and back under load: nothing charged is forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from databases import SqliteKit
from own_tables import opened_on
from postgres import needs_postgres
from postgres_kit import PostgresKit
from sqlalchemy import MetaData

from tenfold.blocks.database import Database, DatabaseConfig
from tenfold.blocks.database.own.limits import tf_limit
from tenfold.blocks.limits import Limits, shared
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.moves.rows.tables import moved_tables

SWITCHES = 4
BURST = 300
COLUMNS = [column.name for column in tf_limit.columns]


class Two:
    """The file and the server, and what a move does between them while writes are held: it copies the rows."""

    def __init__(self, folder: Path) -> None:
        self.kits: dict[str, Any] = {"sqlite": SqliteKit(), "postgres": PostgresKit()}
        at_file = self.kits["sqlite"].create(folder, MetaData())
        self.config = dataclasses.replace(at_file, server=self.kits["postgres"].create(folder, MetaData()).server)

    def map(self, epoch: int, backend: str, *, held: bool = False) -> DatabaseConfig:
        standby = "postgres" if backend == "sqlite" else "sqlite"
        return dataclasses.replace(self.config, epoch=epoch, backend=backend, standby=standby, held=held)

    def copy(self, source: str, target: str) -> None:
        rows = self.kits[source].outside(f"SELECT {', '.join(COLUMNS)} FROM {self._table(source)}")
        self.kits[target].outside(f"DELETE FROM {self._table(target)}")
        for row in rows:
            values = ", ".join(f"'{value}'" if isinstance(value, str) else str(value) for value in row)
            self.kits[target].outside(f"INSERT INTO {self._table(target)} ({', '.join(COLUMNS)}) VALUES ({values})")

    @staticmethod
    def _table(which: str) -> str:
        return "tf.tf_limit" if which == "postgres" else "tf_limit"


async def quiet(processes: list[Limits]) -> None:
    """Waits until no transaction of a limit is under way; the fence that a move has for this is its own test."""
    for limits in processes:
        part = limits._sharing.shared
        part.tidy = lambda: None  # type: ignore[method-assign]
        while part._tasks:
            await asyncio.wait(set(part._tasks), timeout=0.05)


@needs_postgres
def test_no_more_than_the_limit_passes_over_several_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "AWAY_AFTER_S", 30.0)  # a slow test machine is not a database that is away

    async def main() -> None:
        two, allowed, going = Two(tmp_path), [0, 0], asyncio.Event()
        going.set()
        async with contextlib.AsyncExitStack() as stack:
            databases: list[Database] = [
                await stack.enter_async_context(opened_on(two.map(1, "sqlite"))) for _ in range(2)
            ]
            processes = [Limits(database, SYSTEM_CLOCK, SYSTEM_RANDOMNESS) for database in databases]
            for limits in processes:
                limits.rule("a", "1/day", burst=BURST)
                limits._sharing.adopt(2)
                await limits.start()
                stack.push_async_callback(limits.stop)

            async def load(number: int) -> None:
                limits = processes[number]
                rule = limits.rules.by_name["a"]
                while sum(allowed) < BURST:
                    await going.wait()
                    decision = await limits.take((rule, "k"))
                    if not decision.allowed:
                        return
                    allowed[number] += 1

            tasks = [asyncio.create_task(load(number)) for number in range(2)]
            source, target = "sqlite", "postgres"
            for number in range(SWITCHES):
                wanted = sum(allowed) + BURST // (SWITCHES + 1) // 2
                while sum(allowed) < wanted:
                    await asyncio.sleep(0.001)
                going.clear()
                await quiet(processes)
                for database in databases:
                    database.adopt(two.map(2 * number + 2, source, held=True))
                going.set()  # charges wait at the gate from here on
                await asyncio.to_thread(two.copy, source, target)
                for database in databases:
                    database.adopt(two.map(2 * number + 3, target))
                source, target = target, source
            await asyncio.gather(*tasks)
            extra = [(await limits.take((limits.rules.by_name["a"], "k"))).allowed for limits in processes]
            assert (sum(allowed), extra) == (BURST, [False, False])
            assert [limits.stats().local for limits in processes] == [0, 0]

    asyncio.run(asyncio.wait_for(main(), 60))


def test_the_table_of_the_block_moves_with_the_others() -> None:
    assert "tf_limit" in {table.name for table in moved_tables(MetaData())}
