"""Tables of the service: where their rows live, and the rules that keep this possible on every step.

A home is chosen when the table is written, on the first day, because it cannot be added to a running system later:

- `sharded_by("column")`: rows live with their key, on any shard; every statement names the key.
- `replicated()`: a small table, whole on every shard; read anywhere, written at home.
- `home()`: stays on one shard for ever.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, MetaData, Table, UniqueConstraint
from sqlalchemy.exc import NoReferencedTableError
from sqlalchemy.schema import SchemaItem

from tenfold.blocks.database.types import PORTABLE, Bucket, Int64, Text, Uuid
from tenfold.core.errors import ContractError

BUCKET_COLUMN = "tf_bucket"
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,50}$")
_INFO = "tenfold_home"


@dataclass(frozen=True, slots=True)
class Home:
    """Where a table's rows live; `column` is the key of a sharded table."""

    kind: Literal["sharded", "replicated", "home", "local"]
    column: str | None = None

    def __str__(self) -> str:
        return f"sharded_by({self.column!r})" if self.kind == "sharded" else f"{self.kind}()"


def sharded_by(column: str) -> Home:
    """Rows live with their key; `column` is NOT NULL text, a whole number or a UUID, and never changes."""
    return Home("sharded", column)


def replicated() -> Home:
    """A small table that is whole on every shard."""
    return Home("replicated")


def home() -> Home:
    """Rows stay on one shard for ever, and need no key."""
    return Home("home")


def local() -> Home:
    """Of Tenfold's own tables only: rows live on the shard of the transaction that writes them, whichever that is."""
    return Home("local")


def home_of(table: Table) -> Home:
    """The home of a table; a plain SQLAlchemy table is a `home()` table."""
    found = table.info.get(_INFO)
    return found if isinstance(found, Home) else Home("home")


def is_plain(table: Table) -> bool:
    """Whether a table was declared without a home, straight on the metadata."""
    return _INFO not in table.info


def key_column(table: Table) -> Column[Any]:
    """The key column of a sharded table."""
    column = home_of(table).column
    assert column is not None, "only sharded tables have a key column"
    return table.c[column]


def _refuse(code: str, table: str, what: str, hint: str) -> ContractError:
    return ContractError(f"Table {table!r}: {what}", hint=hint, code=code)


def define(metadata: MetaData, name: str, items: tuple[SchemaItem, ...], where: Home) -> Table:
    """Makes a table of the service; `ContractError` names the rule that is broken."""
    if not _NAME.match(name) or name.startswith("tf_"):
        raise _refuse("TF-TABLE-4", name, "the name is not allowed.", "Use a-z, 0-9 and _, at most 51, not `tf_...`.")
    if name in metadata.tables:
        raise _refuse("TF-TABLE-4", name, "it is declared twice.", "Declare each table once.")
    columns = [item for item in items if isinstance(item, Column)]
    for column in columns:
        _check_column(name, column)
    extra = _checks(name, columns)
    if where.kind == "sharded":
        _check_key(name, columns, where.column or "")
        extra.append(Column(BUCKET_COLUMN, Bucket(), nullable=False))
        extra.append(CheckConstraint(Bucket().check_sql(BUCKET_COLUMN) or "", name=f"ck_{name}_{BUCKET_COLUMN}"))
    table = Table(name, metadata, *items, *extra, info={_INFO: where}, sqlite_strict=True)
    try:
        check(table)
    except ContractError:
        metadata.remove(table)
        raise
    return table


