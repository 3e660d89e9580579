"""A PostgreSQL database under migration: one connection of the owner, with SQLAlchemy and Alembic over asyncpg.

Who migrates holds an advisory lock, so that migrations take turns. A revision is one transaction: it first makes
writers wait (readers go on), as the writer's lock does on SQLite. No statement waits long for a lock, because everybody
who comes later would wait behind it: when one is not to be had, the transaction is rolled back and tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Event
from typing import Any, TypeVar

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import PGDDLCompiler
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from tenfold.blocks.database.schema import SEARCH_PATH, apply_own_postgres
from tenfold.blocks.database.types import Bool
from tenfold.control.migrations.facts import is_own
from tenfold.control.migrations.store import Store, driver_error, said
from tenfold.core.clock import Clock
from tenfold.core.errors import StorageDamaged, StorageFull, TenfoldError, Unavailable
from tenfold.engines.postgres.address import ServerUrl
from tenfold.engines.postgres.roles import identifier
from tenfold.engines.postgres.server import Connection, connect

T = TypeVar("T")

TURN = 0x7466_6D69_6772
"""The advisory lock of those who migrate (one number space for each database)."""

TURN_WAIT_S = 30.0
LOCK_LIMIT_S = 0.3
"""The longest that others can be made to wait behind a lock that is not to be had."""

LOCK_WAIT_S = 30.0
"""How long a transaction is tried again before it is given up."""

_AGAIN = frozenset({"55P03", "40P01", "40001"})
_GONE = ("08", "57P")
_SERVICE_TABLES = """SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace
AND c.relkind IN ('r', 'p') ORDER BY c.relname"""
_LACKING = """SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'tf') AND c.relkind IN ('r', 'p') AND c.relowner = current_user::regrole
AND NOT (has_table_privilege($1, c.oid, 'SELECT') AND has_table_privilege($1, c.oid, 'INSERT')
AND has_table_privilege($1, c.oid, 'UPDATE') AND has_table_privilege($1, c.oid, 'DELETE'))"""


_BOOLEANS = {"1": "true", "'1'": "true", "0": "false", "'0'": "false"}


class _Compiler(PGDDLCompiler):
    """Never SERIAL: Tenfold's tables count nothing by themselves, on no database. And a revision that was written on
    SQLite may call true 1."""

    def get_column_default_string(self, column: sa.Column[Any]) -> str | None:
        """The column's default in SQL; see the class."""
        found = super().get_column_default_string(column)
        return _BOOLEANS.get(found or "", found) if isinstance(column.type, Bool) else found

    def get_column_specification(self, column: sa.Column[Any], **kwargs: Any) -> str:
        """The column's DDL; see the class."""
        column.autoincrement = False
        if column.table is not None:
            column.table.primary_key.__dict__.pop("_autoincrement_column", None)
        return str(super().get_column_specification(column, **kwargs))  # type: ignore[no-untyped-call]


class PostgresStore(Store):
    """The service's database on a server. `web` is the role of its web processes, which gets its rights here."""

    def __init__(self, name: str, engine: sa.Engine, web: str, clock: Clock, pause: Callable[[float], object]) -> None:
        self.name, self.engine = name, engine
        self._web, self._clock, self._pause = web, clock, pause

    def reading(self) -> AbstractContextManager[sa.Connection]:
        return self.engine.connect()

    def transact(self, work: Callable[[sa.Connection], T], *, alone: bool = False) -> T:
        until, pause = self._clock.monotonic() + LOCK_WAIT_S, 0.05
        while True:
            try:
                return self._once(work, alone)
            except Exception as error:
                if getattr(driver_error(error), "sqlstate", None) not in _AGAIN:
                    raise
                if self._clock.monotonic() > until:
                    raise self._in_use() from error
            self._pause(pause)
            pause = min(1.0, pause * 2)

    def _once(self, work: Callable[[sa.Connection], T], alone: bool) -> T:
        with self.engine.begin() as connection:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(LOCK_LIMIT_S * 1000)}")
            if alone:
                _hold_writers(connection)
            done = work(connection)
            self.grant(connection)
            return done

    def _in_use(self) -> Unavailable:
        return Unavailable(
            f"The tables of {self.name} were in use without a pause for {LOCK_WAIT_S:.0f} s.",
            hint="Look for transactions that stay open (pg_stat_activity), then run this again.",
            code="TF-MIGRATE-4",
        )

    def grant(self, connection: sa.Connection) -> None:
        """Gives the web role its rights on tables that it cannot use yet."""
        for table in connection.exec_driver_sql(_LACKING, (self._web,)).scalars().all():
            connection.exec_driver_sql(
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {table} TO {identifier(self._web)}"
            )

    @contextmanager
    def scratch(self, now_us: int) -> Iterator[Store]:
        with self.engine.connect() as connection, connection.begin() as transaction:
            schema = identifier(f"tf_scratch_{connection.exec_driver_sql('SELECT pg_backend_pid()').scalar_one()}")
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
            # Nothing but the scratch schema: a name that is looked up must not find the service's table.
            connection.exec_driver_sql(f"SET LOCAL search_path = {schema}")
            try:
                yield _Scratch(connection)
            finally:
                transaction.rollback()

    def own_version(self) -> int:
        with self.reading() as connection:
            if not self.records(connection):
                return 0
            found = connection.exec_driver_sql(
                "SELECT max(revision::int) FROM tf_schema WHERE component = 'tenfold'"
            ).scalar()
        return int(found or 0)

    def apply_own(self, now_us: int) -> None:
        with self.engine.connect() as connection:
            adapted = connection.connection.dbapi_connection
            assert adapted is not None, "a connection that is checked out is open"
            adapted.run_async(lambda raw: apply_own_postgres(raw, now_us=now_us))
        with self.engine.begin() as connection:
            self.grant(connection)

    def size(self) -> int:
        """Bytes of the database."""
        with self.reading() as connection:
            return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())

    def broken_reference(self, connection: sa.Connection) -> str:
        return ""  # PostgreSQL checks them itself

    def storage_error(self, error: BaseException) -> TenfoldError | None:
        return trouble(error, self.name)


