"""A small service whose database is on a real PostgreSQL server, under migration."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from migrating import Place, service
from pg_server import PgServer, pg_server

from tenfold.control.migrate import Report
from tenfold.control.migrations.facts import Facts
from tenfold.control.migrations.postgres import at_server
from tenfold.control.migrations.server import migrate_on_server, write_first_from_server
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.engines.postgres.address import ServerUrl
from tenfold.engines.postgres.roles import Names, layout_steps
from tenfold.engines.postgres.server import Connection, connect, run_steps
from tenfold.topology.map import DatabaseMap, Map, map_of
from tenfold.topology.spec import parse_spec

SPEC = '[service]\nname = "small"\napp = "app:app"\n'
_TABLES = (
    "SELECT table_schema, table_name FROM information_schema.tables"
    " WHERE table_schema IN ('public', 'tf') ORDER BY 1, 2"
)


@dataclasses.dataclass
class ServerPlace(Place):
    """The folder of the service. Methods act on its one database on the server."""

    server: PgServer

    @property
    def owner(self) -> ServerUrl:
        return self.server.owner

    @property
    def web(self) -> ServerUrl:
        return self.server.web

    @property
    def map(self) -> Map:
        """The map on step 2."""
        return self.changed_map()

    def changed_map(self, **changes: Any) -> Map:
        """The map on step 2 with changes to its `database`."""
        state = self.root / ".tenfold"
        made = map_of(parse_spec(SPEC), root=str(self.root), state=str(state), previous=None)
        base = DatabaseMap("postgres", made.database.path, 25.0, 100, server=self.server.server)
        return msgspec.structs.replace(made, database=msgspec.structs.replace(base, **changes))

    def migrate(self, version: int, **options: Any) -> Report:
        wanted = self.changed_map(**options.pop("changes", {}))
        return migrate_on_server(service(version), wanted, self.owner, **options)

    def write(self, version: int, message: str) -> list[str]:
        made = service(version)
        if (self.root / "migrations").exists():
            return super().write(version, message)
        return [path.name for path in write_first_from_server(made, self.map, message, self.owner)]

    def sql(self, statement: str, *parameters: Any) -> list[Any]:
        return self.as_(self.owner, statement, *parameters)

    def as_(self, login: ServerUrl, statement: str, *parameters: Any) -> list[Any]:
        """The rows, as tuples, that one login gets."""

        async def work() -> list[Any]:
            async with connect(login) as connection:
                return [tuple(row) for row in await connection.fetch(statement, *parameters)]

        return run(work())

    def dump(self) -> list[str]:
        """Everything in the database but the record of revisions: shapes, rights and rows."""

        async def work() -> list[str]:
            async with connect(self.owner) as connection:
                return [line async for line in _dumped(connection)]

        return [*run(work()), repr(self.facts())]

    def facts(self) -> Facts:
        return at_server(self.owner, self.web.user, lambda store: store.facts(), SYSTEM_CLOCK)

    def applied(self) -> list[tuple[str, str]]:
        return self.sql("SELECT revision, kind FROM tf.tf_schema WHERE component = 'small' ORDER BY seq")


async def _dumped(connection: Connection) -> Any:
    for schema, table in await connection.fetch(_TABLES):
        yield f"{schema}.{table}"
        if table != "tf_schema":
            for row in await connection.fetch(f'SELECT * FROM "{schema}"."{table}" ORDER BY 1'):
                yield repr(tuple(row))
    for row in await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1"):
        yield str(row[0])


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs one piece of work on a loop of its own."""
    return asyncio.run(asyncio.wait_for(work, 60.0))


@contextmanager
def quick_server(root: Path) -> Iterator[PgServer]:
    """A server that runs and does not wait for the disk: what it must not lose is lost only with the whole machine."""
    with pg_server(root) as server:
        server.sql(server.admin, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield server


def fresh(root: Path, server: PgServer) -> ServerPlace:
    """The service in `root`, with a database that has nothing in it but the schemas: the one before it is dropped."""
    names = Names("small", server.owner.user, server.web.user)
    server.sql(
        server.admin,
        "DROP DATABASE IF EXISTS small WITH (FORCE)",
        f"CREATE DATABASE small OWNER {names.owner} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'",
        f"GRANT CONNECT ON DATABASE small TO {names.web}",
        "SELECT 1",
    )
    run(run_steps(server.owner, layout_steps(names)))
    return ServerPlace(root, server)
