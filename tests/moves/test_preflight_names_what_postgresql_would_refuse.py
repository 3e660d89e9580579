"""The preflight: each value and each definition that PostgreSQL would refuse is found, counted and named."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from moving_rows import Cell, Said, run

from tenfold.blocks.database import types
from tenfold.blocks.database.tables import define, home
from tenfold.moves.copy_to_postgres import build
from tenfold.moves.copy_to_postgres.findings import Finding
from tenfold.moves.copy_to_postgres.preflight import CHUNK, Refused, preflight
from tenfold.moves.rows.building import NotEmpty
from tenfold.moves.rows.file import File

MakeCell = Callable[[sa.MetaData], Cell]

COLUMNS: dict[str, types.Portable] = {
    "text": types.Text(5),
    "int64": types.Int64(),
    "float": types.Float(),
    "bool": types.Bool(),
    "moment": types.UtcDateTime(),
    "decimal": types.Decimal(6, 2),
    "uuid": types.Uuid(),
    "bytes": types.Bytes(4),
    "json": types.Json(),
    "choice": types.Choice("red", "blue"),
}


def one_table() -> sa.MetaData:
    """A table with a nullable column of each type."""
    metadata = sa.MetaData()
    columns = (sa.Column(name, column) for name, column in COLUMNS.items())
    define(metadata, "things", (sa.Column("id", types.Int64(), primary_key=True), *columns), home())
    return metadata


def loosened(cell: Cell) -> sqlite3.Connection:
    """The table rebuilt as an old program would have made it: not STRICT, no checks, so that anything goes in."""
    connection = sqlite3.connect(cell.sqlite_path, isolation_level=None)
    connection.execute("DROP TABLE things")
    kinds = {"int64": "INTEGER", "float": "REAL", "bool": "INTEGER", "moment": "INTEGER", "decimal": "INTEGER"}
    columns = ", ".join(f'"{name}" {kinds.get(name, "")}' for name in COLUMNS)
    connection.execute(f"CREATE TABLE things (id INTEGER PRIMARY KEY, {columns})")
    return connection


async def looked(cell: Cell) -> list[Finding]:
    """What the preflight finds."""

    async def scanned(rows: int) -> None: ...

    file = File(cell.sqlite_path, 1, "m1", acting=False)
    try:
        return (await preflight(file, cell.metadata, scanned)).findings
    finally:
        await file.close()


BAD: list[tuple[str, Any, str]] = [
    ("text", "a\x00b", "NUL characters in text"),
    ("text", "longer", "text of more than 5 characters"),
    ("text", b"\x01", "values of type blob instead of text"),
    ("text", 7, "values of type integer instead of text"),
    ("int64", "seven", "values of type text instead of integer"),
    ("int64", 2.5, "values of type real instead of integer"),
    ("float", float("inf"), "infinite numbers or NaN"),
    ("float", "x", "values of type text instead of real"),
    ("bool", 2, "numbers other than 0 and 1"),
    ("moment", 2**62, "dates outside of year 1 to 9999"),
    ("moment", "2024-01-01", "values of type text instead of integer"),
    ("decimal", 1_000_000, "decimals with too many digits"),
    ("uuid", b"short", "values that are not 16 bytes"),
    ("uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "values of type text instead of blob"),
    ("bytes", b"12345", "values of more than 4 bytes"),
    ("json", "{nope", "text that is not JSON"),
    ("json", "[NaN]", "text that is not JSON"),
    ("json", '"\\u0000"', "NUL characters in JSON"),
    ("choice", "green", "a word that is not one of the choices"),
]


@pytest.mark.parametrize(("column", "value", "problem"), BAD)
def test_a_bad_value_is_named_with_its_rows(make_cell: MakeCell, column: str, value: Any, problem: str) -> None:
    cell = make_cell(one_table())
    connection = loosened(cell)
    connection.executemany(f'INSERT INTO things (id, "{column}") VALUES (?, ?)', [(3, value), (9, None), (11, value)])
    connection.close()
    found = run(looked(cell))
    assert [(f.level, f.table, f.column, f.problem, f.count, f.keys) for f in found] == [
        ("error", "things", column, problem, 2, ("[3]", "[11]"))
    ]
    assert str(found[0]).startswith(f"things.{column}: 2 x {problem} (first: [3], [11]).")


def test_text_that_is_not_utf8_is_named_also_behind_the_first_chunk(make_cell: MakeCell) -> None:
    cell = make_cell(one_table())
    connection = loosened(cell)
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO things (id, text) VALUES (?, 'ok')", ((n,) for n in range(CHUNK + 10)))
    connection.execute("UPDATE things SET text = CAST(x'ff41' AS TEXT) WHERE id = ?", (CHUNK + 5,))
    connection.execute("COMMIT")
    connection.close()
    (found,) = run(looked(cell))
    assert (found.problem, found.keys) == ("text that is not UTF-8", (f"[{CHUNK + 5}]",))


def test_more_rows_than_are_shown_are_counted(make_cell: MakeCell) -> None:
    cell = make_cell(one_table())
    connection = loosened(cell)
    connection.executemany("INSERT INTO things (id, bool) VALUES (?, 7)", ((n,) for n in range(50)))
    connection.close()
    (found,) = run(looked(cell))
    assert (found.count, len(found.keys)) == (50, 5)


def test_the_move_stops_before_anything_is_begun(make_cell: MakeCell) -> None:
    cell = make_cell(one_table())
    connection = loosened(cell)
    connection.execute("INSERT INTO things (id, choice) VALUES (1, 'green')")
    connection.close()

    async def main() -> None:
        move = await build(cell)
        with pytest.raises(Refused, match=r"TF-PREFLIGHT: things.choice: 1 x a word .* Nothing was begun"):
            await move.stages[0].do(Said())
        assert move.stages[0].name == "preflight"

    run(main())


CHANGES: list[tuple[str, str, str]] = [
    ("CREATE TABLE unknown (x)", "warning", "the code does not know this table"),
    ("CREATE VIEW seen AS SELECT 1", "warning", "the code does not know this view"),
    (
        "CREATE TRIGGER mine AFTER INSERT ON things BEGIN SELECT 1; END",
        "error",
        "the file has a trigger of its own, mine",
    ),
    ("CREATE UNIQUE INDEX u ON things (text COLLATE NOCASE)", "error", "index u compares text with NOCASE"),
    ("ALTER TABLE things ADD COLUMN extra TEXT", "error", "the code does not know this column"),
    ("ALTER TABLE things DROP COLUMN uuid", "error", "the column is missing in the file"),
    ("DROP TABLE things", "error", "the table is missing in the file"),
]


@pytest.mark.parametrize(("sql", "level", "problem"), CHANGES)
def test_a_definition_that_would_not_move_is_named(make_cell: MakeCell, sql: str, level: str, problem: str) -> None:
    cell = make_cell(one_table())
    with cell.open_file() as connection:
        connection.execute(sql)
    (found,) = run(looked(cell))
    assert (found.level, found.problem) == (level, problem)


def test_another_primary_key_in_the_file_is_named(make_cell: MakeCell) -> None:
    cell = make_cell(one_table())
    with cell.open_file() as connection:
        columns = ", ".join(f'"{name}"' for name in COLUMNS)
        connection.execute("DROP TABLE things")
        connection.execute(f"CREATE TABLE things (id INTEGER, {columns}, PRIMARY KEY (id, text))")
    (found,) = run(looked(cell))
    assert found.problem == "the primary key is (id, text) in the file, (id) in the code"


def test_a_reference_to_a_row_that_is_not_there_is_named(make_cell: MakeCell) -> None:
    metadata = one_table()
    there = sa.Column("thing", types.Int64(), sa.ForeignKey("things.id"))
    define(metadata, "parts", (sa.Column("id", types.Int64(), primary_key=True), there), home())
    cell = make_cell(metadata)
    raw = sqlite3.connect(cell.sqlite_path)
    raw.execute("INSERT INTO parts VALUES (1, 5)")
    raw.commit()
    raw.close()
    (found,) = run(looked(cell))
    assert (found.table, found.problem) == ("parts", "rows that refer to things rows that do not exist")


def test_a_partial_index_of_sqlite_alone_is_named(make_cell: MakeCell) -> None:
    metadata = one_table()
    table = metadata.tables["things"]
    cell = make_cell(metadata)
    sa.Index("live", table.c.text, unique=True, sqlite_where=table.c.bool.is_(True))
    (found,) = run(looked(cell))
    assert (found.level, found.problem) == ("error", "index live has sqlite_where and no postgresql_where")


def test_a_clean_file_has_no_findings(make_cell: MakeCell) -> None:
    cell = make_cell(one_table())
    assert run(looked(cell)) == []


def test_a_database_that_is_not_empty_is_refused_and_left_alone(make_cell: MakeCell) -> None:
    cell = make_cell(one_table())

    async def main() -> None:
        await cell.ensure_server()
        await cell.server_rows("CREATE TABLE public.theirs (x int)", user="boss")
        move = await build(cell)
        for stage in move.stages[: move.index("schema")]:
            await stage.do(Said())
        with pytest.raises(NotEmpty, match="it has theirs"):
            await move.stages[move.index("schema")].do(Said())
        await move.stages[move.index("schema")].undo(Said())
        assert await cell.server_rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [("theirs",)]

    run(main())


def test_a_rule_that_postgresql_does_not_understand_shows_before_the_copy(make_cell: MakeCell) -> None:
    metadata = one_table()
    table = metadata.tables["things"]
    table.append_constraint(sa.CheckConstraint("text GLOB 'a*'", name="ck_glob"))
    cell = make_cell(metadata)

    async def main() -> None:
        move = await build(cell)
        for stage in move.stages[: move.index("schema")]:
            await stage.do(Said())
        with pytest.raises(Exception, match="GLOB"):
            await move.stages[move.index("schema")].do(Said())
        assert await cell.server_rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []

    run(main())
