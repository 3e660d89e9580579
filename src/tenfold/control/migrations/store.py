"""The database under migration: one connection, seen by SQLAlchemy and Alembic, with every transaction begun by hand.

A scratch database in memory has the same shape; revisions are tried there before they touch the real one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from tenfold.blocks.database.schema import apply_own
from tenfold.control.migrations.facts import Facts, read_facts
from tenfold.core.errors import TenfoldError
from tenfold.drivers.sqlite import open_writer, translated


@dataclass(frozen=True, slots=True)
class Store:
    """An open database: the raw connection in autocommit mode, and an engine over the same connection."""

    name: str
    raw: sqlite3.Connection
    engine: sa.Engine

    def facts(self) -> Facts:
        """The service's tables as they are now."""
        with self.engine.connect() as connection:
            return read_facts(connection)


def _engine(raw: sqlite3.Connection) -> sa.Engine:
    """BEGIN IMMEDIATE goes out with SQLAlchemy's begin: Python's own guess would leave DDL outside the transaction."""
    engine = sa.create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


@contextmanager
def open_store(path: Path) -> Iterator[Store]:
    """The service's database file, made when it is missing. SQLite's errors come out in our vocabulary."""
    raw = open_writer(path, create=True)
    raw.execute("PRAGMA foreign_keys = OFF")  # tables are rebuilt by copy; foreign_key_check runs before each COMMIT
    engine = _engine(raw)
    try:
        with said_plainly(str(path)):
            yield Store(path.name, raw, engine)
    finally:
        engine.dispose()
        raw.close()


@contextmanager
def empty_store() -> Iterator[Store]:
    """A database in memory with nothing in it."""
    raw = sqlite3.connect(":memory:", isolation_level=None)
    engine = _engine(raw)
    try:
        yield Store("scratch", raw, engine)
    finally:
        engine.dispose()
        raw.close()


@contextmanager
def scratch(now_us: int) -> Iterator[Store]:
    """A database in memory with Tenfold's own tables, to try things in."""
    with empty_store() as store:
        apply_own(store.raw, now_us=now_us)
        yield store


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


def facts_of_code(metadata: sa.MetaData, now_us: int) -> Facts:
    """The tables of the code as a database shows them."""
    with scratch(now_us) as store, store.engine.begin() as connection:
        metadata.create_all(connection)
        return read_facts(connection)
