"""Tags: names under which entries of any function are dropped together.

An entry carries its tags; the index leads from a tag to the entries that have it. A load that began before a tag was
dropped must not store a value with that tag, and which tags a value has may be known only once it is there: so the last
drops are remembered, and a load that is older than what is remembered is not stored if it has any tag at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tenfold.blocks.cache.policy import Entry
from tenfold.core.errors import ContractError

TAG_MAX = 200
TAGS_MAX = 32
"""Tags of one value at most."""

REMEMBERED = 10_000
"""Drops that are remembered at most."""

_TAG = re.compile(r"[A-Za-z0-9_.:-]{1,200}")


def checked(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags, each once; `ContractError` for what is no tag."""
    found = tuple(dict.fromkeys(tags))
    for tag in found:
        if not isinstance(tag, str) or _TAG.fullmatch(tag) is None:
            raise ContractError(
                f"{tag!r} is not a tag.",
                hint=f"A tag is 1 to {TAG_MAX} letters, digits, '_', '.', ':' and '-', such as shop:7.",
                code="TF-CACHE-TAG",
            )
    if len(found) > TAGS_MAX:
        raise ContractError(
            f"A value has {len(found)} tags; {TAGS_MAX} are allowed.",
            hint="Tag it with what it is dropped by, not with all that is in it.",
            code="TF-CACHE-TAG",
        )
    return found


class Tags:
    """The index of one cache, and the memory of its drops."""

    def __init__(self) -> None:
        self._entries: dict[str, set[Entry]] = {}
        self._dropped: dict[str, int] = {}
        self._forgotten = 0
        self.now = 0
        """Counts drops; a load notes it when it begins."""

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """An entry with tags is in the cache."""
        for tag in entry.tags:
            self._entries.setdefault(tag, set()).add(entry)

    def remove(self, entry: Entry) -> None:
        """It is not any more."""
        for tag in entry.tags:
            if (found := self._entries.get(tag)) is not None:
                found.discard(entry)
                if not found:
                    del self._entries[tag]

    def drop(self, tag: str) -> list[Entry]:
        """The entries that have the tag; loads that are under way will not be stored with it."""
        self.now += 1
        self._dropped.pop(tag, None)
        self._dropped[tag] = self.now
        if len(self._dropped) > REMEMBERED:
            oldest = next(iter(self._dropped))
            self._forgotten = self._dropped.pop(oldest)
        return list(self._entries.get(tag, ()))

    def admits(self, tags: tuple[str, ...], since: int) -> bool:
        """Whether a value with these tags may be stored whose load began at `since`."""
        return not tags or (since >= self._forgotten and all(self._dropped.get(tag, 0) <= since for tag in tags))
