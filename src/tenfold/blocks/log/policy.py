"""What a log line says: values made safe, short and free of secrets, and the line as bytes.

Whatever is given, a line comes out: nothing here raises. A line is bounded by construction: at most `FIELDS` fields,
and `CHARACTERS` characters of text in all of them together, beyond which a value ends with `…`.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Mapping, Set
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Literal, get_args

import msgspec

from tenfold.core.redact import MASK, Secret, redact_text, sounds_secret

Level = Literal["debug", "info", "warning", "error"]
LEVELS: dict[str, int] = dict(zip(get_args(Level), (10, 20, 30, 40), strict=True))
"""The numbers are those of the standard library."""

CHARACTERS = 8192
"""Text of one line; its names and a traceback have bounds of their own."""
VALUE_CHARACTERS = 2048
NAME_CHARACTERS = 64
FIELDS = 64
DEPTH = 4
ITEMS = 64
TRACE_CHARACTERS = 16_384

OWN = frozenset(
    {"time", "level", "logger", "message", "node", "request", "trace_id", "span_id", "trace"}
)  # fmt: skip
"""Names that Tenfold fills in; a field of such a name gets a `_` behind it."""

_CUT = "…"
_INT64 = 1 << 63
_SHORT = 128
"""Characters of a text that is remembered in its safe form."""
_HEX_BITS = 256
_encoder = msgspec.json.Encoder()


class _Budget:
    """What may still be said on this line."""

    __slots__ = ("characters", "cut", "items")

    def __init__(self) -> None:
        self.characters = CHARACTERS
        self.items = ITEMS
        self.cut = False


def fill(line: dict[str, Any], message: object, fields: Mapping[str, Any]) -> bool:
    """Adds the message and the fields to a line that has what is ours; whether something was left out."""
    budget = _Budget()
    line["message"] = _text(message, budget)
    for count, (name, value) in enumerate(fields.items()):
        if count == FIELDS:
            budget.cut = True
            break
        shown, hidden = shown_name(name)
        kind = type(value)
        if kind is bool or value is None:
            line[shown] = value
        elif hidden:
            line[shown] = MASK
        else:
            line[shown] = _text(value, budget) if kind is str else _value(value, budget, DEPTH)
        if isinstance(value, BaseException) and "trace" not in line:
            line["trace"] = trace_of(value)
    return budget.cut


def encoded(line: Mapping[str, Any]) -> bytes:
    """The line as bytes with its newline; one that JSON cannot say is replaced by a line that says so."""
    try:
        return _encoder.encode(line) + b"\n"
    except Exception as error:  # noqa: BLE001 - whatever the service put into it, its request goes on
        return (
            _encoder.encode({"level": "error", "message": f"A log line could not be written: {type(error).__name__}."})
            + b"\n"
        )


def stamp(wall_us: int) -> str:
    """Microseconds since 1970 as RFC 3339 in UTC, such as `2026-03-01T12:00:00.123456Z`."""
    seconds, micros = divmod(wall_us, 1_000_000)
    return f"{_second(seconds)}.{micros:06d}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "1970-01-01T00:00:00"


@lru_cache(maxsize=1024)
def shown_name(name: object) -> tuple[str, bool]:
    """A field's name as it is written, and whether its value is masked."""
    text = name if isinstance(name, str) else str(name)
    if len(text) > NAME_CHARACTERS:
        text = text[: NAME_CHARACTERS - 1] + _CUT
    hidden = sounds_secret(text)
    text = _printable(text)
    return (f"{text}_" if text in OWN else text), hidden


def trace_of(error: BaseException) -> str:
    """The traceback, its beginning left out where it is too long: the end says what happened."""
    try:
        text = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - an exception that cannot be shown
        return f"{type(error).__name__}: its traceback cannot be shown."
    if len(text) > TRACE_CHARACTERS:
        text = _CUT + text[-TRACE_CHARACTERS:]
    return redact_text(text).encode("utf-8", "backslashreplace").decode("utf-8")


def _text(value: object, budget: _Budget) -> str:
    text = value if type(value) is str else _str(value)
    size = len(text)
    if size <= _SHORT and size <= budget.characters:
        budget.characters -= size
        return _safe(text)
    room = min(VALUE_CHARACTERS, budget.characters)
    if size > room:
        budget.cut = True
        text = text[:room] + _CUT
    budget.characters -= min(size, room)
    return _safe.__wrapped__(text)


@lru_cache(maxsize=2048)
def _safe(text: str) -> str:
    """Without secrets and without what nobody should print. Short texts repeat: most messages are constants."""
    if "://" in text or " " in text:
        text = redact_text(text)
    return text if text.isprintable() else _printable(text)


def _printable(text: str) -> str:
    """Without what a terminal would obey (C1 controls; JSON escapes the others) and what UTF-8 cannot say."""
    if text.isprintable():
        return text
    return text.translate(_C1).encode("utf-8", "backslashreplace").decode("utf-8")


_C1 = {code: f"\\x{code:02x}" for code in range(0x7F, 0xA0)}


def _str(value: object) -> str:
    try:
        if isinstance(value, BaseException):
            return f"{type(value).__name__}: {value}"
        return str(value)
    except Exception:  # noqa: BLE001 - a __str__ of the service that fails is not the request's failure
        return f"<{type(value).__name__}: cannot be shown>"


def _value(value: Any, budget: _Budget, depth: int) -> Any:
    kind = type(value)
    if kind is str:
        return _text(value, budget)
    if kind is int or kind is float:
        return _number(value)
    if value is None or kind is bool:
        return value
    try:
        return _composite(value, budget, depth)
    except Exception:  # noqa: BLE001 - a mapping or dataclass of the service that fails while it is read
        return f"<{kind.__name__}: cannot be shown>"


def _number(value: float) -> float | str:
    """A number that JSON can say; else its text."""
    if isinstance(value, float):
        return value if value - value == 0.0 else str(value)  # NaN and the infinities
    if -_INT64 <= value < _INT64:
        return value
    return hex(value) if value.bit_length() <= _HEX_BITS else f"<a number of {value.bit_length()} bits>"


def _composite(value: Any, budget: _Budget, depth: int) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    fields = None if isinstance(value, Secret) else _fields(value)
    if fields is None and not isinstance(value, list | tuple | Set):
        return _text(value.isoformat() if isinstance(value, date) else value, budget)
    if depth == 0 or budget.items <= 0:
        budget.cut = True
        return _CUT
    if fields is not None:
        return _mapping(fields, budget, depth)
    return _sequence(value, budget, depth)


def _mapping(fields: Mapping[Any, Any], budget: _Budget, depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, item in fields.items():
        if budget.items <= 0:
            budget.cut = True
            break
        budget.items -= 1
        text = _str(name) if not isinstance(name, str) else name
        hidden = sounds_secret(text[:NAME_CHARACTERS])
        made[_text(text[:NAME_CHARACTERS], budget)] = (
            MASK if hidden and item is not None else _value(item, budget, depth - 1)
        )
    return made


def _sequence(values: Any, budget: _Budget, depth: int) -> list[Any]:
    made: list[Any] = []
    for item in values:
        if budget.items <= 0:
            budget.cut = True
            made.append(_CUT)
            break
        budget.items -= 1
        made.append(_value(item, budget, depth - 1))
    return made


def _fields(value: Any) -> Mapping[Any, Any] | None:
    """What has names in it: a mapping, a dataclass, a Struct; None for anything else."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, type):
        return None
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    names: tuple[str, ...] | None = getattr(value, "__struct_fields__", None)
    return None if names is None else {name: getattr(value, name) for name in names}
