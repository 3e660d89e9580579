"""The key proof: does every row that a statement can touch belong to one key?

Proven once per compiled statement, on SQLAlchemy's expression tree; the value is compared each time it runs. A column
is *pinned* when the top-level AND of its SELECT (or the ON of an inner join) equates it with a parameter or with a
pinned column. A statement is proven when the key column of every sharded table in it is pinned. The ON of a LEFT JOIN
pins only its right side; a subquery takes over the pins of the tables that it is correlated with, and of no others.
What cannot be decided here is refused: a wrong refusal costs the author a line, a wrong acceptance would lose rows once
the data is spread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    CompoundSelect,
    Delete,
    Insert,
    Join,
    Select,
    Table,
    TypeDecorator,
    Update,
    bindparam,
)
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList, Grouping
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import (
    CTE,
    Alias,
    FromClause,
    FromGrouping,
    ScalarSelect,
    SelectStatementGrouping,
    Subquery,
)

from tenfold.blocks.database.tables import home_of, key_column
from tenfold.blocks.database.types import Int64, Text, Uuid
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
    target: str | None = None
    """The table that a write changes."""


@dataclass(slots=True)
class _Level:
    """One SELECT's FROM list and equalities. `directed` holds (from, to): `to` is pinned when `from` is."""

    tables: list[tuple[Table, FromClause]] = field(default_factory=list)
    nullable: set[FromClause] = field(default_factory=set)
    inner: list[Any] = field(default_factory=list)
    derived: list[Any] = field(default_factory=list)
    equal: list[tuple[Any, Any]] = field(default_factory=list)
    directed: list[tuple[Any, Any]] = field(default_factory=list)


class _Around(NamedTuple):
    """What a nested query finds around it: what is pinned, the FROM of the next query out, and those of all."""

    pinned: Mapping[Any, Pin]
    near: frozenset[Any]
    every: frozenset[Any]


_NOTHING = _Around({}, frozenset(), frozenset())
_SEED: BindParameter[Any] = bindparam("tf_seed")

PinOf = Callable[[Any], Pin | None]


class _Collector:
    def __init__(self, pin_of: PinOf, seeded: bool = False) -> None:
        self.pin_of = pin_of
        self.seeded = seeded
        self.tables: set[Table] = set()
        self.pins: list[Pin] = []
        self.unpinned: list[str] = []


def footprint(statement: Any) -> Footprint:
    """The footprint of a SELECT, INSERT, UPDATE or DELETE. Inserts and key changes are judged by `statement.py`."""
    found = _Collector(_pin_of)
    target = None
    if isinstance(statement, Insert | Update | Delete):
        target = _target(statement)
        _write(statement, target, found)
    else:
        _query(statement, _NOTHING, found)
    _refuse_overlooked(statement, found)
    kinds: dict[str, set[str]] = {"sharded": set(), "replicated": set(), "home": set(), "local": set()}
    for table in found.tables:
        kinds[home_of(table).kind].add(table.name)
    return Footprint(
        sharded=frozenset(kinds["sharded"]),
        replicated=frozenset(kinds["replicated"]),
        at_home=frozenset(kinds["home"]),
        pins=tuple(found.pins),
        unpinned=tuple(found.unpinned),
        target=None if target is None else target.name,
    )


def scattered(statement: Any) -> tuple[str, ...]:
    """Key columns of a SELECT that nothing ties to the key of its first sharded table.

    Empty: each shard can answer for its own rows. Otherwise rows would have to meet that live on different shards.
    """
    found = _Collector(_only_seed, seeded=True)
    _query(statement, _NOTHING, found)
    return tuple(found.unpinned)


def _target(statement: Any) -> Table:
    if not isinstance(statement.table, Table):
        raise _undecided(f"a write to a {type(statement.table).__name__}")
    return statement.table


def _refuse_overlooked(statement: Any, found: _Collector) -> None:
    """The net below the proof: a sharded table that stands in a place the proof did not look at."""
    for element in visitors.iterate(statement):
        if isinstance(element, Table) and home_of(element).kind == "sharded" and element not in found.tables:
            raise _undecided(f"the place where {element.name!r} stands")


def _query(statement: Any, around: _Around, found: _Collector) -> None:
    if getattr(statement, "_independent_ctes", ()):
        raise _undecided("a CTE that is only attached (add_cte)")
    if isinstance(statement, CompoundSelect):
        for member in statement.selects:
            _query(member, around, found)
    elif isinstance(statement, SelectStatementGrouping):
        _query(statement.element, around, found)
    elif isinstance(statement, Select):
        _select(statement, around, found)
    else:
        raise _undecided(f"a {type(statement).__name__} inside the statement")


