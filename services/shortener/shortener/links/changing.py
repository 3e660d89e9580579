"""Links changed: by their owner (edit, delete), by an administrator (quarantine, release).

Each drops the cached link with its transaction, so that no process sends anybody to the old target once the one who
changed it has the answer (10 ms later in other processes).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from shortener.links.finding import find_link
from shortener.links.table import CHANGE_LINK, DELETE_LINK, FIND_LINK, QUARANTINE_LINK, Link, link_of
from shortener.measures import QUARANTINED
from shortener.model import now, tf
from shortener.visits.table import DELETE_DAYS, DELETE_TOTAL, FIND_TOTAL
from tenfold import Transaction

CHANGED = "link.changed"
DELETED = "link.deleted"

Unset = msgspec.UnsetType
UNSET = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Change:
    """What an owner wants different; what is UNSET stays. `expires` and `max_visits` None: no such end."""

    url: str | Unset = UNSET
    expires: datetime | Unset | None = UNSET
    max_visits: int | Unset | None = UNSET

    def applied(self, link: Link) -> Link:
        """The link as it is to be."""
        wanted = {name: getattr(self, name) for name in ("url", "expires", "max_visits")}
        return replace(link, **{name: value for name, value in wanted.items() if value is not UNSET})


async def change_link(code: str, owner: str, change: Change) -> Link | None:
    """The link of `owner` after the change; None when there is no such link of theirs."""
    return await _change(code, owner, change, now())


@tf.database.transaction(key="code")
async def _change(tx: Transaction, code: str, owner: str, change: Change, at: datetime) -> Link | None:
    link = await _owned(tx, code, owner)
    if link is None:
        return None
    wanted = change.applied(link)
    total = await tx.one_or_none(FIND_TOTAL, code=code)
    used_up = total is not None and wanted.max_visits is not None and total.count >= wanted.max_visits
    wanted = replace(wanted, spent=(link.spent or at) if used_up else None)
    await tx.run(
        CHANGE_LINK, of=code, to_url=wanted.url, to_expires=wanted.expires, to_max_visits=wanted.max_visits,
        to_spent=wanted.spent,
    )  # fmt: skip
    await _tell(tx, CHANGED, code, owner)
    return wanted


async def delete_link(code: str, owner: str) -> bool:
    """Deletes a link of `owner` and all its figures; False when there is no such link of theirs.

    Its code is kept and answers 410: it may be printed somewhere, and must not lead to somebody else's target.
    """
    return await _delete(code, owner, now())


@tf.database.transaction(key="code")
async def _delete(tx: Transaction, code: str, owner: str, at: datetime) -> bool:
    if await _owned(tx, code, owner) is None:
        return False
    await tx.run(DELETE_LINK, of=code, at=at)
    await tx.run(DELETE_DAYS, code=code)
    await tx.run(DELETE_TOTAL, code=code)
    await _tell(tx, DELETED, code, owner)
    return True


async def quarantine(code: str, reason: str) -> Link | None:
    """Puts a warning before a link, at once and everywhere; None when there is no such link."""
    link = await _quarantine(code, reason, now())
    if link is not None:
        QUARANTINED.add()
        tf.log.warning("link quarantined", code=code, reason=reason)
    return link


async def release(code: str) -> Link | None:
    """Takes the warning away; None when there is no such link."""
    link = await _quarantine(code, None, None)
    if link is not None:
        tf.log.info("link released", code=code)
    return link


@tf.database.transaction(key="code")
async def _quarantine(tx: Transaction, code: str, reason: str | None, at: datetime | None) -> Link | None:
    row = await tx.one_or_none(FIND_LINK, code=code)
    if row is None or row.deleted is not None:
        return None
    await tx.run(QUARANTINE_LINK, of=code, at=at, reason=reason)
    await _tell(tx, CHANGED, code, row.owner)
    return replace(link_of(row), quarantined=at, quarantine_reason=reason)


async def _owned(tx: Transaction, code: str, owner: str) -> Link | None:
    row = await tx.one_or_none(FIND_LINK, code=code)
    return link_of(row) if row is not None and row.owner == owner and row.deleted is None else None


async def _tell(tx: Transaction, what: str, code: str, owner: str | None) -> None:
    tf.cache.invalidate(tx, find_link, code)
    if owner is not None:
        await tf.events.publish(tx, what, {"code": code, "owner": owner})
