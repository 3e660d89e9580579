"""Secrets that do not show: a wrapper that never prints itself, and a filter for whatever is printed, logged or sent.

The wrapper is the rule; the filter is the net below it, for values that came from a file or a library as plain text.
"""

from __future__ import annotations

import dataclasses
import hmac
import re
from collections.abc import Mapping, Set
from typing import Any

MASK = "***"

_SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|secret|token|credential|cookie|authorization|(api|private|access|signing)[_-]?key|\bdsn\b",
    re.IGNORECASE,
)
# user:password@ in an address; the user and the host may be shown.
_IN_ADDRESS = re.compile(r"(?<=://)([^\s/:@]*):[^\s/@]*@")
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE)


class Secret:
    """A text that shows itself only through `reveal()`.

    Deliberately not a `str`: a library that wants a text gets an error instead of the secret, JSON encoders included.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself; call it only where it is handed over."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        # In constant time: the comparison may be with something that a stranger sent.
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("A Secret is not pickled; hand over what reveal() returns, where it is needed.")


def redact(value: Any) -> Any:
    """A copy made of plain dicts, lists and scalars, without secrets.

    Masked are `Secret`s, everything under a name that sounds like a secret, passwords inside addresses
    (`scheme://user:***@host`) and bearer tokens inside texts. Dataclasses and msgspec Structs become dicts.
    """
    match value:
        case Secret():
            return MASK
        case str():
            return redact_text(value)
        case Mapping():
            return {_name(key): _redact_item(key, item) for key, item in value.items()}
        case list() | tuple() | Set():
            return [redact(item) for item in value]
        case None | bool() | int() | float():
            return value
    return _redact_object(value)


def _redact_object(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    fields = _fields(value)
    return redact(fields) if fields is not None else redact_text(str(value))


def _redact_item(name: object, item: Any) -> Any:
    hidden = isinstance(name, str) and sounds_secret(name)
    return MASK if hidden and item is not None else redact(item)


def sounds_secret(name: str) -> bool:
    """Whether what stands under this name is masked."""
    return _SECRET_NAME.search(name) is not None


def redact_text(text: str) -> str:
    """The text without passwords inside addresses and without bearer tokens."""
    if "://" in text:
        text = _IN_ADDRESS.sub(rf"\1:{MASK}@", text)
    lower = text.lower()  # most texts have neither word, and the search for both is dear
    if "bearer" in lower or "basic" in lower:
        text = _BEARER.sub(rf"\1 {MASK}", text)
    return text


def _name(key: object) -> str:
    return MASK if isinstance(key, Secret) else redact_text(str(key))


def _fields(value: Any) -> dict[str, Any] | None:
    """The fields of a dataclass or Struct; None for anything else."""
    if isinstance(value, type):
        return None
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    names: tuple[str, ...] | None = getattr(value, "__struct_fields__", None)
    return None if names is None else {name: getattr(value, name) for name in names}
