"""Durations and sizes as people write them ("250ms", "1h30m", "64MB"), and back.

Sizes count in steps of 1024 under either spelling (KB = KiB), as PostgreSQL, Redis and HAProxy read them: the number in
`tenfold.toml` is the number that an engine's own configuration shows.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from tenfold.core.errors import UsageError

DURATION_RULE = 'a number of seconds, or a text with units us, ms, s, m, h, d such as "250ms" or "1h30m"'
SIZE_RULE = 'a whole number of bytes, or a text with a unit B, KB, MB, GB, TB such as "64MB"'

# Largest first: a compound such as "1h30m" must go down through them.
_DURATION_US = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1000, "us": 1}
_SIZE_UNITS = {"TB": 1024**4, "GB": 1024**3, "MB": 1024**2, "KB": 1024, "B": 1}

_DURATION_PART = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*(us|ms|s|m|h|d)\s*", re.ASCII)
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*(?:([KMGT])I?)?B", re.ASCII | re.IGNORECASE)


def shown(value: object) -> str:
    """A value as an error message quotes it: `"two" (text)`, `true`, `[...] (a list)`; long text is cut."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            text = value if len(value) <= 60 else value[:57] + "..."
            return f'"{escaped(text)}" (text)'
        case int() if abs(value) >= 2**64:
            return f"a number of {value.bit_length()} bits"  # Python refuses to print thousands of digits
        case dict():
            return "a table"
        case list() | tuple():
            return "a list"
        case _:
            return str(value)


def escaped(text: str) -> str:
    """The text on one line, with whatever a terminal would act on shown as an escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def parse_duration(value: str | float) -> float:
    """Seconds, exact to the microsecond: from a number of seconds or a text with units ("250ms", "1h30m").

    Raises `UsageError` for anything else, a bare "90" in quotes, a negative or an infinite number included.
    """
    if isinstance(value, str):
        return _text_duration_us(value) / 1_000_000
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise _refused(value, DURATION_RULE)
    return float(value)


def _text_duration_us(text: str) -> int:
    rest, total, last = text.strip(), Decimal(0), math.inf
    while rest:
        part = _DURATION_PART.match(rest)
        unit_us = _DURATION_US[part[2]] if part else 0
        if part is None or unit_us >= last:
            raise _refused(text, DURATION_RULE)
        total += Decimal(part[1]) * unit_us
        rest, last = rest[part.end() :], unit_us
    if last == math.inf:
        raise _refused(text, DURATION_RULE)
    return round(total)


def parse_size(value: str | int) -> int:
    """Bytes: from a whole number or a text with a unit ("64MB", "1.5GiB"); KB and KiB are both 1024.

    Raises `UsageError` for anything else, and for a text that does not come out at whole bytes.
    """
    if isinstance(value, str):
        return _text_size(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _refused(value, SIZE_RULE)
    return value


def _text_size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise _refused(text, SIZE_RULE)
    total = Decimal(match[1]) * _SIZE_UNITS[(match[2] or "").upper() + "B"]
    if total != int(total):
        raise _refused(text, SIZE_RULE)
    return int(total)


def format_duration(seconds: float, *, parts: int = 6) -> str:
    """The duration as `parse_duration` reads it back, exact to the microsecond: "1h30m", "250ms", "0s".

    `parts` keeps only that many of the largest units, rounding down; for uptimes and the like.
    """
    assert seconds >= 0, "a duration is not negative"
    assert parts >= 1, "at least one unit is shown"
    rest, found = round(seconds * 1_000_000), []
    for unit, unit_us in _DURATION_US.items():
        count, rest = divmod(rest, unit_us)
        if count:
            found.append(f"{count}{unit}")
    return "".join(found[:parts]) or "0s"


def format_size(size: int, *, exact: bool = False) -> str:
    """The size in its largest unit with at most one decimal: "64MB", "79.7MB"; rounded unless `exact`.

    With `exact`, a size that one decimal cannot carry is shown in bytes: `parse_size` reads the same number back.
    """
    assert size >= 0, "a size is not negative"
    unit, factor = next(((u, f) for u, f in _SIZE_UNITS.items() if size >= f), ("B", 1))
    text = f"{size / factor:.1f}".removesuffix(".0") + unit
    if exact and Decimal(text.removesuffix(unit)) * factor != size:
        return f"{size}B"
    return text


def _refused(value: object, rule: str) -> UsageError:
    return UsageError(f"found {shown(value)}; allowed: {rule}.")
