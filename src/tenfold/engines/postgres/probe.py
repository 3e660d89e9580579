"""How a PostgreSQL server stands: one look, in one query."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from tenfold.engines.postgres.address import ServerUrl
from tenfold.engines.postgres.failures import connect_error
from tenfold.engines.postgres.server import Connection, connect

_LOOK = """SELECT current_setting('server_version') AS version,
current_setting('server_version_num')::int AS number,
extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 AS uptime_s,
(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')::int AS connections,
current_setting('max_connections')::int AS max_connections,
pg_database_size(current_database())::bigint AS size,
pg_is_in_recovery() AS in_recovery,
current_setting('transaction_read_only') = 'on' AS read_only,
pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS collation,
d.datconnlimit::int AS database_limit, r.rolconnlimit::int AS role_limit,
r.rolsuper AS superuser, r.rolcreaterole AS may_create_roles,
has_database_privilege(d.oid, 'CREATE') AS may_create_schemas,
has_schema_privilege('public', 'CREATE') AS may_create_tables,
current_setting('superuser_reserved_connections')::int
  + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved
FROM pg_database d, pg_roles r WHERE d.datname = current_database() AND r.rolname = current_user"""

_FOREIGN = """SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_namespace'::regclass AND e.objid = n.oid
  AND e.deptype = 'e')
ORDER BY 1"""


@dataclass(frozen=True)
class Observation:
    """What a login sees of its server. `size`: bytes of its database; limits are -1 where there is none."""

    version: str
    number: int
    uptime_s: float
    connections: int
    max_connections: int
    size: int
    in_recovery: bool
    read_only: bool
    encoding: str
    collation: str
    database_limit: int
    role_limit: int
    superuser: bool
    may_create_roles: bool
    may_create_schemas: bool
    may_create_tables: bool
    reserved: int

    @property
    def major(self) -> int:
        """The major version, such as 15."""
        return self.number // 10_000

    @property
    def usable_connections(self) -> int:
        """How many connections this login can have at most."""
        free = self.max_connections - (0 if self.superuser else self.reserved)
        return min([free, *(limit for limit in (self.database_limit, self.role_limit) if limit >= 0)])


async def observe(login: ServerUrl) -> Observation:
    """One look with that login. Raises an error with a code TF-PG-... when it cannot get in."""
    async with connect(login) as connection:
        return await observe_on(connection, login)


async def observe_on(connection: Connection, login: ServerUrl) -> Observation:
    """`observe` on a connection that is there."""
    try:
        row = await connection.fetchrow(_LOOK)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise connect_error(login, error) from error
    assert row is not None, "a database knows itself and who asks"
    return Observation(**dict(row.items()))


async def relations_in(login: ServerUrl) -> list[str]:
    """The tables, views and sequences in the login's database as `schema.name`, those of extensions left out."""
    async with connect(login) as connection:
        return [str(row[0]) for row in await connection.fetch(_FOREIGN)]
