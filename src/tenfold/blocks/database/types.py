"""The portable column types: the same values on SQLite and PostgreSQL, checked when a value is bound.

A value that one backend would take and the other refuse (a NUL in text, a naive datetime, a number beyond 64 bits, NaN)
is refused on both, from the first day. On SQLite the tables are STRICT, so only INTEGER, REAL, TEXT and BLOB appear.
"""

from __future__ import annotations

import decimal
import enum
import math
import re
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

from tenfold.core.errors import ContractError, InvalidRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MAX_TEXT = 10_000_000
_MAX_BYTES = 50_000_000
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
MAX_DIGITS = 18
"""Of a decimal: what fits a whole number of 64 bits."""

_EXACT = decimal.Context(prec=1_000)
"""The service's own decimal context must not round what is stored."""

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""An escaped NUL in JSON: an odd number of backslashes."""


class InvalidValue(InvalidRequest):
    """A value does not fit the column it was given for; nothing was written."""

    code = "TF-VALUE"
    title = "A value does not fit its column"

    def __init__(self, message: str) -> None:
        super().__init__(message, status=422)


def _shown(value: object) -> str:
    try:
        text = repr(value[:80] if isinstance(value, str | bytes) else value)
    except Exception:  # noqa: BLE001 - too deep, too many digits, or its own repr fails
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


class _Native(UserDefinedType[Any]):
    """A type of PostgreSQL by its own name. Values go to the driver and come from it as they are."""

    cache_ok = True
    render_bind_cast = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_: Any) -> str:
        return self.name

    def literal_processor(self, dialect: Dialect) -> Callable[[Any], str]:
        """Values inside DDL: the condition of an index or of a CHECK."""
        return self._literal

    def _literal(self, value: Any) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int | float | decimal.Decimal):
            return str(value)
        text = f"\\x{value.hex()}" if isinstance(value, bytes) else str(value)
        quoted = "'" + text.replace("'", "''") + "'"
        return quoted if isinstance(value, str) else f"{quoted}::{self.name}"


class Portable(TypeDecorator[Any]):
    """Base of the portable types. `check_sql(column)` is the CHECK that keeps the rule inside the database."""

    impl: Any = sa.Text
    cache_ok = True
    sqlite_type: type[TypeEngine[Any]] = sa.Text
    postgres_type = 'TEXT COLLATE "C"'
    """Text sorts by its bytes, as on SQLite."""

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """SQLite's storage class; PostgreSQL's type; elsewhere `impl`."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(self.sqlite_type())
        if dialect.name == "postgresql":
            return _Native(self.postgres_type)
        return dialect.type_descriptor(self.impl_instance)

    def check_sql(self, column: str) -> str | None:
        """A portable SQL condition on `column`, or None."""
        return None

    def refuse(self, value: object, allowed: str) -> InvalidValue:
        """The error for a value that does not fit."""
        return InvalidValue(f"Found {_shown(value)}; allowed: {allowed}.")


class Text(Portable):
    """Text of at most `length` characters, without NUL and without lone surrogates."""

    def __init__(self, length: int) -> None:
        if not isinstance(length, int) or not 1 <= length <= _MAX_TEXT:
            raise ContractError(f"Text({length!r}) needs a length from 1 to {_MAX_TEXT:,}.", code="TF-TABLE-1")
        super().__init__(length)
        self.length = length

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.refuse(value, "text")
        if len(value) > self.length:
            raise InvalidValue(f"The text has {len(value):,} characters; allowed: at most {self.length:,}.")
        if not value.isascii():
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                raise self.refuse(value, "valid Unicode text") from None
        if "\x00" in value:
            raise self.refuse(value, "text without NUL characters")
        return value

    def check_sql(self, column: str) -> str | None:
        return f"length({column}) <= {self.length}"


