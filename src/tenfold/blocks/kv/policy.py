"""What a key, a value and a time to live may be, and what they are in the table. Values in, values out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from tenfold.blocks.database.own.kv import VALUE_MAX
from tenfold.core.errors import InvalidRequest, UsageError
from tenfold.core.units import parse_duration

KEY_MAX = 512
"""Bytes of a key in UTF-8."""
TTL_MAX_S = 36_500 * 86_400
"""A hundred years."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_PLACED = re.compile(r"\{([^{}]+)\}")


class RefusedEntry(InvalidRequest):
    """A key, value or time to live that cannot be stored; nothing was written."""

    code = "TF-KV-REFUSED"
    title = "The key or value cannot be stored"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint, status=422)


@dataclass(frozen=True, slots=True)
class Entry:
    """A value with its version, which grows with every write of its key for ever, and when it expires (UTC), if so."""

    value: Any
    version: int
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """A value as the table holds it."""

    kind: str
    data: bytes
    ttl_us: int | None

    def expires_us(self, now_us: int) -> int | None:
        """From which microsecond on it is gone when it is written now; None for never."""
        return None if self.ttl_us is None else now_us + self.ttl_us


class At(NamedTuple):
    """Where an entry lives: the key that decides it, and its name there, empty where that is the whole key."""

    place: str
    name: str


def place_of(key: str) -> At:
    """Where an entry lives, and its name there: `user:1` at itself, `{42}theme` with everything else of key `42`."""
    if not isinstance(key, str) or not key:
        raise RefusedEntry(f"Found {_shown(key)}; a key is text of at least one character.")
    if len(key) > KEY_MAX or len(key.encode("utf-8", "surrogatepass")) > KEY_MAX:
        raise RefusedEntry(f"The key has more than {KEY_MAX} bytes.", hint="Use a hash of what is longer.")
    if _UNSEEN.search(key):
        raise RefusedEntry(f"Found the key {_shown(key)}; a key has no control characters and is valid Unicode.")
    placed = _PLACED.match(key)
    return At(placed[1], key) if placed else At(key, "")


def stored(value: Any, ttl: str | float | None) -> Stored:
    """The value as the table holds it; `RefusedEntry` for what cannot be stored and come back the same."""
    kind, data = _encoded(value)
    if len(data) > VALUE_MAX:
        raise RefusedEntry(
            f"The value has {len(data):,} bytes; allowed: at most {VALUE_MAX:,}.",
            hint="Keep large content in `tf.files`, and its id here.",
        )
    return Stored(kind, data, _ttl_us(ttl))


def _encoded(value: Any) -> tuple[str, bytes]:
    if isinstance(value, bytes | bytearray | memoryview):
        return "bytes", bytes(value)
    try:
        if isinstance(value, str):
            return "text", value.encode("utf-8")
        data = msgspec.json.encode(value)
        same = msgspec.json.decode(data) == value
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise RefusedEntry(f"The value cannot be stored: {error}.", hint=_ALLOWED) from None
    if not same:
        raise RefusedEntry(f"Found {_shown(value)}, which JSON would change.", hint=_ALLOWED)
    return "json", data


_ALLOWED = "A value is bytes, text, or None, bool, int, finite float, list and dict with text keys."


def _ttl_us(ttl: str | float | None) -> int | None:
    if ttl is None:
        return None
    try:
        seconds = parse_duration(ttl)
    except UsageError as error:
        raise RefusedEntry(f"The time to live: {error.message}") from None
    if not 0 < seconds <= TTL_MAX_S:
        raise RefusedEntry(f"The time to live is {_shown(ttl)}; allowed: above 0, at most 100 years.")
    return max(1, round(seconds * 1_000_000))


def alive(expires_us: int | None, now_us: int) -> bool:
    """Whether a value is still to be had at this moment."""
    return expires_us is None or now_us < expires_us


def entry_of(row: Any, now_us: int) -> Entry | None:
    """The entry in a row of the table; None without one, or when it expired."""
    if row is None or not alive(row.expires_us, now_us):
        return None
    expires = None if row.expires_us is None else _EPOCH + timedelta(microseconds=row.expires_us)
    return Entry(decoded(row.kind, row.value), row.version, expires)


def decoded(kind: str, data: bytes) -> Any:
    """The value, of the kind that was put."""
    if kind == "bytes":
        return bytes(data)
    return data.decode("utf-8") if kind == "text" else msgspec.json.decode(data)


def expected_version(version: object) -> int | None:
    """What a compare-and-set expects; `RefusedEntry` when it is no version."""
    if version is None or (isinstance(version, int) and not isinstance(version, bool)):
        return version
    raise RefusedEntry(f"Found {_shown(version)}; a version is a whole number, or None for a key that has no value.")


def _shown(value: object) -> str:
    try:
        text = ascii(value)
    except Exception:  # noqa: BLE001 - its own repr fails
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
