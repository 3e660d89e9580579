"""The key proof: does every row that a statement can touch belong to one key?

Proven once per compiled statement, on SQLAlchemy's expression tree; the value is compared each time it runs. A column
is *pinned* when the top-level AND of its SELECT (or the ON of an inner join) equates it with a parameter or with a
pinned column. A statement is proven when the key column of every sharded table in it is pinned. The ON of a LEFT JOIN
pins only its right side. What cannot be decided here is refused: a wrong refusal costs the author a line, a wrong
acceptance would lose rows once the data is spread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, CompoundSelect, Delete, Insert, Join, Select, Table, Update
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, Grouping
from sqlalchemy.sql.selectable import CTE, Alias, FromClause, ScalarSelect, SelectStatementGrouping, Subquery

from tenfold.blocks.database.tables import home_of, key_column
from tenfold.core.errors import ContractError


class Pin(NamedTuple):
    """What a key column is equated with: parameter `name` (default `value`); without a name the constant `value`."""

    name: str | None
    value: Any = None

    def read(self, params: Mapping[str, Any]) -> Any:
        """The key's value in one run."""
        return self.value if self.name is None else params.get(self.name, self.value)


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a statement touches. `pins` has one entry for each sharded table in it; None where the key is not pinned."""

    sharded: frozenset[str]
    replicated: frozenset[str]
    at_home: frozenset[str]
    pins: tuple[Pin, ...]
    unpinned: tuple[str, ...]


@dataclass(slots=True)
class _Level:
    """One SELECT's FROM list and equalities. `directed` holds (from, to): `to` is pinned when `from` is."""

    tables: list[tuple[Table, FromClause]] = field(default_factory=list)
    inner: list[Any] = field(default_factory=list)
    equal: list[tuple[Any, Any]] = field(default_factory=list)
    directed: list[tuple[Any, Any]] = field(default_factory=list)


class _Collector:
    def __init__(self) -> None:
        self.tables: set[Table] = set()
        self.pins: list[Pin] = []
        self.unpinned: list[str] = []


def footprint(statement: Any) -> Footprint:
    """The footprint of a SELECT, INSERT, UPDATE or DELETE. Inserts and key changes are judged by `statement.py`."""
    found = _Collector()
    if isinstance(statement, Insert):
        found.tables.add(statement.table)  # type: ignore[arg-type]
        for nested in _nested(statement):
            _query(nested, {}, found)
    elif isinstance(statement, Update | Delete):
        _dml(statement, found)
    else:
        _query(statement, {}, found)
    kinds: dict[str, set[str]] = {"sharded": set(), "replicated": set(), "home": set()}
    for table in found.tables:
        kinds[home_of(table).kind].add(table.name)
    return Footprint(
        sharded=frozenset(kinds["sharded"]),
        replicated=frozenset(kinds["replicated"]),
        at_home=frozenset(kinds["home"]),
        pins=tuple(found.pins),
        unpinned=tuple(found.unpinned),
    )


def _query(statement: Any, outer: dict[Any, Pin], found: _Collector) -> None:
    if isinstance(statement, CompoundSelect):
        for member in statement.selects:
            _query(member, outer, found)
    elif isinstance(statement, SelectStatementGrouping):
        _query(statement.element, outer, found)
    elif isinstance(statement, Select):
        _select(statement, outer, found)
    else:
        raise _undecided(f"a {type(statement).__name__} inside the statement")


def _select(statement: Select[Any], outer: dict[Any, Pin], found: _Collector) -> None:
    level = _Level()
    for clause in statement.get_final_froms():
        _from(clause, level)
    if statement.whereclause is not None:
        level.equal.extend(_equalities(statement.whereclause))
    pinned = _pinned(level, outer)
    _judge(level, pinned, found)
    for nested in _nested(statement):
        _query(nested, pinned, found)
    for derived in level.inner:
        _query(derived, pinned, found)


def _dml(statement: Any, found: _Collector) -> None:
    level = _Level(tables=[(statement.table, statement.table)])
    if statement.whereclause is not None:
        level.equal.extend(_equalities(statement.whereclause))
    pinned = _pinned(level, {})
    _judge(level, pinned, found)
    for nested in _nested(statement):
        _query(nested, pinned, found)
    for column in _own_columns(statement):
        if column.table is not statement.table:
            raise _undecided("an UPDATE or DELETE over several tables")


