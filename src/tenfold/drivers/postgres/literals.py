"""Values as SQL writes them, for statements that travel in one message with others.

Everything is quoted, and PostgreSQL takes an unadorned literal for whatever type its place asks for. The session has
`standard_conforming_strings` on, so a quote is the only character with a meaning inside.
"""

from __future__ import annotations

import decimal
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

LONG = 20_000
"""Characters of text that are not worth being quoted: such a value travels as a parameter."""


def _text(value: str) -> str | None:
    return None if len(value) > LONG or "\x00" in value else "'" + value.replace("'", "''") + "'"


def _bytes(value: bytes) -> str | None:
    return None if len(value) > LONG else f"'\\x{value.hex()}'"


def _moment(value: datetime) -> str | None:
    # In UTC: PostgreSQL reads no offset of 16 hours or more.
    return None if value.utcoffset() is None else f"'{value.astimezone(UTC).isoformat()}'"


_BY_KIND: dict[type, Callable[[Any], str | None]] = {
    str: _text,
    int: lambda value: f"'{value:d}'",
    bool: lambda value: "'t'" if value else "'f'",
    type(None): lambda value: "NULL",
    float: lambda value: f"'{value!r}'",
    bytes: _bytes,
    uuid.UUID: lambda value: f"'{value}'",
    decimal.Decimal: lambda value: f"'{value}'",
    datetime: _moment,
}


def literals(values: Sequence[Any]) -> str | None:
    """The values, with commas between them; None when one of them cannot be written so."""
    written = []
    for value in values:
        write = _BY_KIND.get(type(value))
        text = None if write is None else write(value)
        if text is None:
            return None
        written.append(text)
    return ", ".join(written)
