"""Replay of a log of keys: the rows as they are now replace what the other database has.

State-based: an entry only says which row to look at, so entries coalesce, their order does not matter, and doing it
twice changes nothing. Rows are written before their entries are deleted; cut in between, the next round repeats them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from tenfold.core.errors import TenfoldError
from tenfold.moves.rows.file import File, Run
from tenfold.moves.rows.reading import file_delete, file_rows, file_write, server_delete, server_rows
from tenfold.moves.rows.server import Server, Session
from tenfold.moves.rows.tables import Moved, Row, decode_key, listed, quoted, to_server

ROUND = 20_000
"""Log entries of one round at most, so that no snapshot stays open for long."""

GROUP = 5_000
"""Keys in one transaction."""

Keys = dict[str, list[Row]]
"""Keys by table."""

ReadRows = Callable[[Moved, Sequence[Row]], Awaitable[list[Row]]]


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did: log entries and distinct keys; `whole` when nothing was left behind it at that moment."""

    entries: int
    keys: Keys
    whole: bool

    @property
    def touched(self) -> int:
        """Distinct keys."""
        return sum(len(keys) for keys in self.keys.values())


def by_name(tables: Iterable[Moved]) -> dict[str, Moved]:
    """Tables by their names."""
    return {table.name: table for table in tables}


def _keys(tables: Mapping[str, Moved], entries: Iterable[tuple[str, str]]) -> Keys:
    found: Keys = {}
    for name, text in sorted(set(entries)):
        found.setdefault(name, []).append(decode_key(tables[name], text))
    return found


def _groups(keys: Keys) -> Iterable[Keys]:
    group: Keys = {}
    size = 0
    for name, wanted in keys.items():
        for start in range(0, len(wanted), GROUP):
            part = wanted[start : start + GROUP]
            if size and size + len(part) > GROUP:
                yield group
                group, size = {}, 0
            group[name], size = part, size + len(part)
    if group:
        yield group


# -- SQLite to PostgreSQL ---------------------------------------------------------------------------------------------


def log_length(connection: sqlite3.Connection) -> int:
    """Entries that wait in the file's log."""
    return int(connection.execute("SELECT count(*) FROM tf_log").fetchone()[0])


def _read_log(connection: sqlite3.Connection) -> tuple[int, int, list[tuple[str, str]], bool]:
    entries = connection.execute("SELECT seq, tbl, pk FROM tf_log ORDER BY seq LIMIT ?", (ROUND + 1,)).fetchall()
    whole = len(entries) <= ROUND
    entries = entries[:ROUND]
    last = entries[-1][0] if entries else 0
    return last, len(entries), [(name, text) for _, name, text in entries], whole


def clear_log(connection: sqlite3.Connection, last: int) -> None:
    """Deletes entries up to `last`."""
    connection.execute("DELETE FROM tf_log WHERE seq <= ?", (last,))


async def replay_to_server(file: File, server: Server, tables: Sequence[Moved]) -> Round:
    """One round. After a whole one PostgreSQL holds exactly the state that SQLite had at one moment of it."""
    async with file.snapshot() as run:
        done, last = await drain(run, server, tables)
    if done.entries:
        await file.change(lambda connection: clear_log(connection, last))
    return done


async def drain(run: Run, server: Server, tables: Sequence[Moved], *, checked: bool = False) -> tuple[Round, int]:
    """Writes the rows of the log's entries to PostgreSQL, inside the transaction of `run`; the last entry's number.

    `checked`: reads them back and compares before it commits.
    """
    last, count, entries, whole = await run(_read_log)
    names = by_name(tables)
    keys = _keys(names, entries)

    async def read(table: Moved, wanted: Sequence[Row]) -> list[Row]:
        return await run(file_rows(table, wanted))

    for group in _groups(keys):
        found = [(names[name], wanted, await read(names[name], wanted)) for name, wanted in group.items()]
        async with server.effect() as session:
            for table, wanted, rows in found:
                await put(session, table, wanted, rows, read)
                if checked:
                    await compare_touched(session, table, wanted, rows)
    return Round(count, keys, whole), last


async def put(session: Session, table: Moved, keys: Sequence[Row], rows: list[Row], read: ReadRows) -> None:
    """Makes PostgreSQL have `rows` and nothing else for `keys`, inside the session's transaction.

    A row that has one of their unique values under another key is out of date, so it is brought up to date with them.
    """
    touched = set(keys)
    while True:
        try:
            async with session.transaction():
                await server_delete(session, table, list(touched))
                await server_copy(session, table, rows)
        except asyncpg.UniqueViolationError:
            more = await _in_the_way(session, table, rows) - touched
            if not more:
                raise
            touched |= more
            rows = [*rows, *await read(table, sorted(more))]
        else:
            return


