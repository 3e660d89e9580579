"""Tables on PostgreSQL, made from the code's metadata: bare ones for the copy, and what is added after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, UniqueConstraint
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.base import PGDDLCompiler
from sqlalchemy.schema import AddConstraint, CreateColumn, CreateIndex

from tenfold.blocks.database.types import Bool
from tenfold.moves.rows.tables import Moved, listed

_BOOLEANS = {"1": "true", "'1'": "true", "0": "false", "'0'": "false"}


class _Compiler(PGDDLCompiler):
    """SQLite calls true 1; so may a default in the code."""

    def get_column_default_string(self, column: Column[Any]) -> str | None:
        default = super().get_column_default_string(column)
        return _BOOLEANS.get(default or "", default) if isinstance(column.type, Bool) else default


_dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's factory has no annotation
_dialect.ddl_compiler = _Compiler


def _compiled(element: Any) -> str:
    return str(element.compile(dialect=_dialect)).strip()


def bare_table(table: Moved) -> str:
    """CREATE TABLE with columns, NOT NULL and the primary key only."""
    columns = ", ".join(_compiled(CreateColumn(column)) for column in table.table.columns)
    name = table.table.primary_key.name
    named = f"CONSTRAINT {listed([str(name)])} " if name else ""
    return f"CREATE TABLE IF NOT EXISTS {table.on_server} ({columns}, {named}PRIMARY KEY ({listed(table.key_names)}))"


def search_path(table: Moved) -> str:
    """Where the statements below find the table."""
    return f"SET LOCAL search_path = {table.schema}, pg_catalog"


def later(table: Moved) -> Iterator[str]:
    """CHECKs, unique rules and indexes of the service's table; run with `search_path`. Tenfold's own have theirs."""
    if table.schema != "public":
        return
    for constraint in sorted(table.table.constraints, key=lambda each: str(each.name)):
        if isinstance(constraint, CheckConstraint | UniqueConstraint):
            # Not isolated: else the constraint would be left out of every later CREATE TABLE from this metadata.
            yield _compiled(AddConstraint(constraint, isolate_from_table=False))
    for index in sorted(table.table.indexes, key=lambda each: str(each.name)):
        yield _compiled(CreateIndex(index))


def references(table: Moved) -> Iterator[tuple[str, str]]:
    """Foreign keys: name (PostgreSQL's own where there is none) and a statement that adds it, rows unlooked at."""
    rules = [rule for rule in table.table.constraints if isinstance(rule, ForeignKeyConstraint)]
    for rule in sorted(rules, key=lambda each: [column.name for column in each.columns]):
        name = str(rule.name or "_".join([table.name, *(column.name for column in rule.columns), "fkey"]))[:63]
        columns = listed(column.name for column in rule.columns)
        there = listed(element.column.name for element in rule.elements)
        actions = "".join(
            f" ON {event} {action}"
            for event, action in (("DELETE", rule.ondelete), ("UPDATE", rule.onupdate))
            if action
        )
        yield (
            name,
            f"ALTER TABLE {table.on_server} ADD CONSTRAINT {listed([name])} FOREIGN KEY ({columns}) "
            f"REFERENCES public.{listed([rule.referred_table.name])} ({there}){actions} NOT VALID",
        )
