"""Values of every portable type, edges included: SQLite to PostgreSQL, and back."""

from __future__ import annotations

import decimal
import enum
import math
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from moving_rows import Cell, Said, all_server_rows, carry_out, run, same_everywhere
from sqlalchemy.dialects import postgresql, sqlite

from tenfold.blocks.database import types
from tenfold.blocks.database.tables import define, home
from tenfold.moves.copy_to_postgres import build
from tenfold.moves.return_to_sqlite import build as build_return
from tenfold.moves.rows.kinds import FIRST_US, LAST_US, kind_of
from tenfold.moves.rows.tables import decode_key, encode_key, moved, moved_tables

SQLITE, POSTGRES = sqlite.dialect(), postgresql.dialect()


class Colour(enum.Enum):
    """A text-valued choice."""

    RED = "red"
    BLUE = "it's blue"


TEXT = st.text(st.characters(blacklist_characters="\x00", blacklist_categories=("Cs",)), max_size=40)
INT64 = st.integers(-(2**63), 2**63 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
VALUES: dict[str, tuple[types.Portable, st.SearchStrategy[Any]]] = {
    "text": (types.Text(40), TEXT),
    "int64": (types.Int64(), INT64),
    "float": (types.Float(), st.floats(allow_nan=False, allow_infinity=False)),
    "bool": (types.Bool(), st.booleans()),
    "moment": (types.UtcDateTime(), st.datetimes(timezones=st.just(UTC))),
    "decimal": (types.Decimal(18, 6), st.integers(-(10**18) + 1, 10**18 - 1).map(lambda n: decimal.Decimal(n) / 10**6)),
    "uuid": (types.Uuid(), st.uuids()),
    "bytes": (types.Bytes(50), st.binary(max_size=50)),
    "json": (types.Json(), JSON.filter(lambda value: value is not None)),
    "choice": (types.Choice(Colour), st.sampled_from(Colour)),
}


@pytest.mark.parametrize("name", VALUES)
def test_conversion_agrees_with_the_processors_of_the_types(name: str) -> None:
    column, values = VALUES[name]
    kind = kind_of(column)
    assert kind is not None

    @settings(max_examples=200, deadline=None)
    @given(values)
    def check(value: Any) -> None:
        stored = column.process_bind_param(value, SQLITE)
        bound = column.process_bind_param(value, POSTGRES)
        assert type(stored) is kind.storage
        assert kind.judge(stored) is None
        there = stored if kind.to_pg is None else kind.to_pg(stored)
        assert there == bound
        assert repr(stored if kind.from_pg is None else kind.from_pg(bound)) == repr(stored)

    check()


@pytest.mark.parametrize("name", VALUES)
def test_a_key_in_a_log_entry_is_the_key(name: str) -> None:
    column, values = VALUES[name]
    table = moved(sa.Table("t", sa.MetaData(), sa.Column("k", column, primary_key=True)), "public")

    @settings(max_examples=100, deadline=None)
    @given(values)
    def check(value: Any) -> None:
        key = (column.process_bind_param(value, SQLITE),)
        assert repr(decode_key(table, encode_key(key))) == repr(key)

    check()


EDGES: dict[str, list[Any]] = {
    "text": ["", " ", "a'\"\\\n\t\x01\x7f", "Ünïcödé 😀", "A", "a", "\ufffd\uffff", "%s $1 ?"],
    "int64": [0, -1, 2**63 - 1, -(2**63), 2**53 + 1],
    "float": [0.0, 1.5, -1.5, 1e308, 5e-324, 0.1, 1 / 3, math.pi, 9007199254740993.0, 1e16, 123456789.123456789],
    "bool": [True, False],
    "moment": [FIRST_US, LAST_US, 0, -1, 1, 1_700_000_000_123_456],
    "decimal": ["0", "999999999999.999999", "-999999999999.999999", "0.000001", "-0.5", "100"],
    "uuid": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.UUID("00000000-0000-0000-0000-0000000000ff")],
    "bytes": [b"", b"\x00", b"\xff" * 50, b"'\\", bytes(range(50))],
    "json": [None, [], {}, "x", [1, 2.5, True, None, {"ä": "\\"}], "\\u0001"],
    "choice": list(Colour),
}
_MADE: dict[str, Callable[[Any], Any]] = {
    "moment": lambda us: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us),
    "decimal": decimal.Decimal,
}


def edge_metadata() -> sa.MetaData:
    """A table for each type that has it as its key, and a nullable column of it."""
    metadata = sa.MetaData()
    for name, (column, _) in VALUES.items():
        items = (sa.Column("k", column, primary_key=True), sa.Column("v", column), sa.Column("n", types.Int64()))
        define(metadata, f"of_{name}", items, home())
    wide = (sa.Column(f"k_{name}", column, primary_key=True) for name, (column, _) in VALUES.items() if name != "json")
    define(metadata, "wide", (*wide,), home())
    return metadata


def fill(cell: Cell) -> None:
    """Every edge value as a key and as a value, through the types' own processors."""
    with cell.open_file() as connection:
        connection.execute("BEGIN IMMEDIATE")
        for name, (column, _) in VALUES.items():
            for number, edge in enumerate(EDGES[name]):
                value = _MADE.get(name, lambda same: same)(edge)
                stored = column.process_bind_param(value, SQLITE)
                if stored is not None:
                    values = (stored, stored if number % 2 else None, number)
                    connection.execute(f"INSERT INTO of_{name} VALUES (?, ?, ?)", values)
        names = [name for name in VALUES if name != "json"]
        for turn in range(12):
            row = []
            for name in names:
                edges = EDGES[name]
                value = _MADE.get(name, lambda same: same)(edges[turn % len(edges)])
                row.append(VALUES[name][0].process_bind_param(value, SQLITE))
            connection.execute(f"INSERT OR IGNORE INTO wide VALUES ({', '.join('?' * len(row))})", row)
        connection.execute("COMMIT")


def test_edge_values_are_the_same_on_both_sides_and_after_the_way_back(
    make_cell: Callable[[sa.MetaData], Cell],
) -> None:
    cell = make_cell(edge_metadata())

    async def main() -> None:
        await carry_out(await build(cell), until="copy")
        fill(cell)  # logged as well as copied, so that keys of every type go through the log of SQLite
        move = await build(cell)
        for stage in move.stages[move.index("copy") :]:
            await stage.do(said)
        await same_everywhere(cell)
        before = await all_server_rows(cell)
        for name in VALUES:
            # keys of every type go through the log of PostgreSQL
            await cell.server_rows(f"UPDATE of_{name} SET n = coalesce(n, 0) + 1")
            await cell.server_rows(f"DELETE FROM of_{name} WHERE n = 1")
        await cell.server_rows("UPDATE wide SET k_int64 = 7 WHERE k_int64 = 0")
        wanted = await all_server_rows(cell)
        assert before != wanted
        cell.term, cell.move_id = 2, "m2"
        back = await build_return(cell)
        for stage in back.stages[: back.index("fence") + 1]:
            await stage.do(said)
        await same_everywhere(cell)
        for stage in back.stages[back.index("fence") + 1 :]:
            await stage.do(said)

    said = Said()
    run(main())
    assert said.facts["differences"] == 0
    assert {table.name for table in moved_tables(cell.metadata)} >= {"tf_commit", "tf_lease", "tf_schema", "wide"}
