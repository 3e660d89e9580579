"""The tables of a database as metadata, in words that both SQLite and PostgreSQL understand.

The first revision of a database that exists is written from this, and must build the same tables on either of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from tenfold.blocks.database import types
from tenfold.control.migrations.facts import is_own
from tenfold.control.migrations.store import Store

LONGEST_TEXT, LONGEST_BYTES = 10_000_000, 50_000_000
"""For a column that the code does not know: its limit is the CHECK beside it, which is kept."""

_CAST = re.compile(r"::(?:character varying|double precision|timestamp with time zone|\w+)(?:\(\d+(?:,\s*\d+)?\))?")
_ANY = re.compile(r"= ANY \(ARRAY\[([^\]]*)\]\)")

_KINDS: dict[str, Callable[[], sa.types.TypeEngine[Any]]] = {
    'TEXT COLLATE "C"': lambda: types.Text(LONGEST_TEXT),
    "BIGINT": types.Int64,
    "SMALLINT": types.Bucket,
    "DOUBLE PRECISION": types.Float,
    "BOOLEAN": types.Bool,
    "TIMESTAMP WITH TIME ZONE": types.UtcDateTime,
    "UUID": types.Uuid,
    "BYTEA": lambda: types.Bytes(LONGEST_BYTES),
}
_NUMERIC = re.compile(r"NUMERIC\((\d+), ?(\d+)\)")


def as_is(store: Store, metadata: sa.MetaData) -> sa.MetaData:
    """The tables of a database, with the code's types wherever they are stored in the same way."""
    found = sa.MetaData()
    with store.reading() as connection:
        found.reflect(connection, only=lambda name, _: not is_own(name))
        dialect = connection.dialect
    facts = store.facts()
    for table in found.tables.values():
        table.dialect_options["sqlite"]["strict"] = dialect.name != "sqlite" or facts[table.name].strict
        declared = metadata.tables.get(table.name)
        for column in table.columns:
            wanted = None if declared is None else declared.columns.get(column.name)
            _retype(column, wanted, dialect)
        if dialect.name != "sqlite":
            _reword(table)
    return found


def _retype(column: sa.Column[Any], wanted: sa.Column[Any] | None, dialect: sa.Dialect) -> None:
    stored = column.type.compile(dialect)
    if wanted is not None and wanted.type.compile(dialect) == stored:
        column.type = wanted.type
    elif dialect.name != "sqlite":
        column.type = _portable(stored) or column.type


def _portable(stored: str) -> sa.types.TypeEngine[Any] | None:
    number = _NUMERIC.fullmatch(stored)
    if number and int(number[1]) <= types.MAX_DIGITS:
        return types.Decimal(int(number[1]), int(number[2]))
    return _KINDS[stored]() if stored in _KINDS else None


def _reword(table: sa.Table) -> None:
    """Takes PostgreSQL's own spelling out of conditions and defaults."""
    for constraint in [each for each in table.constraints if isinstance(each, sa.CheckConstraint)]:
        table.constraints.remove(constraint)
        table.append_constraint(sa.CheckConstraint(plain_sql(str(constraint.sqltext)), name=constraint.name))
    for column in table.columns:
        column.autoincrement = False
        default = column.server_default
        if isinstance(default, sa.DefaultClause):
            column.server_default = sa.DefaultClause(sa.text(plain_sql(str(default.arg))))


def plain_sql(text: str) -> str:
    """A condition or default of PostgreSQL without its casts, and with IN for `= ANY (ARRAY[...])`."""
    return _ANY.sub(r"IN (\1)", _CAST.sub("", text))
