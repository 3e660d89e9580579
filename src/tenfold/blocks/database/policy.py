"""Which statement may run in which scope: pure decisions, judged once per plan, the key's value per run."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from sqlalchemy import Select
from sqlalchemy.sql import visitors
from sqlalchemy.sql.functions import FunctionElement

from tenfold.blocks.database.keys import same_key
from tenfold.blocks.database.proof import Footprint, scattered
from tenfold.blocks.database.statement import Plan
from tenfold.core.errors import ContractError

MERGEABLE = frozenset({"count", "sum", "min", "max"})
"""Aggregates that can be put together from several shards."""


class Scope(Enum):
    """What a statement runs in."""

    KEYED_READ = "a read scope with a key"
    HOME_READ = "a read scope without a key"
    KEYED_WRITE = "a transaction with a key"
    HOME_WRITE = "a transaction without a key"
    FANOUT = "a fanout"

    @property
    def writes(self) -> bool:
        """Whether statements may write here."""
        return self in (Scope.KEYED_WRITE, Scope.HOME_WRITE)

    @property
    def keyed(self) -> bool:
        """Whether the scope belongs to one or several keys."""
        return self in (Scope.KEYED_WRITE, Scope.KEYED_READ)


def refusal(statement: Any, plan: Plan, scope: Scope) -> ContractError | None:
    """Why a statement may never run in a scope of this kind, or None. Does not depend on parameters."""
    touched = plan.footprint
    if plan.writes and not scope.writes:
        return ContractError(
            f"A write ({_tables(touched)}) was given to {scope.value}.",
            hint="Write in a function marked @tf.database.transaction(...).",
            code="TF-READ-1",
        )
    if scope is Scope.FANOUT:
        return _fanout_refusal(statement, touched)
    return _keyed_refusal(plan, touched, scope) if scope.keyed else _home_refusal(touched, scope)


def _keyed_refusal(plan: Plan, touched: Footprint, scope: Scope) -> ContractError | None:
    if touched.unpinned:
        return _unpinned(touched, scope)
    if touched.at_home or touched.target in touched.replicated:
        return ContractError(
            f"{_tables(touched)}: this belongs to the home shard, but it was given to {scope.value}.",
            hint="Use a scope without a key for it; one transaction cannot span the home shard and a key's shard.",
            code="TF-KEY-4",
        )
    return None


def _home_refusal(touched: Footprint, scope: Scope) -> ContractError | None:
    if not touched.sharded:
        return None
    return ContractError(
        f"A statement on sharded tables ({_tables(touched)}) was given to {scope.value}.",
        hint="Give the scope the key: transaction(key=...), read(key=...); or read all of them with fanout().",
        code="TF-KEY-1",
    )


def _unpinned(touched: Footprint, scope: Scope) -> ContractError:
    columns = ", ".join(sorted(touched.unpinned))
    return ContractError(
        f"A statement without its key was given to {scope.value}: nothing pins {columns}.",
        hint="Add `column == bindparam(...)` for the key to its WHERE, or read with fanout().",
        code="TF-KEY-1",
    )


def _fanout_refusal(statement: Any, touched: Footprint) -> ContractError | None:
    found = _not_mergeable(statement, touched)
    if found is None:
        return None
    return ContractError(f"A fanout cannot run {found[0]}.", hint=found[1], code="TF-FANOUT-1")


def _not_mergeable(statement: Any, touched: Footprint) -> tuple[str, str] | None:
    """What keeps the results of several shards from being put together, and what to do instead."""
    if touched.at_home:
        return "a statement on home tables", "Read them in read() without a key."
    if not isinstance(statement, Select):
        return "a compound SELECT", "Run its parts one after another."
    # SQLAlchemy has no public way to ask a SELECT for these clauses.
    if statement._group_by_clauses or statement._distinct:
        return "GROUP BY or DISTINCT over shards", "Fetch the rows and group them in Python."
    if statement._offset_clause is not None:
        return "OFFSET over shards", "Page by the last key seen."
    apart = scattered(statement)
    if apart:
        return f"a join of rows of different keys ({', '.join(apart)})", "Join on the key columns, or join in Python."
    return _columns_not_mergeable(statement)


def _columns_not_mergeable(statement: Select[Any]) -> tuple[str, str] | None:
    columns = list(statement.inner_columns)
    functions = [e for column in columns for e in visitors.iterate(column) if isinstance(e, FunctionElement)]
    names = sorted({str(getattr(function, "name", function)) for function in functions})
    if any(name not in MERGEABLE for name in names):
        return f"{', '.join(names)}() over shards", "Fetch the rows and compute it in Python."
    if functions and len(functions) < len(columns):
        return "columns beside aggregates", "Use two statements."
    for term in statement._order_by_clauses:
        column = getattr(term, "element", term)
        if not any(column.compare(selected) for selected in columns):
            return f"ORDER BY {term}, which it does not select", "Select it too, so that shards can be merged."
    return None


def check_keys(plan: Plan, params: Mapping[str, Any], keys: tuple[Any, ...]) -> None:
    """The run-time half of the proof: the statement's key values are the scope's."""
    first: Any = None
    for at, pin in enumerate(plan.pins):
        value = pin.read(params)
        if not any(value == key or same_key(value, key) for key in keys):
            raise ContractError(
                f"The statement is for key {value!r}, the scope for {', '.join(map(repr, keys))}.",
                hint="Open the scope with the key that its statements use.",
                code="TF-KEY-2",
            )
        if at == 0:
            first = value
        elif not same_key(value, first):
            raise ContractError(
                f"One statement joins rows of two keys, {first!r} and {value!r}.",
                hint="Rows of different keys may live on different shards: use one statement for each.",
                code="TF-KEY-2",
            )


def _tables(touched: Footprint) -> str:
    return ", ".join(sorted(touched.sharded | touched.at_home | touched.replicated))
