"""`tenfold migrate --new`: writes the next revision file from the difference between the revisions and the code.

Alembic finds and renders most of it. What it leaves out is added here, because the portable types need it: the CHECKs
that keep a type's rule inside the database, and STRICT when SQLite has to rebuild a table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations import ops

from tenfold.blocks.database import types
from tenfold.control.migrations.facts import canonical_sql, differences, is_own, told
from tenfold.control.migrations.revisions import MigrationFailed, MigrationNeeded, Revisions, facts_of_revisions
from tenfold.control.migrations.store import Store, facts_of_code, open_store, scratch
from tenfold.core.errors import UsageError

_TEMPLATE = '''"""{message}"""

import sqlalchemy as sa
from alembic import op

import tenfold

revision = "{revision}"
down_revision = {down}
kind = "{kind}"  # "contract" when the code before this revision cannot run after it, else "expand"


def upgrade() -> None:
    {body}
'''

_ARGUMENTS: dict[type[types.Portable], tuple[str, ...]] = {
    types.Text: ("length",),
    types.Bytes: ("length",),
    types.Decimal: ("precision", "scale"),
    types.Json: ("limit",),
}


def write_revisions(
    revisions: Revisions, metadata: sa.MetaData, database: Path, message: str, now_us: Callable[[], int]
) -> list[Path]:
    """Writes the file (two when there is a database and no revision yet: the tables as they are, then the change).

    Raises UsageError when there is nothing to write, MigrationNeeded when a person has to complete the file.
    """
    if not message.strip() or "\n" in message:
        raise UsageError("A revision needs a message of one line.", hint='For example: tenfold migrate --new "titles".')
    written = []
    with _starting_point(revisions, database, metadata, now_us) as (store, base):
        if base is not None:
            written.append(_write(revisions, "tables as they were", base))
        change = _operations(store, metadata)
        if change.is_empty() and not written:
            raise UsageError("The revisions already build the tables of the code; there is nothing to write.")
        if not change.is_empty():
            written.append(_write(revisions, message, change))
    _check(revisions, metadata, written[-1], now_us)
    return written


@contextmanager
def _starting_point(
    revisions: Revisions, database: Path, metadata: sa.MetaData, now_us: Callable[[], int]
) -> Iterator[tuple[Store, ops.UpgradeOps | None]]:
    """The schema that the next revision starts from, and the operations of a first revision that builds it."""
    with scratch(now_us()) as empty:
        if revisions:
            revisions.apply(empty, revisions.line(), now_us)
            yield empty, None
            return
        if not database.exists():
            yield empty, None
            return
        with open_store(database) as store:
            have = store.facts()
            if not have or not differences(have, facts_of_code(metadata, now_us())):
                yield empty, None
            else:
                yield store, _operations(empty, _as_is(store, metadata))


def _as_is(store: Store, metadata: sa.MetaData) -> sa.MetaData:
    """The tables of a database, with the code's types wherever they are stored in the same way."""
    found = sa.MetaData()
    with store.reading() as connection:
        found.reflect(connection, only=lambda name, _: not is_own(name))
        dialect = connection.dialect
    strict = {name for name, facts in store.facts().items() if facts.strict}
    for table in found.tables.values():
        table.dialect_options["sqlite"]["strict"] = table.name in strict
        declared = metadata.tables.get(table.name)
        for column in table.columns if declared is not None else ():
            wanted = declared.columns.get(column.name) if declared is not None else None
            if wanted is not None and wanted.type.compile(dialect) == column.type.compile(dialect):
                column.type = wanted.type
    return found


def _operations(store: Store, metadata: sa.MetaData) -> ops.UpgradeOps:
    """What leads from the schema in `store` to `metadata`."""
    with store.reading() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_name": lambda name, kind, _: not (kind == "table" and is_own(name or "")),
                "compare_server_default": True,
                "render_as_batch": True,
            },
        )
        upgrade = produce_migrations(context, metadata).upgrade_ops
        assert upgrade is not None, "autogenerate always makes the upgrade"
        for operation in upgrade.ops:
            if isinstance(operation, ops.CreateTableOp):
                operation.info = {}  # the home of a table belongs to the code, not to a revision
                operation.kw.pop("info", None)
        _add_checks(upgrade, sa.inspect(connection), metadata)
    return upgrade


