"""The list of an owner's links. It lives with the owner, the links with their codes: a subscriber carries over.

What happened to a link only says that there is something to look at: the row is made like the link as it is now. So the
list is right in the end in whatever order it hears, and however often; it follows within a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Index, and_, bindparam, delete, func, insert, or_, select, update

from shortener.accounts.table import FIND_GONE
from shortener.links.changing import CHANGED, DELETED, delete_link
from shortener.links.finding import stored_link
from shortener.links.making import CREATED
from shortener.links.table import Link
from shortener.model import tf
from tenfold import Column, Event, Int64, Text, Transaction, UtcDateTime, sharded_by

PAGE = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAST = datetime(9999, 1, 1, tzinfo=UTC)

owned_links = tf.table(
    "owned_links",
    Column("owner", Text(22), primary_key=True),
    Column("code", Text(32), primary_key=True),
    Column("url", Text(2048), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime),
    Column("max_visits", Int64),
    Column("spent", UtcDateTime),
    Column("quarantined", UtcDateTime),
    Index("ix_owned_links_newest", "owner", "created", "code"),
    home=sharded_by("owner"),
)
_c = owned_links.c
_COLUMNS = (_c.owner, _c.code, _c.url, _c.created, _c.expires, _c.max_visits, _c.spent, _c.quarantined)
COUNT_OWNED = select(func.count()).select_from(owned_links).where(_c.owner == bindparam("owner"))
FIND_OWNED = select(_c.code).where(_c.owner == bindparam("owner"), _c.code == bindparam("code"))
NEWEST = (
    select(*_COLUMNS)
    .where(
        _c.owner == bindparam("owner"),
        or_(_c.created < bindparam("before"), and_(_c.created == bindparam("at"), _c.code < bindparam("code"))),
    )
    .order_by(_c.created.desc(), _c.code.desc())
    .limit(PAGE + 1)
)
INSERT_OWNED = insert(owned_links)
CHANGE_OWNED = (
    update(owned_links)
    .where(_c.owner == bindparam("of"), _c.code == bindparam("which"))
    .values(
        url=bindparam("to_url"),
        expires=bindparam("to_expires"),
        max_visits=bindparam("to_max_visits"),
        spent=bindparam("to_spent"),
        quarantined=bindparam("to_quarantined"),
    )
)
DELETE_OWNED = delete(owned_links).where(_c.owner == bindparam("owner"), _c.code == bindparam("code"))


@dataclass(frozen=True, slots=True)
class Page:
    """Links of an owner, the newest first; `next` is where the next page begins, empty on the last one."""

    links: tuple[Link, ...]
    next: str


async def links_of(owner: str, after: str = "") -> Page:
    """A page of an owner's links; `after` is `next` of the page before, and nonsense begins at the newest."""
    moment, code = _place_of(after)
    async with tf.database.read(key=owner) as db:
        rows = await db.all(NEWEST, owner=owner, before=moment, at=moment, code=code)
    links = tuple(
        Link(row.code, row.url, row.created, row.expires, row.owner, row.max_visits, row.spent, row.quarantined)
        for row in rows[:PAGE]
    )
    more = len(rows) > PAGE
    return Page(links, f"{(links[-1].created - _EPOCH) // _MICROSECOND}.{links[-1].code}" if more else "")


def _place_of(after: str) -> tuple[datetime, str]:
    digits, _, code = after.partition(".")
    if digits.isascii() and digits.isdigit() and len(digits) <= 16 and len(code) <= 32:
        return _EPOCH + int(digits) * _MICROSECOND, code
    return _LAST, ""


@tf.events.subscriber(CREATED, CHANGED, DELETED, name="owned-links", batch=200, wait="50ms", start="beginning")
async def follow_links(batch: list[Event]) -> None:
    """Makes the lists like the links that something happened to.

    One transaction for each, whatever is found: a batch that comes again must call the same ones in the same order.
    """
    for code, owner in sorted({(event.data["code"], event.data["owner"]) for event in batch}):
        link = await stored_link(code)
        await list_link(owner, code, link if link is not None and link.owner == owner else None)


@tf.database.transaction(key="owner")
async def list_link(tx: Transaction, owner: str, code: str, link: Link | None) -> None:
    """Makes an owner's list like a link as it is now; None: it is theirs no more. Once the owner is gone nothing is
    listed any more, and the link is deleted by a job."""
    if link is None:
        await tx.run(DELETE_OWNED, owner=owner, code=code)
    elif await tx.one_or_none(FIND_GONE, owner=owner) is not None:
        await tf.tasks.enqueue(tx, delete_left, code, owner)
    elif await tx.one_or_none(FIND_OWNED, owner=owner, code=code) is None:
        await tx.run(
            INSERT_OWNED, owner=owner, code=code, url=link.url, created=link.created, expires=link.expires,
            max_visits=link.max_visits, spent=link.spent, quarantined=link.quarantined,
        )  # fmt: skip
    else:
        await tx.run(
            CHANGE_OWNED, of=owner, which=code, to_url=link.url, to_expires=link.expires,
            to_max_visits=link.max_visits, to_spent=link.spent, to_quarantined=link.quarantined,
        )  # fmt: skip


@tf.tasks.task(name="delete-left")
async def delete_left(code: str, owner: str) -> None:
    """Deletes a link that an owner made while their account ended."""
    await delete_link(code, owner)
