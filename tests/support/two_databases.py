"""Two SQLite files as the two databases of a move, in one process: the router does not care what they are."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from bank import database
from databases import SqliteKit

from tenfold.blocks.database import DatabaseConfig
from tenfold.blocks.database.backends import MAKERS
from tenfold.blocks.database.router import Router
from tenfold.blocks.database.sqlite.backend import SqliteBackend
from tenfold.drivers.sqlite import WriterLock

FENCED = ("accounts", "notes", "tf_clock")


class Pair:
    """The files `one` (backend "sqlite") and `two` (backend "postgres"), and the maps that send work to them.

    `opens` is awaited before the second one opens; `bodies` counts what the tests' bodies tell it.
    """

    def __init__(self, folder: Path, monkeypatch: Any, **settings: Any) -> None:
        (folder / "one").mkdir()
        (folder / "two").mkdir()
        self.config = SqliteKit().create(folder / "one", database.metadata, **settings)
        self.paths = {
            "sqlite": self.config.path,
            "postgres": SqliteKit().create(folder / "two", database.metadata).path,
        }
        self.made: list[SqliteBackend] = []
        self.opens: Callable[[], Any] = _at_once
        pair = self

        class Second(SqliteBackend):
            """The second file, whatever path the map has."""

            def __init__(self, config: DatabaseConfig, *others: Any) -> None:
                super().__init__(self._here(config), *others)
                pair.made.append(self)
                self.stopped = False

            async def start(self) -> None:
                await pair.opens()
                await super().start()

            async def stop(self) -> None:
                self.stopped = True
                await super().stop()

            def adopt(self, config: DatabaseConfig) -> None:
                super().adopt(self._here(config))

            def _here(self, config: DatabaseConfig) -> DatabaseConfig:
                return dataclasses.replace(config, path=pair.paths["postgres"])

        monkeypatch.setitem(MAKERS, "postgres", Second)

    def map(self, epoch: int, backend: str, standby: str = "", *, held: bool = False, **more: Any) -> DatabaseConfig:
        """A map's settings."""
        return dataclasses.replace(self.config, epoch=epoch, backend=backend, standby=standby, held=held, **more)

    def sql(self, which: str, statement: str) -> list[tuple[Any, ...]]:
        """As somebody else, in autocommit."""
        with contextlib.closing(sqlite3.connect(self.paths[which], isolation_level=None, timeout=20)) as connection:
            return connection.execute(statement).fetchall()

    def owners(self, which: str) -> list[str]:
        """The accounts in a file."""
        return [owner for (owner,) in self.sql(which, "SELECT owner FROM accounts ORDER BY owner")]

    def fence(self, which: str, tables: tuple[str, ...] = FENCED) -> None:
        """As a mover does: behind the writers' lock, and for good once it is committed."""
        self._change(which, [f"{self._trigger(table, event)}" for table in tables for event in ("INSERT", "UPDATE")])

    def lift(self, which: str) -> None:
        """Takes the fence away."""
        names = [name for (name,) in self.sql(which, "SELECT name FROM sqlite_schema WHERE name LIKE 'tf_fence_%'")]
        self._change(which, [f"DROP TRIGGER {name}" for name in names])

    @staticmethod
    def _trigger(table: str, event: str) -> str:
        return (
            f"CREATE TRIGGER IF NOT EXISTS tf_fence_{table}_{event} BEFORE {event} ON {table} "
            "BEGIN SELECT RAISE(ABORT, 'TF001 epoch=2'); END"
        )

    def _change(self, which: str, statements: list[str]) -> None:
        lock = WriterLock(self.paths[which])
        lock.acquire()
        try:
            with contextlib.closing(sqlite3.connect(self.paths[which], isolation_level=None, timeout=20)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                for statement in statements:
                    connection.execute(statement)
                connection.execute("COMMIT")
        finally:
            lock.close()


async def _at_once() -> None:
    return None


@contextlib.asynccontextmanager
async def started(config: DatabaseConfig) -> AsyncIterator[Router]:
    """The bank's database, open by a map; its router."""
    fatal: list[BaseException] = []
    await database.start(config, fatal.append)
    try:
        assert database._router is not None
        yield database._router
    finally:
        database.look = _nothing
        await database.stop()
    assert not fatal


def _nothing() -> None:
    return None


async def until(condition: Callable[[], bool]) -> None:
    """Returns when it is true; the test's own time limit says when that is too long."""
    while not condition():
        await asyncio.sleep(0.001)
