"""Reading rows of one table in common form: a range in key order, or by key. The same on both databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from tenfold.moves.rows.server import Session
from tenfold.moves.rows.tables import Moved, Row, from_server, key_columns_for_server, listed, quoted

CHUNK_BYTES = 32_000_000
VARIABLES = 900
"""Bound values in one statement of SQLite; older builds allow 999."""


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def rows_at_once(table: Moved, most: int) -> Callable[[sqlite3.Connection], int]:
    """How many rows to read at once: at most `most`, fewer when they are wide (about `CHUNK_BYTES`)."""
    width = " + ".join(f"coalesce(length(CAST({quoted(name)} AS BLOB)), 0)" for name in table.columns)
    sql = f"SELECT max(w) FROM (SELECT {width} AS w FROM {quoted(table.name)} LIMIT 200)"

    def read(connection: sqlite3.Connection) -> int:
        widest = connection.execute(sql).fetchone()[0] or 1
        return int(min(most, max(20, CHUNK_BYTES / widest)))

    return read


def file_range(
    table: Moved, after: Row | None, limit: int, upto: Row | None = None
) -> Callable[[sqlite3.Connection], list[Row]]:
    """At most `limit` rows whose key is above `after` and not above `upto`, in key order."""
    key, width = listed(table.key_names), len(table.key)
    bounds = [(f"({key}) {sign} ({_marks(width)})", at) for sign, at in ((">", after), ("<=", upto)) if at is not None]
    where = " AND ".join(condition for condition, _ in bounds)
    sql = f"SELECT {listed(table.columns)} FROM {quoted(table.name)} {'WHERE ' + where if where else ''} ORDER BY {key}"
    values = [value for _, at in bounds for value in at]

    def read(connection: sqlite3.Connection) -> list[Row]:
        return connection.execute(f"{sql} LIMIT {limit:d}", values).fetchall()

    return read


def highest_key(table: Moved) -> Callable[[sqlite3.Connection], Row | None]:
    """The last key in key order; None for an empty table."""
    order = ", ".join(f"{quoted(name)} DESC" for name in table.key_names)
    sql = f"SELECT {listed(table.key_names)} FROM {quoted(table.name)} ORDER BY {order} LIMIT 1"
    return lambda connection: connection.execute(sql).fetchone()


def file_rows(table: Moved, keys: Sequence[Row]) -> Callable[[sqlite3.Connection], list[Row]]:
    """The rows that exist among those of `keys`."""
    width = len(table.key)
    size = VARIABLES // width
    select = f"SELECT {listed(table.columns)} FROM {quoted(table.name)} WHERE ({listed(table.key_names)}) IN"

    def read(connection: sqlite3.Connection) -> list[Row]:
        found: list[Row] = []
        for start in range(0, len(keys), size):
            part = keys[start : start + size]
            wanted = ", ".join([f"({_marks(width)})"] * len(part))
            values = [value for key in part for value in key]
            found += connection.execute(f"{select} (VALUES {wanted})", values).fetchall()
        return found

    return read


def file_delete(connection: sqlite3.Connection, table: Moved, keys: Sequence[Row]) -> None:
    """Deletes the rows of `keys`."""
    where = " AND ".join(f"{quoted(name)} = ?" for name in table.key_names)
    connection.executemany(f"DELETE FROM {quoted(table.name)} WHERE {where}", keys)


def file_write(connection: sqlite3.Connection, table: Moved, rows: Sequence[Row]) -> None:
    """Writes rows. One that stands in the way of a unique value is old itself: its own turn in the log comes."""
    insert = (
        f"INSERT OR REPLACE INTO {quoted(table.name)} ({listed(table.columns)}) VALUES ({_marks(len(table.columns))})"
    )
    connection.executemany(insert, rows)


async def server_range(
    session: Session, table: Moved, after: Row | None, limit: int | None, upto: Row | None = None
) -> list[Row]:
    """As `file_range`, on PostgreSQL."""
    key, values, bounds = listed(table.key_names), [], []
    for sign, at in ((">", after), ("<=", upto)):
        if at is not None:
            marks = []
            for array, kind in zip(key_columns_for_server(table, [at]), table.key_kinds, strict=True):
                values.append(array[0])
                marks.append(f"${len(values)}::{kind.pg_type}")
            bounds.append(f"({key}) {sign} ({', '.join(marks)})")
    where = "WHERE " + " AND ".join(bounds) if bounds else ""
    many = "" if limit is None else f"LIMIT {limit:d}"
    sql = f"SELECT {listed(table.columns)} FROM {table.on_server} {where} ORDER BY {key} {many}"
    return from_server(table)(await session.fetch(sql, *values))


def _joined(table: Moved) -> tuple[str, str]:
    """The keys as a relation `wanted`, and the condition that a row `r` is one of them."""
    arrays = ", ".join(f"${at + 1}::{kind.pg_type}[]" for at, kind in enumerate(table.key_kinds))
    names = ", ".join(f"k{at}" for at in range(len(table.key)))
    same = " AND ".join(f"r.{quoted(name)} = wanted.k{at}" for at, name in enumerate(table.key_names))
    return f"unnest({arrays}) AS wanted({names})", same


async def server_rows(session: Session, table: Moved, keys: Sequence[Row]) -> list[Row]:
    """The rows that exist among those of `keys`."""
    wanted, same = _joined(table)
    sql = f"SELECT {listed(table.columns, 'r.')} FROM {wanted} JOIN {table.on_server} AS r ON {same}"
    return from_server(table)(await session.fetch(sql, *key_columns_for_server(table, keys)))


async def server_delete(session: Session, table: Moved, keys: Sequence[Row]) -> None:
    """Deletes the rows of `keys`."""
    wanted, same = _joined(table)
    sql = f"DELETE FROM {table.on_server} AS r USING {wanted} WHERE {same}"
    await session.execute(sql, *key_columns_for_server(table, keys))
