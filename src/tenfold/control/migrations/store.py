"""The database under migration: one connection, seen by SQLAlchemy and Alembic, with every transaction begun by hand.

`Store` is what a migration needs of a database; here is the one of SQLite, `postgres.py` has the one of PostgreSQL.
Each can give a scratch database of its own kind with nothing in it; revisions are tried there before they touch the
real one.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from tenfold.blocks.database.schema import apply_own, own_version
from tenfold.control.migrations.facts import Facts, read_facts
from tenfold.core.errors import StorageDamaged, StorageFull, TenfoldError
from tenfold.drivers.sqlite import open_writer, translated

T = TypeVar("T")

_RECORD = sa.text(
    "INSERT INTO tf_schema (component, revision, kind, at_us) VALUES (:component, :revision, :kind, :at_us)"
)


class Store(ABC):
    """An open database. `name` is how messages call it."""

    name: str

    @abstractmethod
    def reading(self) -> AbstractContextManager[sa.Connection]:
        """A connection to look with; what is written there does not stay."""

    @abstractmethod
    def transact(self, work: Callable[[sa.Connection], T], *, alone: bool = False) -> T:
        """Runs `work` in one transaction; it is applied whole or not at all.

        Where a lock could not be had in time it is run again from the start. With `alone`, writers of the service wait
        until it is over; readers do not.
        """

    @abstractmethod
    def scratch(self, now_us: int) -> AbstractContextManager[Store]:
        """A database of the same kind with none of the service's tables; nothing of it stays."""

    @abstractmethod
    def own_version(self) -> int:
        """The version of Tenfold's own tables; 0 when there are none."""

    @abstractmethod
    def apply_own(self, now_us: int) -> None:
        """Brings Tenfold's own tables up to date, each version in one transaction."""

    @abstractmethod
    def broken_reference(self, connection: sa.Connection) -> str:
        """A sentence on a row that refers to none, or nothing."""

    @abstractmethod
    def storage_error(self, error: BaseException) -> TenfoldError | None:
        """Trouble of the storage or of the server (no room, damage, gone), in our vocabulary; None for all else."""

    def record(self, connection: sa.Connection, component: str, revision: str, kind: str, now_us: int) -> None:
        """Adds a row to `tf_schema` inside the caller's transaction."""
        row = {"component": component, "revision": revision, "kind": kind, "at_us": now_us}
        connection.execute(_RECORD, row)

    def records(self, connection: sa.Connection) -> bool:
        """Whether there is a record of revisions (`tf_schema`) at all."""
        return sa.inspect(connection).has_table("tf_schema")

    def facts(self) -> Facts:
        """The service's tables as they are now."""
        with self.reading() as connection:
            return read_facts(connection)


class SqliteStore(Store):
    """`raw` is the connection in autocommit mode; the engine is over the same connection."""

    def __init__(self, name: str, raw: sqlite3.Connection) -> None:
        self.name, self.raw = name, raw
        self.engine = _engine(raw)

    def reading(self) -> AbstractContextManager[sa.Connection]:
        return self.engine.connect()

    def transact(self, work: Callable[[sa.Connection], T], *, alone: bool = False) -> T:
        with self.engine.begin() as connection:  # the caller has the writer's lock, so it is alone
            return work(connection)

    def scratch(self, now_us: int) -> AbstractContextManager[Store]:
        return scratch(now_us)

    def own_version(self) -> int:
        return own_version(self.raw)

    def apply_own(self, now_us: int) -> None:
        apply_own(self.raw, now_us=now_us)

    def broken_reference(self, connection: sa.Connection) -> str:
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchone()
        return "" if broken is None else f"a row of {broken[0]} that refers to no row of {broken[2]}"

    def storage_error(self, error: BaseException) -> TenfoldError | None:
        found = translated(error, self.name) if isinstance(error, sqlite3.Error) else None
        return found if isinstance(found, StorageFull | StorageDamaged) else None


def _engine(raw: sqlite3.Connection) -> sa.Engine:
    """BEGIN IMMEDIATE goes out with SQLAlchemy's begin: Python's own guess would leave DDL outside the transaction."""
    engine = sa.create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


@contextmanager
def open_store(path: Path) -> Iterator[SqliteStore]:
    """The service's database file, made when it is missing. SQLite's errors come out in our vocabulary."""
    raw = open_writer(path, create=True)
    raw.execute("PRAGMA foreign_keys = OFF")  # tables are rebuilt by copy; foreign_key_check runs before each COMMIT
    store = SqliteStore(path.name, raw)
    try:
        with said_plainly(str(path)):
            yield store
    finally:
        store.engine.dispose()
        raw.close()


@contextmanager
def empty_store() -> Iterator[SqliteStore]:
    """A database in memory with nothing in it."""
    store = SqliteStore("scratch", sqlite3.connect(":memory:", isolation_level=None))
    try:
        yield store
    finally:
        store.engine.dispose()
        store.raw.close()


@contextmanager
def scratch(now_us: int) -> Iterator[Store]:
    """A database in memory with Tenfold's own tables, to try things in."""
    with empty_store() as store:
        store.apply_own(now_us)
        yield store


def driver_error(error: BaseException) -> BaseException:
    """The driver's own error below SQLAlchemy's; `error` itself when there is none."""
    below = getattr(error, "orig", None) or error
    return below.__cause__ if below is not error and below.__cause__ is not None else below


def said(error: BaseException) -> str:
    """What an error says, without what PostgreSQL adds below the first line: it may hold values of rows."""
    return str(error).split("\n", 1)[0]


@contextmanager
def said_plainly(path: str) -> Iterator[None]:
    """Turns errors of the driver and of SQLAlchemy over it into ours."""
    try:
        yield
    except TenfoldError:
        raise
    except sqlite3.Error as error:
        raise translated(error, path) from error
    except sa.exc.DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise translated(error.orig, path) from error
        raise


def built(empty: Store, metadata: sa.MetaData) -> Facts:
    """The tables of the code as a database of the kind of `empty`, a scratch database, shows them."""

    def build(connection: sa.Connection) -> Facts:
        metadata.create_all(connection)
        return read_facts(connection)

    return empty.transact(build)


def facts_of_code(metadata: sa.MetaData, now_us: int) -> Facts:
    """The tables of the code as SQLite shows them."""
    with scratch(now_us) as empty:
        return built(empty, metadata)
