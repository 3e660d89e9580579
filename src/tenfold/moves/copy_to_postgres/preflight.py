"""The preflight of the copy: does everything that the file holds fit PostgreSQL? Changes nothing.

It reads the rows in chunks, each its own short read, so that the log of the file can be checkpointed meanwhile.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import MetaData

from tenfold.blocks.database.schema import CURRENT_VERSION, own_version
from tenfold.core.errors import ContractError, UsageError
from tenfold.moves.copy_to_postgres.findings import Finding, Report, Tally
from tenfold.moves.rows import triggers
from tenfold.moves.rows.file import File
from tenfold.moves.rows.reading import rows_at_once
from tenfold.moves.rows.tables import NOT_MOVED, OWN_SCHEMA, Moved, Row, listed, moved_tables, quoted
from tenfold.moves.rows.watch import has_table

CHUNK = 5_000
_WRITTEN_ANEW = {"alembic_version"}
"""Migrations write it again from `tf_schema`."""
_NOCASE = re.compile(r"COLLATE\s+[\"'\[`]?(NOCASE|RTRIM)", re.IGNORECASE)
Scanned = Callable[[int], Awaitable[None]]


class Refused(UsageError):
    """The preflight found rows or definitions that PostgreSQL would refuse; nothing was begun."""

    code = "TF-PREFLIGHT"


def refuse(report: Report) -> None:
    """Raises `Refused` with the first findings when there are errors."""
    errors = report.errors
    if errors:
        more = f" And {len(errors) - 3} more." if len(errors) > 3 else ""
        raise Refused(" ".join(map(str, errors[:3])) + more, hint="Nothing was begun; correct this and run it again.")


def judge_code(metadata: MetaData) -> tuple[tuple[Moved, ...], list[Finding]]:
    """The tables that move, and what the code itself declares that cannot move."""
    try:
        tables = moved_tables(metadata)
    except ContractError as error:
        return (), [Finding("error", "", "", error.message.rstrip("."), error.hint)]
    return tables, [finding for table in tables for finding in _judge_indexes(table)]


def _judge_indexes(table: Moved) -> Iterator[Finding]:
    for index in table.table.indexes:
        only_here = index.dialect_options["sqlite"]["where"] is not None
        if only_here and index.dialect_options["postgresql"]["where"] is None:
            level: Any = "error" if index.unique else "warning"
            problem = f"index {index.name} has sqlite_where and no postgresql_where"
            yield Finding(level, table.name, "", problem, "Give it the same condition for PostgreSQL.")


def judge_file(connection: sqlite3.Connection, tables: Sequence[Moved]) -> list[Finding]:
    """What the definitions in the file say that the code does not."""
    found: list[Finding] = []
    if own_version(connection) != CURRENT_VERSION:
        found.append(
            Finding("error", "tf_schema", "", "Tenfold's own tables are of another version", "`tenfold migrate`.")
        )
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
    known = {table.name for table in tables}
    for kind, name, table, sql in rows:
        found += _judge_object(str(kind), str(name), str(table), str(sql or ""), known)
    present = {name for kind, name, _, _ in rows if kind == "table"}
    for moved in tables:
        if moved.name in present:
            found += _judge_table(connection, moved)
        else:
            todo = "`tenfold migrate` makes it."
            found.append(Finding("error", moved.name, "", "the table is missing in the file", todo))
    return found


def _judge_object(kind: str, name: str, table: str, sql: str, known: set[str]) -> Iterator[Finding]:
    if kind == "table" and name not in known | NOT_MOVED | _WRITTEN_ANEW and not name.startswith("sqlite_"):
        yield Finding("warning", name, "", "the code does not know this table", "It stays in the SQLite file.")
    elif kind == "trigger" and not name.startswith((triggers.CAPTURE, triggers.FENCE)):
        todo = "Triggers do not move: do this in the service's code, then drop it."
        yield Finding("error", table, "", f"the file has a trigger of its own, {name}", todo)
    elif kind == "view":
        yield Finding("warning", name, "", "the code does not know this view", "It stays in the SQLite file.")
    if kind in ("table", "index") and table in known and _NOCASE.search(sql):
        yield Finding(
            "error", table, "", f"{kind} {name} compares text with {_NOCASE.search(sql)[1].upper()}",  # type: ignore[index]
            "PostgreSQL would tell such values apart; rebuild it without, and store such keys in one case.",
        )  # fmt: skip


def _judge_table(connection: sqlite3.Connection, table: Moved) -> Iterator[Finding]:
    columns = connection.execute(f"PRAGMA table_info({quoted(table.name)})").fetchall()
    have = {str(row[1]) for row in columns}
    missing, extra = sorted(set(table.columns) - have), sorted(have - set(table.columns))
    for name in missing:
        yield Finding("error", table.name, name, "the column is missing in the file", "`tenfold migrate` adds it.")
    for name in extra:
        yield Finding("error", table.name, name, "the code does not know this column", "Declare it, or drop it.")
    key = tuple(str(row[1]) for row in sorted(columns, key=lambda row: row[5]) if row[5])
    if key != table.key_names:
        problem = f"the primary key is ({', '.join(key)}) in the file, ({', '.join(table.key_names)}) in the code"
        yield Finding("error", table.name, "", problem, "Rebuild the table as the code declares it.")


def broken_references(connection: sqlite3.Connection, table: Moved) -> Iterator[Finding]:
    """Rows that refer to rows that do not exist."""
    broken = connection.execute(f"PRAGMA foreign_key_check({quoted(table.name)})").fetchmany(1_000)
    for target in sorted({str(row[2]) for row in broken}):
        rows = [f"row {row[1]}" for row in broken if row[2] == target]
        todo = "Remove them, or add what they refer to."
        yield Finding(
            "error",
            table.name,
            "",
            f"rows that refer to {target} rows that do not exist",
            todo,
            len(rows),
            tuple(rows[:5]),
        )


async def scan(file: File, table: Moved, scanned: Scanned) -> Tally:
    """Looks at every row of a table."""
    tally, after = Tally(table), None
    size = await file.look(rows_at_once(table, CHUNK))
    while True:
        rows = await file.look(_raw_range(table, after, size))
        tally.look(rows)
        await scanned(len(rows))
        if len(rows) < size:
            return tally
        after = rows[-1][-len(table.key) :]


def _raw_range(table: Moved, after: Row | None, size: int) -> Callable[[sqlite3.Connection], list[Row]]:
    """A chunk with typeof and value of every column, text as its bytes, and at the end the key as it is.

    Only text is cast: invalid UTF-8 would stop the driver. A key that is text is compared as text, by its bytes.
    """
    parts = []
    for name in table.columns:
        column = quoted(name)
        parts.append(
            f"typeof({column}), CASE typeof({column}) WHEN 'text' THEN CAST({column} AS BLOB) ELSE {column} END"
        )
    key, width = listed(table.key_names), len(table.key)
    keys = [
        f"CASE typeof({quoted(n)}) WHEN 'text' THEN CAST({quoted(n)} AS BLOB) ELSE {quoted(n)} END"
        for n in table.key_names
    ]
    texts = [kind.storage is str for kind in table.key_kinds]
    marks = ", ".join("CAST(? AS TEXT)" if text else "?" for text in texts)
    where = f"WHERE ({key}) > ({marks})" if after is not None else ""
    sql = (
        f"SELECT {', '.join(parts)}, {', '.join(keys)} FROM {quoted(table.name)} {where} ORDER BY {key} LIMIT {size:d}"
    )
    assert width == len(keys), "one value a key column"
    return lambda connection: connection.execute(sql, after or ()).fetchall()


async def preflight(file: File, metadata: MetaData, scanned: Scanned) -> Report:
    """The whole report. `scanned(rows)` is called after each chunk; it may wait, to leave room for the service."""
    tables, found = judge_code(metadata)
    report = Report(findings=found)
    if not tables:
        return report
    report.findings += await file.look(lambda connection: judge_file(connection, tables))
    if report.errors:
        return report
    for table in tables:
        counted = 0

        async def step(rows: int) -> None:
            nonlocal counted
            counted += rows
            await scanned(rows)

        tally = await scan(file, table, step)
        report.rows[table.name] = counted
        report.findings += tally.findings()
        if table.schema != OWN_SCHEMA and table.table.foreign_key_constraints:
            report.findings += await file.look(lambda c, table=table: list(broken_references(c, table)))  # type: ignore[misc]
    report.file_bytes = await file.look(file_size)
    return report


def file_size(connection: sqlite3.Connection) -> int:
    """Bytes of the database."""
    pages = int(connection.execute("PRAGMA page_count").fetchone()[0])
    return pages * int(connection.execute("PRAGMA page_size").fetchone()[0])


def count_rows(connection: sqlite3.Connection, tables: Sequence[Moved]) -> int:
    """Rows of those tables that exist."""
    total = 0
    for table in tables:
        if has_table(connection, table.name):
            total += int(connection.execute(f"SELECT count(*) FROM {quoted(table.name)}").fetchone()[0])
    return total