class _Scratch(Store):
    """An empty schema inside a transaction that is rolled back."""

    name = "scratch"

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        yield self._connection

    def transact(self, work: Callable[[sa.Connection], T], *, alone: bool = False) -> T:
        return work(self._connection)

    def scratch(self, now_us: int) -> AbstractContextManager[Store]:
        raise AssertionError("a scratch database needs none")

    def own_version(self) -> int:
        return 0

    def apply_own(self, now_us: int) -> None:
        return

    def record(self, connection: sa.Connection, component: str, revision: str, kind: str, now_us: int) -> None:
        return  # tf_schema is not in a scratch schema

    def broken_reference(self, connection: sa.Connection) -> str:
        return ""

    def storage_error(self, error: BaseException) -> TenfoldError | None:
        return trouble(error, self.name)


def _hold_writers(connection: sa.Connection) -> None:
    """Lets those who write now finish, and others wait until the end of the transaction. Readers go on."""
    tables = [name for name in connection.exec_driver_sql(_SERVICE_TABLES).scalars() if not is_own(name)]
    if tables:
        names = ", ".join(map(identifier, tables))
        connection.exec_driver_sql(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")


def trouble(error: BaseException, name: str) -> TenfoldError | None:
    """Trouble of the server rather than of the statement, in our vocabulary; None for all else."""
    if isinstance(error, Unavailable):
        return error
    state = str(getattr(error, "sqlstate", None) or "")
    if state == "53100":
        return StorageFull(f"{name} has no room left: {said(error)}.", hint="Free some space on the server's disk.")
    if state in ("XX001", "XX002"):
        return StorageDamaged(f"{name} is damaged: {said(error)}.", hint="Restore a backup.")
    if state.startswith(_GONE) or isinstance(error, OSError | asyncpg.InterfaceError):
        return Unavailable(
            f"The connection to {name} was lost: {said(error)}.",
            hint="Run the same command again; what was applied is found.",
            code="TF-MIGRATE-4",
        )
    return None


def at_server(
    login: ServerUrl,
    web: str,
    work: Callable[[PostgresStore], T],
    clock: Clock,
    *,
    turn: bool = True,
    pause: Callable[[float], object] | None = None,
) -> T:
    """Runs `work` on the service's database as its owner; with `turn`, when no other migration does.

    `web` is the role that gets rights on new tables. Must be called outside of an event loop. Raises Unavailable
    (TF-MIGRATE-4) when another migration has its turn for 30 s, the errors TF-PG-... of a login that fails, and
    StorageFull.
    """
    waiting = pause or Event().wait

    def make(engine: sa.Engine) -> PostgresStore:
        return PostgresStore(login.shown, engine, web, clock, waiting)

    return asyncio.run(_at_server(login, work, make, turn))


async def _at_server(
    login: ServerUrl, work: Callable[[PostgresStore], T], make: Callable[[sa.Engine], PostgresStore], turn: bool
) -> T:
    async with connect(login) as raw:
        await _prepare(raw, login.shown, turn)
        engine = _engine(raw)
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(lambda each: work(make(each.engine)))
        except Exception as error:
            found = None if isinstance(error, TenfoldError) else trouble(driver_error(error), login.shown)
            raise (found or _refused(error, login.shown)) from error
        finally:
            await engine.dispose()


def _refused(error: Exception, name: str) -> Exception:
    cause = driver_error(error)
    if not isinstance(cause, asyncpg.PostgresError):
        return error
    return TenfoldError(
        f"{name} refused a statement: {said(cause)}.", hint="The login must own the database.", code="TF-SQL"
    )


def _engine(raw: Connection) -> AsyncEngine:
    async def connected() -> Connection:
        return raw

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connected,
        poolclass=StaticPool,
        connect_args={"prepared_statement_cache_size": 0},  # tables change their shape here
    )
    engine.sync_engine.dialect.ddl_compiler = _Compiler
    return engine


async def _prepare(raw: Connection, name: str, turn: bool) -> None:
    """What every statement of ours relies on, whatever the server's defaults are; then our turn."""
    await raw.execute(
        f"SET search_path = {SEARCH_PATH}; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;"
        f"SET lock_timeout = {int(TURN_WAIT_S * 1000)}; SET client_min_messages = warning"
    )
    if turn:
        try:
            await raw.execute(f"SELECT pg_advisory_lock({TURN})")
        except asyncpg.LockNotAvailableError as error:
            raise Unavailable(
                f"Another process has been migrating {name} for {TURN_WAIT_S:.0f} s.",
                hint="Look with `tenfold status` at what runs, then run `tenfold migrate` again.",
                code="TF-MIGRATE-4",
            ) from error
    await raw.execute("SET lock_timeout = 5000")
