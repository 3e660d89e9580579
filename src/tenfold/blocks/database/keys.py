"""Keys and buckets: which of the 4096 hash slots a row belongs to.

The bucket is fixed for ever, because rows are found by it: the first 12 bits of MD5 of the key's canonical text (a
whole number in decimal, a UUID in lower case with dashes, text as it is). MD5 spreads evenly and is the same function
on every backend, `substr(md5(key), 1, 3)` on PostgreSQL; nothing here relies on it being hard to reverse.
"""

from __future__ import annotations

import hashlib
import uuid

from tenfold.blocks.database.types import InvalidValue

BUCKETS = 4096
HOME_BUCKET = -1
"""Written where a row belongs to the home shard and to no bucket."""

Key = str | int | uuid.UUID


def canonical(key: object) -> str:
    """The key's canonical text; `InvalidValue` for what cannot be a key."""
    if type(key) is str:
        return key
    if isinstance(key, bool):
        raise InvalidValue(f"Found {key!r}; a key is text, a whole number or a UUID.")
    if isinstance(key, str):
        return str.__str__(key)  # a text-valued enum shows its name otherwise
    if isinstance(key, int):
        return str(int(key))
    if isinstance(key, uuid.UUID):
        return str(key)
    raise InvalidValue(f"Found {key!r}; a key is text, a whole number or a UUID.")


def bucket_of(key: object) -> int:
    """The bucket of a key, 0 to 4095."""
    try:
        text = canonical(key).encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidValue(f"Found {key!r}; a key is valid Unicode text.") from None
    digest = hashlib.md5(text, usedforsecurity=False).digest()
    return (digest[0] << 4) | (digest[1] >> 4)


def same_key(one: object, other: object) -> bool:
    """Whether two values are the same key: equal, or equal in canonical text (a UUID and its text)."""
    return one == other or canonical(one) == canonical(other)