async def server_copy(session: Session, table: Moved, rows: list[Row]) -> None:
    """Adds rows by COPY in binary form."""
    if rows:
        await session.copy_records_to_table(
            table.name, schema_name=table.schema, columns=list(table.columns), records=to_server(table)(rows)
        )


def uniques(table: Moved) -> list[tuple[str, ...]]:
    """The columns of each unique rule beside the primary key."""
    found = [tuple(column.name for column in rule.columns) for rule in _unique_rules(table)]
    return [names for names in found if set(names) <= set(table.columns)]


def _unique_rules(table: Moved) -> Iterable[Any]:
    yield from (rule for rule in table.table.constraints if rule.__visit_name__ == "unique_constraint")
    yield from (index for index in table.table.indexes if index.unique)


async def _in_the_way(session: Session, table: Moved, rows: Sequence[Row]) -> set[Row]:
    """Keys of rows on PostgreSQL that hold a unique value of `rows`."""
    found: set[Row] = set()
    for names in uniques(table):
        places = [table.columns.index(name) for name in names]
        arrays: list[list[Any]] = [[] for _ in places]
        for row in to_server(table)(list(rows)):
            for array, at in zip(arrays, places, strict=True):
                array.append(row[at])
        marks = ", ".join(f"${at + 1}::{table.kinds[place].pg_type}[]" for at, place in enumerate(places))
        columns = ", ".join(f"u{at}" for at in range(len(places)))
        same = " AND ".join(f"r.{quoted(name)} = held.u{at}" for at, name in enumerate(names))
        sql = f"SELECT {listed(table.columns, 'r.')} FROM {table.on_server} AS r"
        records = await session.fetch(f"{sql} JOIN unnest({marks}) AS held({columns}) ON {same}", *arrays)
        from_pg = [kind.from_pg for kind in table.kinds]
        for record in records:
            values = (record[at] for at in table.key)
            convert = (from_pg[at] for at in table.key)
            found.add(tuple(v if c is None else c(v) for v, c in zip(values, convert, strict=True)))
    return found


async def compare_touched(session: Session, table: Moved, keys: Sequence[Row], rows: Sequence[Row]) -> None:
    """Raises when PostgreSQL does not have exactly `rows` for `keys`."""
    there = await server_rows(session, table, keys)
    if sorted(map(repr, there)) != sorted(map(repr, rows)):
        raise Differs(
            f"Rows of {table.name} that were just written differ on PostgreSQL.",
            hint="Nothing was switched; run the command again, and keep both databases if it happens twice.",
        )


class Differs(TenfoldError):
    """The two databases differ where they must not."""

    code = "TF-MOVE-DIFFERS"


# -- PostgreSQL to SQLite ---------------------------------------------------------------------------------------------

SERVER_LOG_READ = "SELECT seq, tbl, pk FROM tf.tf_log ORDER BY seq LIMIT $1"
Rows = list[tuple[Moved, list[Row], list[Row]]]
"""Tables, keys that were touched, and the rows that exist for them."""


async def read_server(session: Session, tables: Sequence[Moved], limit: int = ROUND) -> tuple[list[int], Rows]:
    """What the log on PostgreSQL names, as it is in the transaction of `session`; the numbers of its entries."""
    entries = await session.fetch(SERVER_LOG_READ, limit)
    names = by_name(tables)
    keys = _keys(names, ((name, text) for _, name, text in entries))
    found: Rows = []
    for name, wanted in keys.items():
        rows: list[Row] = []
        for start in range(0, len(wanted), GROUP):
            rows += await server_rows(session, names[name], wanted[start : start + GROUP])
        found.append((names[name], wanted, rows))
    return [entry[0] for entry in entries], found


def write_rows(connection: sqlite3.Connection, found: Rows) -> None:
    """Makes the file have exactly these rows for these keys, inside the caller's transaction."""
    for table, keys, _ in found:
        file_delete(connection, table, keys)
    for table, _, rows in found:
        file_write(connection, table, rows)


async def clear_server_log(session: Session, entries: Sequence[int]) -> None:
    """Deletes these entries; others may have lower numbers and have been committed since."""
    await session.execute("DELETE FROM tf.tf_log WHERE seq = ANY($1::bigint[])", list(entries))
