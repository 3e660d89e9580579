"""Putting captures and fences on the two databases and taking them off; each call may be repeated.

Functions for SQLite run inside a transaction of `File.change`, those for PostgreSQL inside one of `Server.effect`: all
tables of a database are captured, fenced or opened at once, or none.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence

from tenfold.moves.rows import triggers
from tenfold.moves.rows.server import Session
from tenfold.moves.rows.tables import Moved, quoted

_SERVER_TRIGGERS = """SELECT n.nspname || '.' || c.relname FROM pg_trigger AS t
    JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE t.tgname = $1 AND t.tgenabled = 'O' AND n.nspname IN ('public', 'tf')"""


def _file_triggers(connection: sqlite3.Connection, prefix: str) -> set[str]:
    found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    return {str(name) for (name,) in found if str(name).startswith(prefix)}


def _drop_file_triggers(connection: sqlite3.Connection, prefix: str) -> None:
    for name in sorted(_file_triggers(connection, prefix)):
        connection.execute(f"DROP TRIGGER {quoted(name)}")


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Whether the file has this table."""
    sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
    return connection.execute(sql, (name,)).fetchone() is not None


# -- SQLite -----------------------------------------------------------------------------------------------------------


def capture_file(connection: sqlite3.Connection, tables: Sequence[Moved]) -> None:
    """Logs from now on what changes in the tables."""
    connection.execute(triggers.FILE_LOG)
    for table in tables:
        for create in triggers.file_captures(table).values():
            connection.execute(create)


def file_is_captured(connection: sqlite3.Connection, tables: Sequence[Moved]) -> bool:
    """Whether every table is captured."""
    wanted = {name for table in tables for name in triggers.file_captures(table)}
    return has_table(connection, "tf_log") and wanted <= _file_triggers(connection, triggers.CAPTURE)


def uncapture_file(connection: sqlite3.Connection) -> None:
    """Stops logging and drops the log."""
    _drop_file_triggers(connection, triggers.CAPTURE)
    connection.execute("DROP TABLE IF EXISTS tf_log")


def file_is_free_of_capture(connection: sqlite3.Connection) -> bool:
    """Whether nothing of a capture is left."""
    return not has_table(connection, "tf_log") and not _file_triggers(connection, triggers.CAPTURE)


def fence_file(connection: sqlite3.Connection, tables: Sequence[Moved], epoch: int) -> None:
    """Refuses every writer from the commit of this transaction on."""
    for table in tables:
        for create in triggers.file_fences(table, epoch).values():
            connection.execute(create)


def file_is_fenced(connection: sqlite3.Connection, tables: Sequence[Moved]) -> bool:
    """Whether every table is fenced."""
    wanted = {name for table in tables for name in triggers.file_fences(table, 0)}
    return wanted <= _file_triggers(connection, triggers.FENCE)


def unfence_file(connection: sqlite3.Connection) -> None:
    """Lets writers in again."""
    _drop_file_triggers(connection, triggers.FENCE)


def file_is_open(connection: sqlite3.Connection) -> bool:
    """Whether no table is fenced."""
    return not _file_triggers(connection, triggers.FENCE)


def fingerprint(connection: sqlite3.Connection) -> str:
    """Of the definitions of all tables, indexes, views and triggers that are not part of a move."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
    ours = (triggers.CAPTURE, triggers.FENCE, "tf_log", "tf_move", "sqlite_")
    kept = [row for row in rows if not str(row[1]).startswith(ours) and row[2] not in ("tf_log", "tf_move")]
    return hashlib.blake2b(repr(kept).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


# -- PostgreSQL -------------------------------------------------------------------------------------------------------


async def has_server_table(session: Session, name: str) -> bool:
    """Whether there is a table of this name, such as `tf.tf_log`."""
    return await session.fetchval("SELECT to_regclass($1)", name) is not None


async def _server_triggers(session: Session, prefix: str) -> set[str]:
    return {str(row[0]) for row in await session.fetch(_SERVER_TRIGGERS, prefix + "all")}


def _names(tables: Sequence[Moved]) -> set[str]:
    return {f"{table.schema}.{table.name}" for table in tables}


async def fence_server(session: Session, tables: Sequence[Moved], epoch: int) -> None:
    """Refuses everyone but the mover."""
    await session.execute(triggers.server_fence_function())
    for table in tables:
        await session.execute(triggers.server_fence(table, epoch))


async def server_is_fenced(session: Session, tables: Sequence[Moved]) -> bool:
    """Whether every table is fenced."""
    return _names(tables) <= await _server_triggers(session, triggers.FENCE)


async def server_is_open(session: Session, tables: Sequence[Moved]) -> bool:
    """Whether the tables are there, and writers may write to all of them."""
    for table in tables:
        if not await has_server_table(session, table.on_server):
            return False
    return not await _server_triggers(session, triggers.FENCE)


async def unfence_server(session: Session, tables: Sequence[Moved]) -> None:
    """Lets writers in."""
    for table in tables:
        await session.execute(triggers.server_unfence(table))


async def capture_server(session: Session, tables: Sequence[Moved]) -> None:
    """Logs from now on what others than the mover change."""
    await session.execute(triggers.SERVER_LOG)
    for table in tables:
        for statement in triggers.server_captures(table):
            await session.execute(statement)


async def server_is_captured(session: Session, tables: Sequence[Moved]) -> bool:
    """Whether every table is captured."""
    captured = _names(tables) <= await _server_triggers(session, triggers.CAPTURE)
    return captured and await has_server_table(session, "tf.tf_log")


async def uncapture_server(session: Session, tables: Sequence[Moved]) -> None:
    """Stops logging and drops the log."""
    for table in tables:
        for statement in triggers.server_uncapture(table):
            await session.execute(statement)
    await session.execute("DROP TABLE IF EXISTS tf.tf_log")