class Int64(Portable):
    """A whole number of 64 bits, signed."""

    impl = sa.BigInteger
    sqlite_type = sa.Integer
    postgres_type = "BIGINT"

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.refuse(value, "a whole number")
        if not _INT64_MIN <= value <= _INT64_MAX:
            raise self.refuse(value, "a whole number of 64 bits")
        return value


class Float(Portable):
    """A finite floating point number of 64 bits. NaN and infinities are refused: SQLite would store NULL for NaN."""

    impl = sa.Double
    sqlite_type = sa.REAL
    postgres_type = "DOUBLE PRECISION"

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(value, "a finite number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.refuse(value, "a finite number")
        return number + 0.0  # SQLite does not keep the sign of -0.0


class Bool(Portable):
    """True or False; 0 and 1 on SQLite."""

    impl = sa.Boolean
    sqlite_type = sa.Integer
    postgres_type = "BOOLEAN"

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None or isinstance(value, bool):
            return value if value is None or dialect.name != "sqlite" else int(value)
        raise self.refuse(value, "True or False")

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else bool(value)


class UtcDateTime(Portable):
    """A point in time with microseconds; takes aware datetimes of any zone, gives UTC. An integer on SQLite."""

    impl = sa.DateTime
    sqlite_type = sa.Integer
    postgres_type = "TIMESTAMP WITH TIME ZONE"

    def __init__(self) -> None:
        super().__init__(timezone=True)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        if not isinstance(value, datetime) or value.utcoffset() is None:
            raise self.refuse(value, "a datetime with a time zone, such as datetime.now(UTC)")
        try:
            moment = value.astimezone(UTC)
        except (OverflowError, ValueError):
            raise self.refuse(value, "a datetime from year 1 to 9999 in UTC") from None
        return (moment - _EPOCH) // _MICROSECOND if dialect.name == "sqlite" else moment

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        if dialect.name == "sqlite":
            return _EPOCH + timedelta(microseconds=value)
        if value.tzinfo is None:  # asyncpg reads infinity so, as which it writes the last moment that Python knows
            return value.replace(tzinfo=UTC)
        return value if value.tzinfo is UTC else value.astimezone(UTC)


class Decimal(Portable):
    """An exact decimal of at most 18 digits, `scale` of them after the point; an integer on SQLite, so it sorts."""

    impl = sa.Numeric
    sqlite_type = sa.Integer

    def __init__(self, precision: int, scale: int) -> None:
        if not (1 <= precision <= MAX_DIGITS and 0 <= scale <= precision):
            raise ContractError(
                f"Decimal({precision}, {scale}) needs 1 to 18 digits, of which 0 to all stand after the point.",
                code="TF-TABLE-1",
            )
        super().__init__(precision, scale)
        self.precision, self.scale = precision, scale
        self.postgres_type = f"NUMERIC({precision}, {scale})"

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | decimal.Decimal):
            raise self.refuse(value, "a decimal.Decimal or a whole number")
        exact = decimal.Decimal(value)
        # An exponent out of these bounds cannot fit; within them nothing below rounds or overflows.
        fits = exact.is_finite() and (not exact or -MAX_DIGITS <= exact.adjusted() <= MAX_DIGITS)
        scaled = exact.scaleb(self.scale, _EXACT) if fits and len(exact.as_tuple().digits) <= _EXACT.prec else None
        if scaled is None or scaled != scaled.to_integral_value() or abs(scaled) >= 10**self.precision:
            raise self.refuse(value, f"at most {self.precision} digits, {self.scale} of them after the point")
        return int(scaled) if dialect.name == "sqlite" else exact

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        return decimal.Decimal(value).scaleb(-self.scale, _EXACT) if dialect.name == "sqlite" else value


class Uuid(Portable):
    """A uuid.UUID; 16 bytes on SQLite, so that it sorts as on PostgreSQL."""

    impl = sa.Uuid
    sqlite_type = sa.LargeBinary
    postgres_type = "UUID"

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        if not isinstance(value, uuid.UUID):
            raise self.refuse(value, "a uuid.UUID")
        return value.bytes if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        if value is None or type(value) is uuid.UUID:
            return value
        return uuid.UUID(bytes=value) if isinstance(value, bytes) else uuid.UUID(int=value.int)  # a driver's own kind


