"""What `tenfold check` finds: the tables, statements and transactions of a service, and every breach of the contract.

Nothing is started and no database is opened: the service is imported, and its statements, which are constants of its
modules, are compiled and proven as they would be when they first run.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
from sqlalchemy import CompoundSelect, Delete, Insert, MetaData, Select, Update
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect

from tenfold.blocks.database.block import Database
from tenfold.blocks.database.policy import Scope, refusal
from tenfold.blocks.database.statement import compile_plan, parameter_names
from tenfold.blocks.database.tables import check as check_table
from tenfold.blocks.database.tables import home_of, is_plain
from tenfold.core.errors import TenfoldError

Statement = Select[Any] | CompoundSelect[Any] | Insert | Update | Delete


class Breach(msgspec.Struct, frozen=True):
    """A rule of the contract (docs/contract.md) that the service breaks, and where."""

    code: str
    where: str
    message: str
    hint: str


class TableFound(msgspec.Struct, frozen=True):
    """`plain`: declared on `tf.metadata` without a home, so that it stays on one shard for ever."""

    name: str
    home: str
    plain: bool


class StatementFound(msgspec.Struct, frozen=True):
    """A constant of a module of the service, and the scopes in which it may run."""

    name: str
    runs_in: tuple[str, ...]


class TransactionFound(msgspec.Struct, frozen=True):
    """A function marked `@transaction`; several keys mean two-phase commit once they live on two shards."""

    name: str
    key: tuple[str, ...]
    isolation: str


class Audit(msgspec.Struct, frozen=True):
    """All that was found; the service keeps the contract when `breaches` is empty."""

    service: str
    tables: tuple[TableFound, ...] = ()
    statements: tuple[StatementFound, ...] = ()
    transactions: tuple[TransactionFound, ...] = ()
    breaches: tuple[Breach, ...] = ()


def refused(service: str, error: TenfoldError) -> Audit:
    """The audit of a service that cannot even be imported, or whose files contradict each other."""
    return Audit(service, breaches=(_breach("", error),))


def audit(service: str, database: Database, root: Path) -> Audit:
    """Looks at everything that the imported service declares; `root` is the folder whose modules are the service's."""
    breaches: list[Breach] = []
    tables = tuple(_tables(database.metadata, breaches))
    statements = tuple(_statements(root, breaches))
    own = [each for each in database.transactions if not each.name.startswith("tenfold.")]
    transactions = tuple(TransactionFound(t.name, t.key, t.isolation) for t in own)
    return Audit(service, tables, statements, transactions, tuple(breaches))


def _breach(where: str, error: TenfoldError) -> Breach:
    return Breach(error.code, where, error.message, error.hint)


def _tables(metadata: MetaData, breaches: list[Breach]) -> Iterator[TableFound]:
    for table in metadata.sorted_tables:
        try:
            check_table(table)
        except TenfoldError as error:
            breaches.append(_breach(table.name, error))
        yield TableFound(str(table.name), str(home_of(table)), is_plain(table))


def _statements(root: Path, breaches: list[Breach]) -> Iterator[StatementFound]:
    for module in _modules(root):
        for name in _assigned(module):
            value = getattr(module, name, None)
            if isinstance(value, Select | CompoundSelect | Insert | Update | Delete):
                where = f"{module.__name__}.{name}"
                try:
                    yield StatementFound(where, _scopes(value))
                except TenfoldError as error:
                    breaches.append(_breach(where, error))


def _modules(root: Path) -> list[ModuleType]:
    """The imported modules that lie below `root`, by name."""
    own = []
    for _, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if (
            file is not None
            and file.endswith(".py")
            and Path(file).is_relative_to(root)
            and ".venv" not in Path(file).parts
        ):
            own.append(module)
    return own


def _assigned(module: ModuleType) -> list[str]:
    """The names that a module gives values to itself, in order; what it only imports belongs to another module."""
    assert module.__file__ is not None, "modules are chosen by their file"
    tree = ast.parse(Path(module.__file__).read_bytes())
    targets = [node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)] for node in tree.body]
    return [target.id for group in targets for target in group if isinstance(target, ast.Name)]


def _scopes(statement: Statement) -> tuple[str, ...]:
    """Where a statement may run; the `ContractError` of the most likely scope when it may run nowhere."""
    plan = compile_plan(statement, parameter_names(statement), sqlite_dialect())
    judged = {scope: refusal(statement, plan, scope) for scope in Scope}
    allowed = tuple(scope.value for scope, error in judged.items() if error is None)
    if not allowed:
        error = judged[Scope.KEYED_WRITE if plan.writes else Scope.KEYED_READ]
        assert error is not None, "a statement that may run nowhere was refused everywhere"
        raise error
    return allowed


def several_keys(found: Audit) -> list[TransactionFound]:
    """Transactions that span keys: one local transaction only while the keys live together."""
    return [transaction for transaction in found.transactions if len(transaction.key) > 1]


def opted_down(found: Audit) -> list[TransactionFound]:
    """Transactions with less than SERIALIZABLE."""
    return [transaction for transaction in found.transactions if transaction.isolation != "serializable"]


def pinned_for_ever(found: Audit) -> list[TableFound]:
    """Tables that stay on one shard however large the service grows."""
    return [table for table in found.tables if table.home == "home()"]
