"""Links made, in one transaction each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from shortener import settings
from shortener.links.codes import Permutation, hash_codes, is_reserved, permuted_code
from shortener.links.finding import find_link
from shortener.links.table import FIND_LINK, INSERT_LINK, link_of
from shortener.measures import LINKS_MADE
from shortener.model import now, tf
from shortener.refusal import Refusal
from tenfold import Transaction

CREATED = "link.created"
ATTEMPTS = 16
_permutation = lru_cache(maxsize=4)(Permutation)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A link that a client asks for, already checked: canonical address, alias (None: a code is generated), end, visits
    that it is good for (None: any number), and the account whose link it becomes (None: nobody's)."""

    url: str
    alias: str | None = None
    expires: datetime | None = None
    max_visits: int | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """What a client gets for it. `new` is False when the link was there already. A replay gets the first answer."""

    code: str
    url: str
    expires: datetime | None
    new: bool
    max_visits: int | None = None


async def make_link(wanted: Wanted) -> Made:
    """Stores a link under its alias or under the next free code of the selected generator.

    `Refusal` when the alias leads elsewhere, or when no code was free. In a request with an Idempotency-Key all draws
    and transactions repeat themselves, so the same link comes out.
    """
    if wanted.alias is not None:
        made = await insert_link(wanted.alias, wanted, now(), same_is_fine=True)
        if made is None:
            raise Refusal("alias", "alias.taken", status=409, alias=wanted.alias)
    else:
        made = await (_make_hashed(wanted) if settings.generator() == "hash" else _make_permuted(wanted))
        if made is None:
            raise Refusal("body", "code.none_free", status=503, attempts=ATTEMPTS)
    if made.new:
        LINKS_MADE.add(by="nobody" if wanted.owner is None else "account")
    return made


async def _make_hashed(wanted: Wanted) -> Made | None:
    # Links that end, and those of an account, have codes of their own: what stays must not share the code of what goes.
    apart = wanted.expires or wanted.max_visits or wanted.owner
    variant = str(tf.ids.uuid7()) if apart else ""
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
    """Inserts a link under a free code. When the code is taken: None, or the stored link when it is the same one, has
    not ended, and that is fine. The list of an owner's links follows."""
    stored = await tx.one_or_none(FIND_LINK, code=code)
    if stored is None:
        await tx.run(
            INSERT_LINK, code=code, url=wanted.url, created=created, expires=wanted.expires, owner=wanted.owner,
            max_visits=wanted.max_visits,
        )  # fmt: skip
        tf.cache.invalidate(tx, find_link, code)
        if wanted.owner is not None:
            await tf.events.publish(tx, CREATED, {"code": code, "owner": wanted.owner})
    elif not same_is_fine or not _is_same(stored, wanted) or link_of(stored).has_ended(created):
        return None
    return Made(code, wanted.url, wanted.expires, stored is None, wanted.max_visits)


def _is_same(stored: object, wanted: Wanted) -> bool:
    names = ("url", "expires", "max_visits", "owner")
    return all(getattr(stored, name) == getattr(wanted, name) for name in names)