class Bytes(Portable):
    """At most `length` bytes."""

    impl = sa.LargeBinary
    sqlite_type = sa.LargeBinary
    postgres_type = "BYTEA"

    def __init__(self, length: int) -> None:
        if not isinstance(length, int) or not 1 <= length <= _MAX_BYTES:
            raise ContractError(f"Bytes({length!r}) needs a length from 1 to {_MAX_BYTES:,}.", code="TF-TABLE-1")
        super().__init__(length)
        self.length = length

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        if not isinstance(value, bytes):
            raise self.refuse(value, "bytes")
        if len(value) > self.length:
            raise InvalidValue(f"The value has {len(value):,} bytes; allowed: at most {self.length:,}.")
        return value

    def check_sql(self, column: str) -> str | None:
        return f"length({column}) <= {self.length}"


class Json(Portable):
    """A JSON value (None, bool, int, float, str, list, dict with text keys) of at most `limit` bytes when encoded."""

    def __init__(self, limit: int = 1_000_000) -> None:
        if not 1 <= limit <= _MAX_TEXT:
            raise ContractError(
                f"Json(limit={limit!r}) needs a limit from 1 to {_MAX_TEXT:,} bytes.", code="TF-TABLE-1"
            )
        super().__init__()
        self.limit = limit

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        try:
            encoded = msgspec.json.encode(value, order="deterministic")
            same = msgspec.json.decode(encoded) == value
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise InvalidValue(f"The value cannot be stored as JSON: {error}.") from None
        if not same:
            raise self.refuse(value, "what comes back the same: None, bool, int, finite float, str, list, dict of str")
        if len(encoded) > self.limit:
            raise InvalidValue(f"The JSON value has {len(encoded):,} bytes; allowed: at most {self.limit:,}.")
        if _NUL.search(encoded):
            raise self.refuse(value, "JSON without NUL characters")
        return encoded.decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else msgspec.json.decode(value)


class Choice(Portable):
    """One of a fixed set of words, or the members of a text-valued `enum.Enum` class. Adding a word is a migration."""

    def __init__(self, *choices: Any) -> None:
        self.enum_class: type[enum.Enum] | None = None
        if len(choices) == 1 and isinstance(choices[0], type) and issubclass(choices[0], enum.Enum):
            self.enum_class = choices[0]
            choices = tuple(member.value for member in self.enum_class)
        if not choices or not all(isinstance(word, str) and 0 < len(word) <= 100 for word in choices):
            raise ContractError("Choice(...) needs words of 1 to 100 characters.", code="TF-TABLE-1")
        super().__init__()
        self.choices = tuple(choices)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None:
            return None
        word = value.value if self.enum_class is not None and isinstance(value, self.enum_class) else value
        if word not in self.choices:
            raise self.refuse(value, f"one of {', '.join(self.choices)}")
        return word

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return value if value is None or self.enum_class is None else self.enum_class(value)

    def check_sql(self, column: str) -> str | None:
        words: Iterable[str] = ("'" + word.replace("'", "''") + "'" for word in self.choices)
        return f"{column} IN ({', '.join(words)})"


class Bucket(Portable):
    """The hash slot of a row's key, 0 to 4095; the column `tf_bucket` of a sharded table."""

    impl = sa.SmallInteger
    sqlite_type = sa.Integer
    postgres_type = "SMALLINT"

    def check_sql(self, column: str) -> str | None:
        return f"{column} BETWEEN 0 AND 4095"


PORTABLE: tuple[type[Portable], ...] = (
    Text, Int64, Float, Bool, UtcDateTime, Decimal, Uuid, Bytes, Json, Choice,
)  # fmt: skip
