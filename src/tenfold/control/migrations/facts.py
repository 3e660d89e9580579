"""What a schema is, as plain values: read from a database, compared with another, told in sentences.

Two schemas are compared as a database shows them, never as Python objects: the tables of the code are first built in a
scratch database and read back. So a type that is spelled in two ways, or a default that the database rewrites, cannot
look like a difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

VERSION_TABLE = "alembic_version"


@dataclass(frozen=True, slots=True)
class TableFacts:
    """One table. `columns` maps a name to "TYPE [NOT NULL] [DEFAULT ..]"; the sets hold canonical text."""

    columns: Mapping[str, str]
    primary_key: tuple[str, ...]
    strict: bool
    indexes: Mapping[str, str]
    constraints: frozenset[str]


Facts = Mapping[str, TableFacts]
"""The service's tables by name; Tenfold's own (`tf_*`) and Alembic's are left out."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a database differs from what is wanted.

    `creatable`: a whole table or an ordinary index is missing, so that making it cannot fail on rows that exist.
    `harmless`: more is there than is wanted, and whoever does not know of it can read and write all the same. So code
    of before a change still starts after it, and a column can go out of use in one deploy and be dropped in the next.
    """

    kind: Literal["table", "column", "index", "constraint", "key", "strict"]
    table: str
    sentence: str
    creatable: bool = False
    harmless: bool = False

    @property
    def is_absence(self) -> bool:
        """Whether a whole table or a column is not there that is wanted."""
        return self.kind in ("table", "column") and self.sentence.endswith(" is missing")


def is_own(name: str) -> bool:
    """Whether a table belongs to Tenfold or Alembic rather than to the service."""
    return name.startswith(("tf_", "sqlite_")) or name == VERSION_TABLE


def read_facts(connection: sa.Connection) -> Facts:
    """The service's tables as the database has them."""
    inspector = sa.inspect(connection)
    strict = strictness(connection)
    return {
        name: TableFacts(
            columns={column["name"]: _column(column, connection.dialect) for column in inspector.get_columns(name)},
            primary_key=tuple(inspector.get_pk_constraint(name)["constrained_columns"]),
            strict=strict.get(name, False),
            indexes={
                str(index["name"]): _index(index)
                for index in inspector.get_indexes(name)
                if not index.get("duplicates_constraint")  # PostgreSQL lists those of its constraints too
            },
            constraints=frozenset(_constraints(inspector, name)),
        )
        for name in inspector.get_table_names()
        if not is_own(name)
    }


def strictness(connection: sa.Connection) -> Mapping[str, bool]:
    """Whether each table of the service is STRICT; nothing on databases that know no other kind."""
    if connection.dialect.name != "sqlite":
        return {}
    rows = connection.exec_driver_sql("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'")
    return {str(name): bool(strict) for name, strict in rows if not is_own(str(name))}


def _column(column: Mapping[str, Any], dialect: sa.Dialect) -> str:
    text = str(column["type"]) if dialect.name == "sqlite" else column["type"].compile(dialect=dialect)
    if not column["nullable"]:
        text += " NOT NULL"
    if column.get("default") is not None:
        text += f" DEFAULT {column['default']}"
    return text


def _index(index: Mapping[str, object]) -> str:
    columns = index["column_names"]
    assert isinstance(columns, list), "the inspector lists an index's columns"
    expressions = index.get("expressions")
    names = expressions if isinstance(expressions, list) else columns
    return f"{'UNIQUE ' if index['unique'] else ''}({', '.join(map(str, names))})"


def _constraints(inspector: sa.Inspector, table: str) -> Iterator[str]:
    for unique in inspector.get_unique_constraints(table):
        yield f"UNIQUE({', '.join(unique['column_names'])})"
    for check in inspector.get_check_constraints(table):
        yield f"CHECK {check['name'] or ''} ({canonical_sql(check['sqltext'])})"
    for key in inspector.get_foreign_keys(table):
        yield (
            f"FOREIGN KEY({', '.join(key['constrained_columns'])}) to {key['referred_table']}"
            f"({', '.join(key['referred_columns'])}) {sorted(key.get('options', {}).items())}"
        )


def canonical_sql(text: str) -> str:
    """A condition without the freedom of blanks and quotes around names."""
    return re.sub(r"\s+", " ", text.replace('"', "")).strip()


def differences(have: Facts, want: Facts) -> list[Difference]:
    """Everything that must change in `have` to be `want`, ordered by table; empty when they are the same."""
    found: list[Difference] = []
    for name in sorted(have.keys() | want.keys()):
        if name not in have:
            found.append(Difference("table", name, f"table {name} is missing", creatable=True))
        elif name not in want:
            found.append(Difference("table", name, f"table {name} is not in the code", harmless=True))
        else:
            found.extend(_table_differences(name, have[name], want[name]))
    return found


def _table_differences(name: str, have: TableFacts, want: TableFacts) -> Iterator[Difference]:
    yield from _columns(name, have.columns, want.columns)
    if have.primary_key != want.primary_key:
        yield Difference("key", name, f"{name} has the primary key {have.primary_key}, not {want.primary_key}")
    if have.strict != want.strict:
        yield Difference("strict", name, f"table {name} is {'' if have.strict else 'not '}STRICT")
    yield from _indexes(name, have.indexes, want.indexes)
    for constraint in sorted(want.constraints - have.constraints):
        yield Difference("constraint", name, f"{name} lacks {constraint}")
    idle = {f"CHECK ck_{name}_{column} " for column in have.columns.keys() - want.columns.keys()}
    for constraint in sorted(have.constraints - want.constraints):
        said = f"{name} has {constraint}, which is not in the code"
        yield Difference("constraint", name, said, harmless=constraint.startswith(tuple(idle)))


def _columns(table: str, have: Mapping[str, str], want: Mapping[str, str]) -> Iterator[Difference]:
    for column in sorted(have.keys() | want.keys()):
        if column not in have:
            yield Difference("column", table, f"column {table}.{column} is missing")
        elif column not in want:
            left_out = "NOT NULL" not in have[column] or " DEFAULT " in have[column]
            yield Difference("column", table, f"column {table}.{column} is not in the code", harmless=left_out)
        elif have[column] != want[column]:
            yield Difference("column", table, f"column {table}.{column} is {have[column]}, not {want[column]}")


def _indexes(table: str, have: Mapping[str, str], want: Mapping[str, str]) -> Iterator[Difference]:
    for index in sorted(have.keys() | want.keys()):
        if index not in have:
            unique = want[index].startswith("UNIQUE")
            yield Difference("index", table, f"index {index} on {table}{want[index]} is missing", creatable=not unique)
        elif index not in want:
            said = f"index {index} on {table} is not in the code"
            yield Difference("index", table, said, harmless=not have[index].startswith("UNIQUE"))
        elif have[index] != want[index]:
            yield Difference("index", table, f"index {index} on {table} is {have[index]}, not {want[index]}")


def told(found: list[Difference], limit: int = 6) -> str:
    """The differences as one clause: "column links.title is missing; table x is not in the code"."""
    shown = [difference.sentence for difference in found[:limit]]
    more = len(found) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")