def _select(statement: Select[Any], around: _Around, found: _Collector) -> None:
    level = _Level()
    froms = _own_froms(statement, around)
    for clause in froms:
        _from(clause, level)
    if statement.whereclause is not None:
        level.equal.extend(_equalities(statement.whereclause))
    if found.seeded:
        found.seeded = False
        _plant(level)
    own = frozenset(part for clause in froms for part in clause._from_objects)
    pinned = _pinned(level, _inherited(around, own), found.pin_of)
    _judge(level, pinned, found)
    inside = _Around(pinned, own, own | around.every)
    for nested in _nested(statement):
        _query(nested, inside, found)
    for joined in level.inner:
        _query(joined, inside, found)
    for derived in level.derived:
        _query(derived, _NOTHING, found)


def _own_froms(statement: Select[Any], around: _Around) -> list[FromClause]:
    """The FROM list as it will be compiled here: without the tables that the query is correlated with.

    SQLAlchemy has no public way to ask for it; `get_final_froms` leaves correlation out.
    """
    factory: Any = statement._compile_state_factory
    froms = factory(statement, None)._get_display_froms(
        explicit_correlate_froms=around.every, implicit_correlate_froms=around.near
    )
    return list(froms)


def _inherited(around: _Around, own: frozenset[Any]) -> dict[Any, Pin]:
    """Pins of the queries around, without those of tables that this query reads anew."""
    return {
        column: pin
        for column, pin in around.pinned.items()
        if getattr(column, "table", None) is not None and column.table not in own
    }


def _plant(level: _Level) -> None:
    """Lets the first sharded table whose rows are always there stand for the key of a shard."""
    for table, clause in level.tables:
        if home_of(table).kind == "sharded" and clause not in level.nullable:
            level.equal.append((_SEED, clause.c[key_column(table).key]))
            return


def _write(statement: Any, target: Table, found: _Collector) -> None:
    found.tables.add(target)
    if getattr(statement, "_independent_ctes", ()):
        raise _undecided("a CTE that is only attached (add_cte)")
    around = _NOTHING
    if not isinstance(statement, Insert):
        level = _Level(tables=[(target, target)])
        if statement.whereclause is not None:
            level.equal.extend(_equalities(statement.whereclause))
        pinned = _pinned(level, {}, found.pin_of)
        _judge(level, pinned, found)
        around = _Around(pinned, frozenset({target}), frozenset({target}))
    for nested in _nested(statement):
        _query(nested, around, found)
    for column in _own_columns(statement):
        if column.table is not target:
            raise _undecided("a write that names columns of other tables")


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
    elif isinstance(clause, FromGrouping):
        _from(clause.element, level)
    elif isinstance(clause, CTE):
        if clause.recursive:
            raise _undecided("a recursive CTE")
        level.derived.append(clause.element)
    elif isinstance(clause, Subquery):
        level.derived.append(clause.element)
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
    if join.full:
        level.nullable.update(clause for _, clause in level.tables)
    _from(join.right, right)
    level.tables.extend(right.tables)
    level.nullable.update(clause for _, clause in right.tables)
    level.inner.extend((*right.inner, *_nested(join.onclause)))
    level.derived.extend(right.derived)
    # What holds inside the right side holds for its rows; it says nothing of the left.
    inside = {column for _, clause in right.tables for column in clause.c}
    level.directed.extend(right.directed)
    level.directed.extend(_into(inside, right.equal))
    if not join.full:
        outside = [pair for pair in _equalities(join.onclause) if not (pair[0] in inside and pair[1] in inside)]
        level.directed.extend(_into(inside, outside))


def _into(inside: set[Any], pairs: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """Both directions of the equalities, as far as they pin a column of `inside`."""
    for one, other in pairs:
        yield from ((a, b) for a, b in ((one, other), (other, one)) if b in inside)


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
    if not isinstance(side, BindParameter) or side.expanding:
        return None
    if isinstance(side.type, TypeDecorator) and not isinstance(side.type, Text | Int64 | Uuid):
        return None  # such a type may send another value than the one that is compared with the scope's key
    return Pin(None if side.unique else side.key, side.value)


def _only_seed(side: Any) -> Pin | None:
    return Pin("tf_seed") if side is _SEED else None


def _pinned(level: _Level, inherited: dict[Any, Pin], pin_of: PinOf) -> dict[Any, Pin]:
    pinned = inherited
    steps = [*level.equal, *((b, a) for a, b in level.equal), *level.directed]
    changed = True
    while changed:
        changed = False
        for source, target in steps:
            pin = pin_of(source) or (pinned.get(source) if isinstance(source, ColumnElement) else None)
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
        elif isinstance(element, FromClause) and not isinstance(element, FunctionElement):
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
        elif not isinstance(element, FromClause) or isinstance(element, FunctionElement):
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
