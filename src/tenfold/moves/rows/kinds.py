"""How a value of each portable type is stored in the two databases, and how it is carried over.

The common form is what SQLite stores (int, float, str, bytes or None): keys in the log, positions of the copy and the
text that is hashed are all in it. The processors of `blocks/database/types.py` are the truth; a property test holds
these, which are made for speed, against them.
"""

from __future__ import annotations

import decimal
import json
import math
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tenfold.blocks.database import types
from tenfold.blocks.database.types import Portable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_EXACT = decimal.Context(prec=1_000)
FIRST_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _US
LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _US
_INT64 = (-(2**63), 2**63 - 1)
_SMALL = (0, 4095)
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

Convert = Callable[[Any], Any]
Judge = Callable[[Any], str | None]


@dataclass(frozen=True, slots=True)
class Kind:
    """One portable type in the two databases. `judge` says what is wrong with a value in common form, None when
    PostgreSQL will take it; its argument has the right `storage` class."""

    storage: type
    pg_type: str
    judge: Judge
    to_pg: Convert | None = None
    """From common form to what asyncpg takes; None when it is the same. Never called with None."""
    from_pg: Convert | None = None


def _text(limit: int | None) -> Judge:
    def judge(value: str) -> str | None:
        if "\x00" in value:
            return "NUL characters in text"
        return f"text of more than {limit:,} characters" if limit is not None and len(value) > limit else None

    return judge


def _choice(words: Sequence[str]) -> Judge:
    allowed = frozenset(words)
    return lambda value: None if value in allowed else "a word that is not one of the choices"


def _between(low: int, high: int, what: str) -> Judge:
    return lambda value: None if low <= value <= high else what


def _finite(value: float) -> str | None:
    return None if math.isfinite(value) else "infinite numbers or NaN"


def _json(value: str) -> str | None:
    try:
        json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return "text that is not JSON"
    return "NUL characters in JSON" if "\x00" in value or _NUL.search(value) else None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _short(limit: int) -> Judge:
    return lambda value: f"values of more than {limit:,} bytes" if len(value) > limit else None


def _sixteen(value: bytes) -> str | None:
    return None if len(value) == 16 else "values that are not 16 bytes"


def _moment(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


def _micros(value: datetime) -> int:
    # asyncpg writes the first and the last moment that Python knows as -infinity and infinity, and reads them naive.
    return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH) // _US


def _decimal(column: types.Decimal) -> Kind:
    scale, bound = column.scale, 10**column.precision - 1

    def to_pg(value: int) -> decimal.Decimal:
        return decimal.Decimal(value).scaleb(-scale, _EXACT)

    def from_pg(value: decimal.Decimal) -> int:
        return int(value.scaleb(scale, _EXACT))

    return Kind(int, "numeric", _between(-bound, bound, "decimals with too many digits"), to_pg, from_pg)


def _uuid(value: uuid.UUID) -> bytes:
    return value.bytes


_UUID = Kind(bytes, "uuid", _sixteen, lambda value: uuid.UUID(bytes=value), _uuid)
_MOMENT = Kind(int, "timestamptz", _between(FIRST_US, LAST_US, "dates outside of year 1 to 9999"), _moment, _micros)
_BOOL = Kind(int, "boolean", _between(0, 1, "numbers other than 0 and 1"), bool, int)
_INT = Kind(int, "bigint", _between(*_INT64, "numbers of more than 64 bits"))
_BUCKET = Kind(int, "smallint", _between(*_SMALL, "buckets outside of 0 to 4095"))
_FLOAT = Kind(float, "float8", _finite)

_KINDS: dict[type[Portable], Callable[[Any], Kind]] = {
    types.Text: lambda column: Kind(str, "text", _text(column.length)),
    types.Choice: lambda column: Kind(str, "text", _choice(column.choices)),
    types.Json: lambda column: Kind(str, "text", _json),
    types.Int64: lambda column: _INT,
    types.Bucket: lambda column: _BUCKET,
    types.Float: lambda column: _FLOAT,
    types.Bool: lambda column: _BOOL,
    types.UtcDateTime: lambda column: _MOMENT,
    types.Decimal: _decimal,
    types.Uuid: lambda column: _UUID,
    types.Bytes: lambda column: Kind(bytes, "bytea", _short(column.length)),
}


def kind_of(column_type: object) -> Kind | None:
    """The kind of a column's type; None when it is not one of the portable types."""
    for base in type(column_type).__mro__:
        made = _KINDS.get(base)
        if made is not None:
            return made(column_type)
    return None