def _check_column(table: str, column: Column[Any]) -> None:
    if column.name == BUCKET_COLUMN:
        raise _refuse("TF-TABLE-4", table, f"{BUCKET_COLUMN} is ours.", "Choose another column name.")
    if column.key != column.name:
        raise _refuse(
            "TF-TABLE-4",
            table,
            f"column {column.name!r} has another name in Python ({column.key!r}).",
            "Use one name for it.",
        )
    if column.autoincrement is True:
        raise _refuse(
            "TF-TABLE-2",
            table,
            f"column {column.name!r} is AUTOINCREMENT.",
            "Numbers counted by one database cannot be counted by several: draw ids from `tf.ids`.",
        )
    if not isinstance(column.type, PORTABLE):
        known = ", ".join(kind.__name__ for kind in PORTABLE)
        raise _refuse(
            "TF-TABLE-1",
            table,
            f"column {column.name!r} has type {column.type!r}, which is not portable.",
            f"Use one of tenfold's types: {known}.",
        )
    if column.computed is not None or column.identity is not None:
        raise _refuse("TF-TABLE-2", table, f"column {column.name!r} is computed.", "Compute it in Python.")
    column.autoincrement = False


def _checks(table: str, columns: list[Column[Any]]) -> list[SchemaItem]:
    checks: list[SchemaItem] = []
    for column in columns:
        condition = column.type.check_sql(f'"{column.name}"')  # type: ignore[attr-defined]  # a portable type
        if condition is not None:
            checks.append(CheckConstraint(condition, name=f"ck_{table}_{column.name}"))
    return checks


def _check_key(table: str, columns: list[Column[Any]], key: str) -> None:
    column = next((column for column in columns if column.name == key), None)
    if column is None:
        raise _refuse("TF-TABLE-8", table, f"the key column {key!r} does not exist.", "Name one of its columns.")
    if not isinstance(column.type, Text | Int64 | Uuid):
        raise _refuse("TF-TABLE-8", table, f"the key {key!r} is {column.type!r}.", "A key is Text, Int64 or Uuid.")
    if column.onupdate is not None:
        raise _refuse("TF-TABLE-8", table, f"the key {key!r} has an onupdate.", "A key never changes.")
    if not column.primary_key:
        column.nullable = False


def check(table: Table) -> None:
    """The rules that need the whole table; also run over plain SQLAlchemy tables when the service opens."""
    where = home_of(table)
    if not list(table.primary_key.columns):
        raise _refuse("TF-TABLE-3", table.name, "it has no primary key.", "Every row must be nameable: declare one.")
    for column in table.columns:
        if column.name != BUCKET_COLUMN:
            _check_column(table.name, column)
    if where.kind == "sharded":
        _check_uniques(table, where.column or "")
    for constraint in table.constraints:
        if isinstance(constraint, ForeignKeyConstraint):
            _check_foreign_key(table, where, constraint)


def _check_uniques(table: Table, key: str) -> None:
    rules = [[column.name for column in c.columns] for c in table.constraints if isinstance(c, UniqueConstraint)]
    rules += [[column.name for column in index.columns] for index in table.indexes if index.unique]
    for names in rules:
        if key not in names:
            raise _refuse(
                "TF-TABLE-5",
                table.name,
                f"UNIQUE({', '.join(names)}) does not contain the key {key!r}, so several shards could not keep it.",
                "Add the key to it, or keep the unique value in a table of its own that is sharded by it.",
            )


def _check_foreign_key(table: Table, where: Home, constraint: ForeignKeyConstraint) -> None:
    if constraint.deferrable or constraint.initially:
        raise _refuse(
            "TF-TABLE-7",
            table.name,
            "its foreign key is deferrable, so a breach would show at COMMIT, when other transactions share it.",
            "Write the rows in an order that keeps it true after each statement.",
        )
    try:
        target = constraint.referred_table
    except NoReferencedTableError:
        raise _refuse(
            "TF-TABLE-6", table.name, "its foreign key names a table that is not declared.", "Declare that one first."
        ) from None
    there = home_of(target)
    pairs = {(element.parent.name, element.column.name) for element in constraint.elements}
    together = there.kind == "replicated" or (where.kind == "home" and there.kind == "home")
    if where.kind == there.kind == "sharded" and (where.column, there.column) in pairs:
        together = True
    if not together:
        raise _refuse(
            "TF-TABLE-6",
            table.name,
            f"its foreign key to {target.name!r} would cross shards ({where} to {there}).",
            "Refer to a table with the same key, to a replicated table, or keep the reference without a constraint.",
        )
