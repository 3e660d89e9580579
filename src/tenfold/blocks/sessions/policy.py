"""The decisions about sessions, as values: what a change does to a value, what may be stored, when a session ends.

A request does not write a session back: it records changes to single keys, and they are applied to what is stored when
they are committed. So two requests that change different keys never lose each other's change; for the same key the last
one wins, except that sums, appended items and maxima come together whatever the order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tenfold.core.errors import Conflict, InvalidRequest

KEYS_MAX = 64
"""Keys of one session."""
BYTES_MAX = 32 * 1024
"""Bytes of all keys and values of one session as JSON."""
KEY_CHARS = 64
USER_CHARS = 200
GRACE_US = 30_000_000
"""How long requests may still arrive with the id that another one took the place of."""
TOUCH_US = 60_000_000
"""How exactly it is known when a session was last used."""

_KEY = re.compile(rf"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{KEY_CHARS}}}")
_INT64 = 2**63
SCALARS = (str, int, float, bool, type(None))

Values = Mapping[str, Any]


class SessionRefused(InvalidRequest):
    """Something that a session cannot hold; nothing of it was stored."""

    code = "TF-SESSION-VALUE"
    title = "A session cannot hold this"

    def __init__(self, message: str, *, hint: str, code: str | None = None) -> None:
        super().__init__(message, hint=hint, code=code, status=422)


@dataclass(frozen=True, slots=True)
class Put:
    """The key gets this value."""

    value: Any


@dataclass(frozen=True, slots=True)
class Remove:
    """The key goes."""


@dataclass(frozen=True, slots=True)
class Add:
    """The number under the key grows by this; a missing one counts as 0."""

    amount: int | float


@dataclass(frozen=True, slots=True)
class Append:
    """The list under the key gets these at its end, and keeps its last `keep` items; a missing one is empty."""

    items: tuple[Any, ...]
    keep: int


@dataclass(frozen=True, slots=True)
class Most:
    """The number under the key becomes at least this."""

    value: int | float


Change = Put | Remove | Add | Append | Most
Patch = Mapping[str, tuple[Change, ...]]
"""Changes by key, in the order in which they were made."""


class _Absent:
    """The type of `ABSENT`."""


ABSENT = _Absent()
"""What a key that is not there holds."""


def changed(key: str, value: Any, change: Change) -> Any:
    """What the key holds after the change, `ABSENT` for nothing. `Conflict` when it holds what cannot be changed so."""
    match change:
        case Put(new):
            return new
        case Remove():
            return ABSENT
        case Add(amount):
            return _number(key, 0 if value is ABSENT else value, change) + amount
        case Most(least):
            return least if value is ABSENT else max(_number(key, value, change), least)
        case Append(items, keep):
            before = [] if value is ABSENT else value
            if not isinstance(before, list):
                raise _other_kind(key, value, "a list")
            return [*before, *items][-keep:]


def patched(values: Values, patch: Patch) -> dict[str, Any]:
    """The values after all changes."""
    after = dict(values)
    for key, changes in patch.items():
        value = after.get(key, ABSENT)
        for change in changes:
            value = changed(key, value, change)
        if value is ABSENT:
            after.pop(key, None)
        else:
            after[key] = value
    return after


def joined(before: tuple[Change, ...], change: Change) -> tuple[Change, ...]:
    """The same changes in as few as possible, so that a loop over `incr` is one of them."""
    if isinstance(change, Put | Remove):
        return (change,)
    match before[-1] if before else None, change:
        case (Add(first), Add(more)):
            return (*before[:-1], Add(first + more))
        case (Most(first), Most(more)):
            return (*before[:-1], Most(max(first, more)))
        case (Append(first, keep), Append(more, later)) if keep == later:
            return (*before[:-1], Append((*first, *more)[-keep:], keep))
    return (*before, change)


def _number(key: str, value: Any, change: Change) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _other_kind(key, value, "a number")
    return value


def _other_kind(key: str, value: Any, wanted: str) -> Conflict:
    return Conflict(
        f"The session's {key!r} holds a {type(value).__name__}, not {wanted}.",
        hint="Use one key for one kind of value; `set` replaces whatever is there.",
        code="TF-SESSION-KIND",
    )


def check_key(key: object) -> str:
    """The key; `SessionRefused` for one that a session cannot have."""
    if not isinstance(key, str) or _KEY.fullmatch(key) is None:
        raise SessionRefused(
            f"{_shown(key)} cannot be a session's key.",
            hint=f"Use 1 to {KEY_CHARS} characters without control characters.",
            code="TF-SESSION-KEY",
        )
    return key


def check_user(user: object) -> str:
    """Who a session is of; `SessionRefused` for a name that cannot be."""
    printable = isinstance(user, str) and re.fullmatch(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+", user)
    if not printable or len(str(user)) > USER_CHARS:
        raise SessionRefused(
            f"{_shown(user)} cannot be a session's user.",
            hint=f"Give the user's id as text: 1 to {USER_CHARS} characters without control characters.",
            code="TF-SESSION-USER",
        )
    return str(user)


def plain(value: Any) -> Any:
    """A copy of a value as it will come back from the database; `SessionRefused` when it would not be the same."""
    try:
        encoded = msgspec.json.encode(value)
        if len(encoded) > BYTES_MAX:
            raise _too_large(len(encoded))
        copy = msgspec.json.decode(encoded)
        same = bool(copy == value)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        same = False
    if not same:
        raise SessionRefused(
            f"{_shown(value)} does not come back from JSON as it is.",
            hint="A session holds None, true and false, finite numbers, text, lists, and dicts with text as keys.",
        )
    return copy


def number(value: object) -> int | float:
    """A number that can be added or compared; `SessionRefused` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SessionRefused(f"{_shown(value)} is not a number.", hint="Give an int or a finite float.")
    kept: int | float = plain(value)
    return kept


