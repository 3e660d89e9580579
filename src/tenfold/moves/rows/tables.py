"""Which tables move, as the code declares them (never as a database's DDL shows them), and how rows are carried.

The service's tables live in schema `public` of PostgreSQL, Tenfold's own in schema `tf`. What belongs to a move itself
(`tf_move`, `tf_log`) or to one file (`tf_inval`) stays where it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, MetaData, Table

from tenfold.blocks.database.schema import own_metadata
from tenfold.blocks.database.types import Int64, Text
from tenfold.core.errors import ContractError
from tenfold.moves.rows.kinds import Kind, kind_of

Row = tuple[Any, ...]
"""A row or a key in common form: what SQLite stores, in the order of the columns."""

OWN_SCHEMA = "tf"
NOT_MOVED = frozenset({"tf_move", "tf_log", "tf_inval"})

_other_own = MetaData()
_OTHERS = (
    Table(
        "tf_schema",
        _other_own,
        Column("seq", Int64(), primary_key=True, autoincrement=False),
        Column("component", Text(200), nullable=False),
        Column("revision", Text(200), nullable=False),
        Column("kind", Text(20), nullable=False),
        Column("at_us", Int64(), nullable=False),
    ),
    Table(
        "tf_clock",
        _other_own,
        Column("id", Int64(), primary_key=True, autoincrement=False),
        Column("seq", Int64(), nullable=False),
    ),
)
"""Own tables that no block reads through Core statements, and that `own_metadata` therefore need not have."""


@dataclass(frozen=True, slots=True)
class Moved:
    """One table that moves. `key` holds the places of the primary key's columns among `columns`, in key order."""

    name: str
    schema: str
    table: Table
    columns: tuple[str, ...]
    kinds: tuple[Kind, ...]
    key: tuple[int, ...]

    @property
    def key_names(self) -> tuple[str, ...]:
        """The primary key's columns."""
        return tuple(self.columns[at] for at in self.key)

    @property
    def key_kinds(self) -> tuple[Kind, ...]:
        """Their kinds."""
        return tuple(self.kinds[at] for at in self.key)

    @property
    def on_server(self) -> str:
        """Its quoted name on PostgreSQL."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    def key_of(self, row: Sequence[Any]) -> Row:
        """The key of a row."""
        return tuple(row[at] for at in self.key)


def quoted(name: str) -> str:
    """An identifier in quotes, for both databases."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str], prefix: str = "") -> str:
    """Identifiers with commas."""
    return ", ".join(prefix + quoted(name) for name in names)


def moved(table: Table, schema: str) -> Moved:
    """How a table moves; `ContractError` for one without a primary key or with a type that is not portable."""
    if not table.primary_key.columns:
        raise ContractError(
            f"Table {table.name!r} has no primary key, so its rows cannot be named while they move.",
            hint="Declare one; `tenfold check` lists such tables.",
            code="TF-TABLE-3",
        )
    columns, kinds = [column.name for column in table.columns], []
    for column in table.columns:
        kind = kind_of(column.type)
        if kind is None:
            raise ContractError(
                f"Column {table.name}.{column.name} has type {column.type!r}, which is not portable.",
                hint="Use one of tenfold's types, so that its values are the same on PostgreSQL.",
                code="TF-TABLE-1",
            )
        kinds.append(kind)
    key = tuple(columns.index(column.name) for column in table.primary_key.columns)
    return Moved(table.name, schema, table, tuple(columns), tuple(kinds), key)


def moved_tables(metadata: MetaData) -> tuple[Moved, ...]:
    """All tables that move: Tenfold's own first, then the service's, each after those that it refers to."""
    own = {table.name: table for table in (*_OTHERS, *own_metadata.sorted_tables)}
    ours = [moved(table, OWN_SCHEMA) for name, table in sorted(own.items()) if name not in NOT_MOVED]
    theirs = [moved(table, "public") for table in metadata.sorted_tables if table.name not in own]
    return (*ours, *theirs)


def to_server(table: Moved) -> Callable[[list[Row]], list[Row]]:
    """A function that turns rows from common form into what asyncpg takes."""
    return _converter([kind.to_pg for kind in table.kinds])


def from_server(table: Moved) -> Callable[[Iterable[Any]], list[Row]]:
    """A function that turns asyncpg's records (of the table's columns, in order) into common form."""
    return _converter([kind.from_pg for kind in table.kinds])


def _converter(functions: Sequence[Callable[[Any], Any] | None]) -> Callable[[Any], list[Row]]:
    """Converts column by column, which is several times faster than row by row."""
    if not any(functions):
        return lambda rows: [tuple(row) for row in rows]

    def convert(rows: Iterable[Any]) -> list[Row]:
        by_column: list[Any] = list(zip(*rows, strict=True))
        for at, function in enumerate(functions):
            if function is not None and by_column:
                by_column[at] = [None if value is None else function(value) for value in by_column[at]]
        return list(zip(*by_column, strict=True))

    return convert


def key_columns_for_server(table: Moved, keys: Sequence[Row]) -> list[list[Any]]:
    """Keys as one array a column, for `unnest`."""
    arrays: list[list[Any]] = [[] for _ in table.key]
    for key in keys:
        for at, (kind, value) in enumerate(zip(table.key_kinds, key, strict=True)):
            arrays[at].append(value if kind.to_pg is None else kind.to_pg(value))
    return arrays


def digest(rows: Sequence[Row]) -> str:
    """The hash of rows in common form: of their canonical text (whole numbers, `repr` of floats, text, bytes)."""
    return hashlib.blake2b(repr(rows).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def encode_key(key: Row) -> str:
    """A key as JSON, as the capture triggers of both databases write it: bytes in upper-case hex."""
    return json.dumps([_encoded(value) for value in key], ensure_ascii=False)


def _encoded(value: Any) -> Any:
    return value.hex().upper() if isinstance(value, bytes) else value


def decode_key(table: Moved, text: str) -> Row:
    """The key in a log entry of `table`. A value of the wrong storage class comes back as it is."""
    return tuple(_decoded(kind, value) for kind, value in zip(table.key_kinds, json.loads(text), strict=True))


def _decoded(kind: Kind, value: Any) -> Any:
    if kind.storage is bytes and isinstance(value, str):
        return bytes.fromhex(value)
    if kind.storage is float and isinstance(value, int | str):
        return float(value)
    return value
