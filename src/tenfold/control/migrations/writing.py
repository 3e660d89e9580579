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
from tenfold.control.migrations.reflecting import as_is
from tenfold.control.migrations.revisions import MigrationFailed, MigrationNeeded, Revisions, facts_of_revisions
from tenfold.control.migrations.store import Store, built, facts_of_code, scratch
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
    revisions: Revisions, metadata: sa.MetaData, existing: Store | None, message: str, now_us: Callable[[], int]
) -> list[Path]:
    """Writes the file. Two, when something is added and something taken away: the code of a deploy runs between them.
    One more before, when there is a database and no revision yet: the tables as they are.

    `existing` is the service's database; it is only looked at, and only when there is no revision yet. Revisions are
    compared with the code on SQLite in memory, wherever the database is.

    Raises UsageError when there is nothing to write, MigrationNeeded when a person has to complete the file.
    """
    if not message.strip() or "\n" in message:
        raise UsageError("A revision needs a message of one line.", hint='For example: tenfold migrate --new "titles".')
    written = []
    with _starting_point(revisions, existing, metadata, now_us) as (store, base):
        if base is not None:
            written.append(_write(revisions, "tables as they were", base))
        change = _operations(store, metadata)
        if change.is_empty() and not written:
            raise UsageError(
                "The revisions already build the tables of the code; there is nothing to write.",
                hint="Types that SQLite stores alike (Int64 and UtcDateTime) are changed by hand: op.alter_column.",
            )
        if not change.is_empty():
            halves = _halves(change)
            messages = [message, f"{message}, what goes"][: len(halves)]
            written += [_write(revisions, *each) for each in zip(messages, halves, strict=True)]
    _check(revisions, metadata, written[-1], now_us)
    return written


@contextmanager
def _starting_point(
    revisions: Revisions, existing: Store | None, metadata: sa.MetaData, now_us: Callable[[], int]
) -> Iterator[tuple[Store, ops.UpgradeOps | None]]:
    """The schema that the next revision starts from, and the operations of a first revision that builds it."""
    with scratch(now_us()) as empty:
        if revisions:
            revisions.apply(empty, revisions.line(), now_us)
        found = None if revisions or existing is None else _unrecorded(existing, metadata, now_us())
        if found is None:
            yield empty, None
            return
        base = _operations(empty, found)
        built(empty, found)
        yield empty, base


def _unrecorded(existing: Store, metadata: sa.MetaData, now_us: int) -> sa.MetaData | None:
    """The tables of a database that has some, and others than the code has."""
    have = existing.facts()
    with existing.scratch(now_us) as empty:
        same = not have or not differences(have, built(empty, metadata))
    return None if same else as_is(existing, metadata)


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
    """Portable types by their public name, true and false as such; everything else as Alembic writes it."""
    if kind == "server_default" and isinstance(getattr(item, "arg", None), sa.True_ | sa.False_):
        return "sa.true()" if isinstance(item.arg, sa.True_) else "sa.false()"
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


def _halves(upgrade: ops.UpgradeOps) -> list[ops.UpgradeOps]:
    """What is added, and the rest, when that contracts; else all of it. In this order they lead to the same tables."""
    added, rest = ops.UpgradeOps([]), ops.UpgradeOps([])
    for operation in upgrade.ops:
        if not isinstance(operation, ops.ModifyTableOps):
            (added if _only_adds(operation) else rest).ops.append(operation)
            continue
        name = operation.table_name
        columns = {each.column.name for each in operation.ops if isinstance(each, ops.AddColumnOp)}
        checks = {f"ck_{name}_{column}" for column in columns}
        new = [each for each in operation.ops if _only_adds(each) or _constraint(each) in checks]
        old = [each for each in operation.ops if each not in new]
        for half, changes in ((added, new), (rest, old)):
            if changes:
                half.ops.append(ops.ModifyTableOps(name, changes, schema=operation.schema))
    return [added, rest] if added.ops and _kind(rest) == "contract" else [upgrade]


def _only_adds(operation: ops.MigrateOperation) -> bool:
    adds = ops.CreateTableOp | ops.AddColumnOp
    return isinstance(operation, adds) or (isinstance(operation, ops.CreateIndexOp) and not operation.unique)


def _constraint(operation: ops.MigrateOperation) -> str | None:
    """The name of a CHECK that an operation makes."""
    return str(operation.constraint_name) if isinstance(operation, ops.CreateCheckConstraintOp) else None


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
