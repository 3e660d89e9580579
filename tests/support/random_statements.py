"""Random statements over small tables, for checking the key proof against what SQLite really returns."""

from __future__ import annotations

import random
from typing import Any

from sqlalchemy import (
    Column,
    MetaData,
    Select,
    and_,
    bindparam,
    delete,
    except_,
    exists,
    func,
    not_,
    null,
    or_,
    select,
    true,
    union,
    union_all,
    update,
)
from sqlalchemy.sql.selectable import FromClause

from tenfold.blocks.database import replicated, sharded_by
from tenfold.blocks.database.tables import define
from tenfold.blocks.database.types import Int64, Text

metadata = MetaData()


def _columns() -> tuple[Column[Any], ...]:
    return (
        Column("k", Text(5), primary_key=True),
        Column("id", Int64(), primary_key=True),
        Column("v", Int64()),
        Column("ref", Text(5)),
    )


TABLES = [
    define(metadata, "a", _columns(), sharded_by("k")),
    define(metadata, "b", _columns(), sharded_by("k")),
    define(metadata, "r", _columns(), replicated()),
]
KEYS = ("x", "y", "z")
ROWS: dict[str, list[tuple[Any, ...]]] = {
    "a": [("x", 1, 0, "x"), ("x", 2, 1, "y"), ("y", 1, 0, "x"), ("y", 3, 1, None), ("z", 1, 1, "z")],
    "b": [("x", 1, 1, "y"), ("y", 1, 0, "y"), ("y", 2, 1, "x"), ("z", 2, 0, "x"), ("z", 3, None, "x")],
    "r": [("x", 1, 0, "y"), ("y", 2, 1, "z"), ("w", 9, 1, "x")],
}
PARAMS = {"p": "x", "q": "y"}


class Generator:
    """Statements from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.aliases = 0
        self.depth = 0

    def statement(self) -> Any:
        """A SELECT, a compound, an UPDATE or a DELETE."""
        kind = self.random.random()
        if kind < 0.12:
            return self.change()
        if kind < 0.24:
            combine = self.random.choice([union, union_all, except_])
            return combine(self.query(2), self.query(2))
        return self.query(self.random.choice([1, 2, 3]))

    def query(self, columns: int, around: tuple[FromClause, ...] = ()) -> Select[Any]:
        """A SELECT; `around` are the FROM elements of the queries around it, which it may mention."""
        self.depth += 1
        source, elements = self.source(self.random.choice([1, 1, 2, 2, 3]))
        picked = [self.column(elements) for _ in range(columns)]
        named = [column.label(f"c{at}") for at, column in enumerate(picked)]
        made = select(*named).select_from(source)
        if self.random.random() < 0.9:
            made = made.where(self.condition((*elements, *around), elements))
        if around and self.random.random() < 0.3:
            made = made.correlate(None) if self.random.random() < 0.5 else made.correlate(self.random.choice(around))
        self.depth -= 1
        return made

    def change(self) -> Any:
        table = self.random.choice(TABLES[:2])
        condition = self.condition((table,), (table,))
        if self.random.random() < 0.5:
            return delete(table).where(condition)
        value = self.scalar((table,)) if self.random.random() < 0.5 else 7
        return update(table).where(condition).values(v=value)

    def source(self, size: int) -> tuple[FromClause, tuple[FromClause, ...]]:
        """A tree of joins over `size` elements."""
        if size == 1:
            element = self.element()
            return element, (element,)
        left, inside_left = self.source(self.random.randint(1, size - 1))
        right, inside_right = self.source(size - len(inside_left))
        elements = (*inside_left, *inside_right)
        kind = self.random.random()
        on = self.condition(elements, elements)
        joined = left.join(right, on, isouter=0.4 < kind < 0.8, full=kind >= 0.9)
        return joined, elements

    def element(self) -> FromClause:
        table = self.random.choice(TABLES)
        kind = self.random.random()
        if kind < 0.25:
            return table
        self.aliases += 1
        if kind < 0.8 or self.depth > 2:
            return table.alias(f"t{self.aliases}")
        query = self.query(2)
        return query.subquery(f"s{self.aliases}") if self.random.random() < 0.6 else query.cte(f"w{self.aliases}")

    def column(self, elements: tuple[FromClause, ...]) -> Any:
        return self.random.choice(
            [column for element in elements for column in element.c if column.name != "tf_bucket"]
        )

    def given(self, name: str, column: Any) -> Any:
        """A parameter where the column is text."""
        return 1 if isinstance(column.type, Int64) else bindparam(name)

    def key(self, element: FromClause) -> Any:
        return element.c.k if "k" in element.c else self.column((element,))

    def condition(self, elements: tuple[FromClause, ...], wanted: tuple[FromClause, ...]) -> Any:
        """An AND that often pins the keys of `wanted`, beside other things."""
        terms = []
        for element in wanted:
            chance = self.random.random()
            other = self.random.choice(elements)
            if chance < 0.45:
                terms.append(self.key(element) == self.given("p", self.key(element)))
            elif chance < 0.8:
                terms.append(self.key(element) == self.key(other))
        terms += [self.term(elements) for _ in range(self.random.choice([0, 0, 0, 1, 2]))]
        return and_(true(), *terms)

    def term(self, elements: tuple[FromClause, ...]) -> Any:
        kind = self.random.random()
        column = self.column(elements)
        if kind < 0.15:
            return or_(column == self.given("p", column), self.column(elements) == self.column(elements))
        if kind < 0.25:
            return not_(and_(column == self.given("p", column), self.column(elements) == 1))
        if kind < 0.35:
            return column.in_([1, 2] if isinstance(column.type, Int64) else ["x", "y"])
        if kind < 0.45:
            return column.is_(null())
        if kind < 0.65 and self.depth < 3:
            return self.nested(elements)
        if kind < 0.75:
            return column == self.given("q", column)
        return column == self.column(elements)

    def nested(self, elements: tuple[FromClause, ...]) -> Any:
        kind = self.random.random()
        if kind < 0.4:
            made: Any = exists(self.query(1, elements).with_only_columns(true()))
        elif kind < 0.7:
            made = self.column(elements).in_(self.query(1, elements))
        else:
            scalar = self.scalar(elements)
            wrapped = func.coalesce(scalar, self.column(elements)) if self.random.random() < 0.5 else scalar
            made = self.column(elements) == wrapped
        return made if self.random.random() < 0.8 else not_(made)

    def scalar(self, elements: tuple[FromClause, ...]) -> Any:
        query = self.query(1, elements)
        return query.order_by(query.selected_columns[0]).limit(1).scalar_subquery()