def encoded(values: Values) -> str:
    """The JSON text of a whole session; `SessionRefused` when that is more than one may hold."""
    if len(values) > KEYS_MAX:
        raise SessionRefused(
            f"The session would have {len(values)} keys; allowed: {KEYS_MAX}.",
            hint="Keep what grows in a table of the service, and its key in the session.",
            code="TF-SESSION-SIZE",
        )
    if any(_beyond(value) for value in values.values()):
        raise SessionRefused("A number of the session has grown beyond 64 bits.", hint="Keep it as text.")
    text = msgspec.json.encode(values)
    if len(text) > BYTES_MAX:
        raise _too_large(len(text))
    return text.decode()


def _beyond(value: Any) -> bool:
    """Whether sums have grown to what JSON does not keep."""
    if isinstance(value, float):
        return not math.isfinite(value)
    return isinstance(value, int) and not -_INT64 <= value < _INT64


def _too_large(size: int) -> SessionRefused:
    return SessionRefused(
        f"The session would have {size:,} bytes; allowed: {BYTES_MAX:,}.",
        hint="Keep what grows in a table of the service, and its key in the session.",
        code="TF-SESSION-SIZE",
    )


def _shown(value: object) -> str:
    try:
        text = repr(value[:80] if isinstance(value, str | bytes) else value)
    except Exception:  # noqa: BLE001 - too deep, too many digits, or its own repr fails
        text = f"A {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass(frozen=True, slots=True)
class Rules:
    """How long sessions live, in seconds: without a request, and at most."""

    idle_s: float = 7 * 86_400.0
    lifetime_s: float = 30 * 86_400.0


def expired(created_us: int, seen_us: int, now_us: int, rules: Rules) -> bool:
    """Whether a session is over. A clock that stepped back ends none."""
    return now_us - seen_us > rules.idle_s * 1e6 or now_us - created_us > rules.lifetime_s * 1e6


def touch_due(seen_us: int, now_us: int) -> bool:
    """Whether it is to be written down that the session was used. A time to come is corrected: a clock was wrong."""
    return abs(now_us - seen_us) >= TOUCH_US


def in_grace(ended_us: int, now_us: int) -> bool:
    """Whether requests may still come with an id that ended then."""
    return abs(now_us - ended_us) <= GRACE_US


def behind(version: int, wanted: int) -> bool:
    """Whether a copy is older than what a cookie says its client has seen. A cookie has the last 32 bits."""
    return 0 < (wanted - version) & 0xFFFF_FFFF < 0x8000_0000
