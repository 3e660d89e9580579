"""A real SQLite database with Tenfold's own tables, opened for a block that is tested on it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy import MetaData

from tenfold.blocks.database import Database, DatabaseConfig
from tenfold.blocks.database.schema import apply_own
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.drivers.sqlite.connection import open_writer


def make_database_file(path: Path) -> Path:
    """Creates the file with our own schema, as the controller's migration does."""
    connection = open_writer(path, create=True)
    try:
        apply_own(connection, now_us=0)
    finally:
        connection.close()
    return path


@contextlib.asynccontextmanager
async def opened(path: Path, clock: Clock = SYSTEM_CLOCK) -> AsyncIterator[Database]:
    """A `Database` over an existing file; a failure that only a new process can mend fails the test."""
    async with opened_on(DatabaseConfig(path, "test"), clock) as database:
        yield database


@contextlib.asynccontextmanager
async def opened_on(config: DatabaseConfig, clock: Clock = SYSTEM_CLOCK) -> AsyncIterator[Database]:
    """The same wherever `config` says."""
    database, fatal = Database(MetaData(), clock=clock), list[BaseException]()
    await database.start(config, fatal.append)
    try:
        yield database
    finally:
        await database.stop()
    assert not fatal
