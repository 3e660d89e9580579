"""Result rows: named tuples of Python values, made once per compiled statement."""

from __future__ import annotations

import collections
import decimal
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.types import NullType

from tenfold.blocks.database.tables import BUCKET_COLUMN
from tenfold.blocks.database.types import Int64

Row = Any
"""A named tuple; fields are the column names, or `_0`, `_1` ... by place where a name is missing or comes twice."""

RowMaker = Callable[[Sequence[Any]], Row]


def row_maker(columns: Sequence[ColumnElement[Any]], dialect: Dialect) -> RowMaker:
    """A function from the driver's tuple to our row, without our own bucket column."""
    names = [str(getattr(column, "key", None) or f"_{i}") for i, column in enumerate(columns)]
    kept = [i for i, name in enumerate(names) if name != BUCKET_COLUMN]
    kind = collections.namedtuple("Row", [names[i] for i in kept], rename=True)  # type: ignore[misc]
    converters = [(at, made) for at, i in enumerate(kept) if (made := _converter(columns[i], dialect)) is not None]
    make: Callable[[Any], Row] = kind._make
    if len(kept) != len(names):
        return _dropping(make, kept, converters)
    return _converting(make, converters) if converters else make


Converter = Callable[[Any], Any]


def _converter(column: ColumnElement[Any], dialect: Dialect) -> Converter | None:
    if dialect.name == "postgresql" and not isinstance(column, Column) and isinstance(column.type, Int64 | NullType):
        return _number
    try:
        return column.type.dialect_impl(dialect).result_processor(dialect, None)
    except (InvalidRequestError, TypeError):  # a numeric of PostgreSQL whose kind is not known before it comes
        return _number


def _number(value: Any) -> Any:
    """PostgreSQL answers sum() and avg() of whole numbers with a decimal; here they are what they are on SQLite."""
    if type(value) is not decimal.Decimal:
        return value
    return int(value) if value == value.to_integral_value() and value.as_tuple().exponent == 0 else float(value)


def _converting(make: Callable[[Any], Row], converters: list[tuple[int, Converter]]) -> RowMaker:
    def convert(raw: Sequence[Any]) -> Row:
        values = list(raw)
        for at, converter in converters:
            values[at] = converter(values[at])
        return make(values)

    return convert


def _dropping(make: Callable[[Any], Row], kept: list[int], converters: list[tuple[int, Converter]]) -> RowMaker:
    convert = _converting(make, converters)

    def drop(raw: Sequence[Any]) -> Row:
        return convert([raw[i] for i in kept])

    return drop
