"""PostgreSQL as a backend of the conformance suites: a database for each test, and a role that may not change it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import postgres
from sqlalchemy import MetaData
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.schema import CreateIndex, CreateTable

from tenfold.blocks.database import DatabaseConfig
from tenfold.blocks.database.backend import ServerConfig
from tenfold.blocks.database.postgres.backend import PostgresBackend
from tenfold.blocks.database.schema import apply_own_postgres
from tenfold.blocks.database.statement import compile_plan

WEB_ROLE = "tests_web"
WEB_PASSWORD = "web"
TEMPLATE = "tests_template"
KEPT = 3
"""Databases of earlier tests that stay: one test may have several."""

_made: list[str] = []

RIGHTS = f"""
    GRANT USAGE ON SCHEMA public, tf TO {WEB_ROLE};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, tf TO {WEB_ROLE};
    ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {WEB_ROLE};
"""


class PostgresKit:
    """A database on the server of this test process."""

    capabilities = PostgresBackend.capabilities

    def __init__(self, server: postgres.PostgresServer | None = None) -> None:
        self._server = server

    @property
    def server(self) -> postgres.PostgresServer:
        """Where it is."""
        return self._server or postgres.server()

    def create(self, folder: Path, metadata: MetaData, **settings: Any) -> DatabaseConfig:
        server = self.server
        self.database = server.fresh_name("bank")
        make_template(server)
        server.sql(f"CREATE DATABASE {self.database} TEMPLATE {TEMPLATE}")
        if self._server is None:
            _made.append(self.database)
            while len(_made) > KEPT:
                server.sql(f"DROP DATABASE IF EXISTS {_made.pop(0)} WITH (FORCE)")
        server.run(lambda connection: _tables(connection, metadata), self.database)
        return self.config(folder, **settings)

    def config(self, folder: Path, **settings: Any) -> DatabaseConfig:
        """What a process of the service is given."""
        server = ServerConfig(self.server.host, self.server.port, self.database, WEB_ROLE, WEB_PASSWORD)
        return DatabaseConfig(folder / "none.db", "bank", backend="postgres", server=server, **settings)

    def nowhere(self, config: DatabaseConfig) -> DatabaseConfig:
        assert config.server is not None
        return replace(config, server=replace(config.server, database="gone"))

    def outside(self, sql: str) -> list[tuple[Any, ...]]:
        return self.server.sql(sql, self.database)

    def elsewhere(self, sql: str) -> str:
        code = (
            "import asyncio, asyncpg, sys\n"
            "async def ask():\n"
            "    c = await asyncpg.connect(sys.argv[1])\n"
            "    print(await c.fetchval(sys.argv[2]))\n"
            "asyncio.run(ask())\n"
        )
        server = self.server
        address = f"postgresql://{WEB_ROLE}:{WEB_PASSWORD}@{server.host}:{server.port}/{self.database}"
        command = [sys.executable, "-c", code, address, sql]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    def explained(self, statement: Any, **params: Any) -> str:
        plan = compile_plan(statement, tuple(params), PGDialect_asyncpg())

        async def explain(connection: asyncpg.Connection[asyncpg.Record]) -> list[asyncpg.Record]:
            await connection.execute("SET plan_cache_mode = force_generic_plan")
            return await connection.fetch(f"EXPLAIN {plan.sql}", *plan.bind(params))

        return "\n".join(row[0] for row in self.server.run(explain, self.database))

    def zeros(self, count: int) -> str:
        return f"'\\x{'00' * count}'::bytea"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        server = self.server
        holder = server.errands.run(server.connection(self.database))
        server.errands.run(holder.execute("BEGIN; LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE"))
        try:
            yield
        finally:
            server.errands.run(holder.close())


def make_template(server: postgres.PostgresServer) -> None:
    """The database with our own tables and the web role, which the others are copies of."""
    if server.sql(f"SELECT 1 FROM pg_database WHERE datname = '{TEMPLATE}'"):
        return
    server.sql(f"CREATE ROLE {WEB_ROLE} LOGIN PASSWORD '{WEB_PASSWORD}'")
    server.sql(f"CREATE DATABASE {TEMPLATE}_new")

    async def fill(connection: asyncpg.Connection[Any]) -> None:
        await apply_own_postgres(connection, now_us=1)
        await connection.execute(RIGHTS)

    server.run(fill, f"{TEMPLATE}_new")
    server.sql(f"ALTER DATABASE {TEMPLATE}_new RENAME TO {TEMPLATE}")


async def _tables(connection: asyncpg.Connection[Any], metadata: MetaData) -> None:
    dialect = PGDialect_asyncpg()
    for table in metadata.sorted_tables:
        await connection.execute(str(CreateTable(table).compile(dialect=dialect)))
        for index in table.indexes:
            await connection.execute(str(CreateIndex(index).compile(dialect=dialect)))
