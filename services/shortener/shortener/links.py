"""Links: made in one transaction each, found through the cache."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from shortener import settings
from shortener.codes import Permutation, hash_codes, is_reserved, permuted_code
from shortener.model import FIND_LINK, INSERT_LINK, tf
from shortener.refusal import Refusal
from tenfold import Transaction

ATTEMPTS = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_permutation = lru_cache(maxsize=4)(Permutation)


@dataclass(frozen=True, slots=True)
class Link:
    """A stored link. Shared by all readers of the cache, so it does not change. Times are in UTC."""

    code: str
    url: str
    created: datetime
    expires: datetime | None

    def has_ended(self, moment: datetime) -> bool:
        """Whether the link is gone at `moment`."""
        return self.expires is not None and self.expires <= moment


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


async def make_link(wanted: Wanted) -> Made:
    """Stores a link under its alias or under the next free code of the selected generator.

    `Refusal` when the alias leads elsewhere, or when no code was free. In a request with an Idempotency-Key all draws
    and transactions repeat themselves, so the same link comes out.
    """
    if wanted.alias is not None:
        made = await insert_link(wanted.alias, wanted, now(), same_is_fine=True)
        if made is None:
            raise Refusal("alias", f"The alias {wanted.alias} is taken; choose another one.", status=409)
        return made
    made = await (_make_hashed(wanted) if settings.generator() == "hash" else _make_permuted(wanted))
    if made is None:
        raise Refusal("body", f"No free code was found in {ATTEMPTS} attempts; send the request again.", status=503)
    return made


async def _make_hashed(wanted: Wanted) -> Made | None:
    # Links that end have codes of their own: one that stays must not share the code of one that goes.
    variant = str(tf.ids.uuid7()) if wanted.expires else ""
    for code in hash_codes(wanted.url, ATTEMPTS, variant=variant):
        if made := await insert_link(code, wanted, now(), same_is_fine=True):
            return made
    return None


async def _make_permuted(wanted: Wanted) -> Made | None:
    for _ in range(ATTEMPTS):
        code = permuted_code(await tf.ids.sequence("links"), _permutation(settings.code_key()))
        # Taken is possible: an alias may look like a code, and an earlier key may have made it.
        if not is_reserved(code) and (made := await insert_link(code, wanted, now(), same_is_fine=False)):
            return made
    return None


@tf.database.transaction(key="code")
async def insert_link(
    tx: Transaction, code: str, wanted: Wanted, created: datetime, *, same_is_fine: bool
) -> Made | None:
    """Inserts a link under a free code. When the code is taken: None, or the stored link when it is the same one and
    that is fine."""
    stored = await tx.one_or_none(FIND_LINK, code=code)
    if stored is None:
        await tx.run(INSERT_LINK, code=code, url=wanted.url, created=created, expires=wanted.expires)
        tf.cache.invalidate(tx, find_link, code)
    elif not same_is_fine or (stored.url, stored.expires) != (wanted.url, wanted.expires):
        return None
    return Made(code, wanted.url, wanted.expires, new=stored is None)
