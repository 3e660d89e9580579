"""Links: made in one transaction each, found through the cache."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from shortener import settings
from shortener.codes import SEQUENCE_END, Permutation, hash_codes, is_reserved, permuted_code
from shortener.model import (
    ADVANCE_SEQUENCE,
    FIND_LINK,
    FIND_SEQUENCE,
    INSERT_LINK,
    INSERT_SEQUENCE,
    tf,
)
from shortener.refusal import Refusal

ATTEMPTS = 16
BLOCK = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_permutation = lru_cache(maxsize=4)(Permutation)


@dataclass(frozen=True, slots=True)
class Link:
    """A stored link. Shared by all readers of the cache, so it does not change. Times are in UTC."""

    code: str
    url: str
    created: datetime
    expires: datetime | None

    def has_ended(self, now: datetime) -> bool:
        """Whether the link is gone."""
        return self.expires is not None and self.expires <= now


@dataclass(frozen=True, slots=True)
class Wanted:
    """A link that a client asks for, already checked: canonical address, alias (None: a code is generated), end."""

    url: str
    alias: str | None = None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """What a client gets for it. `new` is False when the link was there already. A replay gets the first answer."""

    code: str
    url: str
    expires: datetime | None
    new: bool


def now() -> datetime:
    """The time, in UTC."""
    return _EPOCH + timedelta(microseconds=tf.clock.wall_us())


@tf.cache.read("link:{code}", ttl="1h", none_ttl="30s")
async def find_link(code: str) -> Link | None:
    """The link with that code, ended or not; None when there is none, which is remembered for a while too."""
    async with tf.database.read(key=code) as db:
        row = await db.one_or_none(FIND_LINK, code=code)
    return None if row is None else Link(row.code, row.url, row.created, row.expires)


async def make_link(wanted: Wanted, *, keyed: bool) -> Made:
    """Stores a link under its alias or under the next free code of the selected generator.

    `keyed` says that the request carries an Idempotency-Key: then every draw is part of a recorded transaction, so that
    a replay takes the same path. `Refusal` when the alias is taken, or when no code was free.
    """
    if wanted.alias is not None:
        made = await _store(wanted.alias, wanted, same_is_fine=True)
        if made is None:
            raise Refusal("alias", f"The alias {wanted.alias} is taken; choose another one.", status=409)
        return made
    made = await (_make_hashed(wanted) if settings.generator() == "hash" else _make_permuted(wanted, keyed))
    if made is None:
        raise Refusal("body", f"No free code was found in {ATTEMPTS} attempts; send the request again.", status=503)
    return made


async def _make_hashed(wanted: Wanted) -> Made | None:
    # Links that end have codes of their own: one that stays must not share the code of one that goes.
    variant = wanted.expires.isoformat() if wanted.expires else ""
    for code in hash_codes(wanted.url, ATTEMPTS, variant=variant):
        if made := await _store(code, wanted, same_is_fine=True):
            return made
    return None


async def _make_permuted(wanted: Wanted, keyed: bool) -> Made | None:
    for _ in range(ATTEMPTS):
        number = await take_numbers("links", 1) if keyed else await numbers.next()
        code = permuted_code(number, _permutation(settings.code_key()))
        # Taken is possible: an alias may look like a code, and an earlier key may have made it.
        if not is_reserved(code) and (made := await _store(code, wanted, same_is_fine=False)):
            return made
    return None


async def _store(code: str, wanted: Wanted, *, same_is_fine: bool) -> Made | None:
    """The stored link; None when the code leads elsewhere already."""
    stored = await insert_link(code, url=wanted.url, created=now(), expires=wanted.expires, same_is_fine=same_is_fine)
    if stored is None:
        return None
    expires = datetime.fromisoformat(stored["expires"]) if stored["expires"] else None
    return Made(stored["code"], stored["url"], expires, stored["new"])


@tf.database.transaction(key="code")
async def insert_link(
    tx: Any, code: str, *, url: str, created: datetime, expires: datetime | None, same_is_fine: bool
) -> dict[str, Any] | None:
    """Inserts a link unless its code is taken: then None, or the stored one when it is the same and that is fine.

    The result is plain data because it is kept with the commit and given again to a replay.
    """
    stored = await tx.one_or_none(FIND_LINK, code=code)
    if stored is None:
        await tx.run(INSERT_LINK, code=code, url=url, created=created, expires=expires)
        tf.cache.invalidate(tx, find_link, code)
    elif not same_is_fine or (stored.url, stored.expires) != (url, expires):
        return None
    return {"code": code, "url": url, "expires": expires.isoformat() if expires else None, "new": stored is None}


@tf.database.transaction()
async def take_numbers(tx: Any, name: str, count: int) -> int:
    """Takes `count` numbers of a sequence for good and gives the first of them."""
    first = await tx.scalar(FIND_SEQUENCE, name=name)
    if first is None:
        first = 0
        await tx.run(INSERT_SEQUENCE, name=name, next=count)
    else:
        await tx.run(ADVANCE_SEQUENCE, which=name, to=first + count)
    assert first + count <= SEQUENCE_END, "the sequence of codes is used up"
    return int(first)


class Numbers:
    """The numbers of this process: taken from the database a block at a time, handed out one by one.

    What is left of a block when the process ends is lost; there are 4,398 thousand million numbers.
    """

    def __init__(self, name: str, block: int) -> None:
        self._name = name
        self._block = block
        self._next = self._end = 0
        self._refill = asyncio.Lock()

    async def next(self) -> int:
        """A number that nobody else gets."""
        while self._next >= self._end:
            async with self._refill:
                if self._next >= self._end:
                    self._next = await take_numbers(self._name, self._block)
                    self._end = self._next + self._block
        self._next += 1
        return self._next - 1


numbers = Numbers("links", BLOCK)
