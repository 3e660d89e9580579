"""Keys that processes on one database tell each other to drop, as text."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

EVERYTHING = "*"
"""Stands for all keys."""


def written(keys: Iterable[str]) -> str:
    """The keys as a JSON list."""
    return msgspec.json.encode(list(keys)).decode()


def read(text: str) -> list[str] | None:
    """The keys that `written` was given; None, which says "all", for `EVERYTHING` and for what nobody wrote."""
    try:
        keys = msgspec.json.decode(text, type=list[str])
    except msgspec.MsgspecError:
        return None
    return None if EVERYTHING in keys else keys


class Told:
    """Keys that are still to be told: each once, and never more than `limit` characters; beyond, it is "all"."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._keys: dict[str, None] = {}
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._keys)

    def add(self, keys: Iterable[str]) -> None:
        """Adds keys."""
        for key in keys:
            if key in self._keys or EVERYTHING in self._keys:
                continue
            self._size += len(key)
            if self._size > self._limit:
                self._keys = {EVERYTHING: None}
                return
            self._keys[key] = None

    def keys(self) -> list[str]:
        """What is to be told."""
        return list(self._keys)

    def clear(self) -> None:
        """All of it has been told."""
        self._keys, self._size = {}, 0