def _judge(level: _Level, pinned: dict[Any, Pin], found: _Collector) -> None:
    for table, clause in level.tables:
        found.tables.add(table)
        if home_of(table).kind == "sharded":
            pin = pinned.get(clause.c[key_column(table).key])
            if pin is None:
                found.unpinned.append(f"{table.name}.{key_column(table).name}")
            else:
                found.pins.append(pin)


def _from(clause: FromClause, level: _Level) -> None:
    if isinstance(clause, Table):
        level.tables.append((clause, clause))
    elif isinstance(clause, Join):
        _join(clause, level)
    elif isinstance(clause, CTE):
        if clause.recursive:
            raise _undecided("a recursive CTE")
        level.inner.append(clause.element)
    elif isinstance(clause, Subquery):
        level.inner.append(clause.element)
    elif isinstance(clause, Alias) and isinstance(clause.element, Table):
        level.tables.append((clause.element, clause))
    else:
        raise _undecided(f"{type(clause).__name__} in FROM")


def _join(join: Join, level: _Level) -> None:
    if not join.isouter and not join.full:
        _from(join.left, level)
        _from(join.right, level)
        level.equal.extend(_equalities(join.onclause))
        level.inner.extend(_nested(join.onclause))
        return
    right = _Level()
    _from(join.left, level)
    _from(join.right, right)
    level.tables.extend(right.tables)
    level.inner.extend((*right.inner, *_nested(join.onclause)))
    # What holds inside the right side holds for its rows; it says nothing of the left.
    level.directed.extend(right.directed)
    level.equal.extend(right.equal)
    if not join.full:
        inside = {column for _, clause in right.tables for column in clause.c}
        for one, other in _equalities(join.onclause):
            level.directed.extend((a, b) for a, b in ((one, other), (other, one)) if b in inside and a not in inside)


def _equalities(clause: Any) -> Iterator[tuple[Any, Any]]:
    """The `a == b` of the top-level AND."""
    if isinstance(clause, Grouping):
        yield from _equalities(clause.element)
    elif isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        for part in clause.clauses:
            yield from _equalities(part)
    elif isinstance(clause, BinaryExpression) and clause.operator is operators.eq:
        yield clause.left, clause.right


def _pin_of(side: Any) -> Pin | None:
    if isinstance(side, BindParameter) and not side.expanding:
        return Pin(None if side.unique else side.key, side.value)
    return None


def _pinned(level: _Level, outer: dict[Any, Pin]) -> dict[Any, Pin]:
    pinned = dict(outer)
    steps = [*level.equal, *((b, a) for a, b in level.equal), *level.directed]
    changed = True
    while changed:
        changed = False
        for source, target in steps:
            pin = _pin_of(source) or (pinned.get(source) if isinstance(source, ColumnElement) else None)
            if pin is not None and isinstance(target, ColumnElement) and target not in pinned:
                pinned[target] = pin
                changed = True
    return pinned


def _nested(statement: Any) -> Iterator[Any]:
    """Queries inside the columns, WHERE and values of a statement, not those in its FROM; each once, outermost only."""
    stack = list(statement.get_children())
    while stack:
        element = stack.pop()
        if isinstance(element, ScalarSelect):
            yield element.element
        elif isinstance(element, Select | CompoundSelect | SelectStatementGrouping):
            yield element
        elif isinstance(element, FromClause):
            continue
        else:
            stack.extend(element.get_children())


def _own_columns(statement: Any) -> Iterator[Any]:
    """Columns that a DML statement names outside its nested queries."""
    stack = list(statement.get_children())
    while stack:
        element = stack.pop()
        if isinstance(element, ScalarSelect | Select | CompoundSelect):
            continue
        if element.__visit_name__ == "column" and getattr(element, "table", None) is not None:
            yield element
        elif not isinstance(element, FromClause):
            stack.extend(element.get_children())


_HARMLESS = frozenset({"*", "1"})
"""What SQLAlchemy itself writes for `count()` and `exists()`."""


def raw_text(statement: Any) -> str | None:
    """The first piece of raw SQL in a statement (`text()`, `literal_column()`), or None."""
    for element in visitors.iterate(statement):
        kind = element.__visit_name__
        if kind in {"textclause", "text_as_from"} or (kind == "column" and getattr(element, "is_literal", False)):
            written = str(element)
            if written not in _HARMLESS:
                return written
    return None


def _undecided(what: str) -> ContractError:
    return ContractError(
        f"The key cannot be proven through {what}.",
        hint="Write it as SELECTs and inner joins that equate the key column with a parameter, or as a fanout.",
        code="TF-KEY-5",
    )
