"""The database backends that pass the conformance suite; a new one adds a line to `BACKENDS`.

A kit makes an empty database with the schema of some tables, and shows what somebody outside of the process under test
sees in it. Tests ask for capabilities, never for a backend's name.
"""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from postgres import needs_postgres
from postgres_kit import PostgresKit
from sqlalchemy import MetaData
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from tenfold.blocks.database import Capabilities, Database, DatabaseConfig
from tenfold.blocks.database.schema import apply_own
from tenfold.blocks.database.sqlite.backend import SqliteBackend
from tenfold.blocks.database.statement import compile_plan
from tenfold.drivers.sqlite import open_writer


class Kit(Protocol):
    """One backend, seen from a test."""

    capabilities: Capabilities

    def create(self, folder: Path, metadata: MetaData, **settings: Any) -> DatabaseConfig:
        """Makes an empty database in `folder` with tenfold's tables and those of `metadata`."""
        ...

    def nowhere(self, config: DatabaseConfig) -> DatabaseConfig:
        """The same, of a database that does not exist."""
        ...

    def outside(self, sql: str) -> list[tuple[Any, ...]]:
        """Runs portable SQL as somebody else does, in autocommit; an exception when the database refuses it."""
        ...

    def elsewhere(self, sql: str) -> str:
        """The first value of a query, as text, asked by another process."""
        ...

    def explained(self, statement: Any, **params: Any) -> str:
        """How the database runs a statement of Tenfold's, whatever the values are."""
        ...

    def zeros(self, count: int) -> str:
        """So many zero bytes, as SQL writes them."""
        ...

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """While it is entered, another process keeps all writers waiting."""
        ...


class SqliteKit:
    """A file in the test's folder."""

    capabilities = SqliteBackend.capabilities

    def create(self, folder: Path, metadata: MetaData, **settings: Any) -> DatabaseConfig:
        self.path = folder / "service.db"
        connection = open_writer(self.path, create=True)
        apply_own(connection, now_us=1)
        dialect = SQLiteDialect_pysqlite()
        for table in metadata.sorted_tables:
            connection.execute(str(CreateTable(table).compile(dialect=dialect)))
            for index in table.indexes:
                connection.execute(str(CreateIndex(index).compile(dialect=dialect)))
        connection.close()
        return DatabaseConfig(self.path, "bank", **settings)

    def nowhere(self, config: DatabaseConfig) -> DatabaseConfig:
        return replace(config, path=self.path.with_name("gone.db"))

    def outside(self, sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(sql).fetchall()

    def elsewhere(self, sql: str) -> str:
        code = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])"
        command = [sys.executable, "-c", code, str(self.path), sql]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    def explained(self, statement: Any, **params: Any) -> str:
        plan = compile_plan(statement, tuple(params), SQLiteDialect_pysqlite())
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            rows = connection.execute(f"EXPLAIN QUERY PLAN {plan.sql}", plan.bind(params)).fetchall()
        return "\n".join(row[-1] for row in rows)

    def zeros(self, count: int) -> str:
        return f"x'{'00' * count}'"

    @contextlib.contextmanager
    def locked(self) -> Any:
        code = (
            "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX);"
            "print('held', flush=True); sys.stdin.read()"
        )
        command = [sys.executable, "-c", code, f"{self.path}.lock"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            try:
                yield
            finally:
                holder.kill()


BACKENDS: dict[str, Callable[[], Kit]] = {
    "sqlite": SqliteKit,
    "postgres": PostgresKit,
}

PARAMETERS = [pytest.param(name, marks=needs_postgres if name == "postgres" else ()) for name in BACKENDS]
"""For `parametrize`: those that cannot run here are reported as not run."""


@contextlib.asynccontextmanager
async def opened(
    kit: Kit, folder: Path, database: Database, on_fatal: Callable[[BaseException], None] | None = None, **settings: Any
) -> AsyncIterator[Database]:
    """The database, open on an empty store with the schema of its tables."""
    await database.start(kit.create(folder, database.metadata, **settings), on_fatal or _unexpected)
    try:
        yield database
    finally:
        await database.stop()


def _unexpected(error: BaseException) -> None:
    raise AssertionError(f"the database asked for a new process: {error}")