def _add_checks(upgrade: ops.UpgradeOps, inspector: sa.Inspector, metadata: sa.MetaData) -> None:
    """Named CHECKs of tables that stay: dropped before their columns go, added after their columns came."""
    present = set(inspector.get_table_names())
    for table in metadata.sorted_tables:
        if table.name not in present:
            continue
        have = {str(c["name"]): canonical_sql(c["sqltext"]) for c in inspector.get_check_constraints(table.name)}
        want = {str(c.name): str(c.sqltext) for c in table.constraints if isinstance(c, sa.CheckConstraint) and c.name}
        drop = [name for name in have if name not in want or canonical_sql(want[name]) != have[name]]
        add = [name for name in want if canonical_sql(want[name]) != have.get(name)]
        _change(upgrade, table.name).ops[:0] = [ops.DropConstraintOp(name, table.name, type_="check") for name in drop]
        _change(upgrade, table.name).ops += [ops.CreateCheckConstraintOp(name, table.name, want[name]) for name in add]
    upgrade.ops = [op for op in upgrade.ops if not (isinstance(op, ops.ModifyTableOps) and not op.ops)]


def _change(upgrade: ops.UpgradeOps, table: str) -> ops.ModifyTableOps:
    """The operations on one table, which become one batch."""
    for operation in upgrade.ops:
        if isinstance(operation, ops.ModifyTableOps) and operation.table_name == table:
            return operation
    made = ops.ModifyTableOps(table, [])
    upgrade.ops.append(made)
    return made


def _render_item(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """Portable types by their public name; everything else as Alembic writes it."""
    if kind != "type" or not isinstance(item, types.Portable):
        return False
    name = type(item).__name__
    if isinstance(item, types.Bucket):
        return "sa.SmallInteger().with_variant(sa.Integer(), 'sqlite')"  # not a name that services import
    if isinstance(item, types.Choice):
        return f"tenfold.{name}({', '.join(map(repr, item.choices))})"
    return f"tenfold.{name}({', '.join(repr(getattr(item, each)) for each in _ARGUMENTS.get(type(item), ()))})"


def _write(revisions: Revisions, message: str, upgrade: ops.UpgradeOps) -> Path:
    line = revisions.line()
    number = f"{len(line) + 1:04d}"
    body = render_python_code(upgrade, render_as_batch=True, render_item=_render_item)
    body = re.sub(
        r"batch_alter_table\((.+?), schema=None\)",
        r"batch_alter_table(\1, table_kwargs={'sqlite_strict': True})",
        body,
    )
    body = re.sub(r"^ *# ### .*\n?", "", body, flags=re.MULTILINE).strip()
    slug = re.sub(r"[^a-z0-9]+", "_", message.lower()).strip("_")[:40] or "change"
    path = revisions.folder / "versions" / f"{number}_{slug}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    down = repr(line[-1].id) if line else "None"
    shown = message.replace("\\", "/").replace('"', "'")
    path.write_text(
        _TEMPLATE.format(message=shown, revision=number, down=down, kind=_kind(upgrade), body=body), "utf-8"
    )
    revisions.refresh()
    return path


def _kind(upgrade: ops.UpgradeOps) -> str:
    """Code that does not know the change yet cannot run after it when something it uses is gone or stricter."""
    changes = [part for op in upgrade.ops for part in (op.ops if isinstance(op, ops.ModifyTableOps) else [op])]
    contracts = any(
        isinstance(change, ops.DropTableOp | ops.DropColumnOp | ops.AlterColumnOp | ops.CreateUniqueConstraintOp)
        for change in changes
    )
    return "contract" if contracts else "expand"


def _check(revisions: Revisions, metadata: sa.MetaData, path: Path, now_us: Callable[[], int]) -> None:
    try:
        with scratch(now_us()) as empty:
            left = told(differences(facts_of_revisions(revisions, empty, now_us), facts_of_code(metadata, now_us())))
    except MigrationFailed as error:
        left = error.message
    if left:
        raise MigrationNeeded(
            f"{path} was written, but something is left for you: {left}.",
            hint="Complete it by hand (a new NOT NULL column needs a server_default); then `tenfold check`.",
        )
