"""Links found through the cache."""

from __future__ import annotations

from dataclasses import replace

from starlette.exceptions import HTTPException

from shortener.links.codes import looks_like_code
from shortener.links.table import FIND_LINK, Link, link_of
from shortener.model import now, tf
from shortener.visits.table import FIND_TOTAL


@tf.cache.read("link:{code}", ttl="1h", none_ttl="30s")
async def find_link(code: str) -> Link | None:
    """The link with that code, ended or not; None when there is none, which is remembered for a while too."""
    async with tf.database.read(key=code) as db:
        row = await db.one_or_none(FIND_LINK, code=code)
        if row is None or row.max_visits is None:
            return None if row is None else link_of(row)
        total = await db.one_or_none(FIND_TOTAL, code=code)
    return replace(link_of(row), visits=0 if total is None else total.count)


async def stored_link(code: str) -> Link | None:
    """The link with that code as the database has it, past the cache and at the newest; None when there is none."""
    async with tf.database.read(key=code, consistency="strong") as db:
        row = await db.one_or_none(FIND_LINK, code=code)
    return None if row is None else link_of(row)


async def live_link(code: str) -> Link:
    """The link with that code; HTTPException 404 when there is none, 410 when it has ended. It may be quarantined."""
    link = await find_link(code) if looks_like_code(code) else None
    if link is None:
        raise HTTPException(404, "error.no_link")
    if link.has_ended(now()):
        raise HTTPException(410, "error.ended")
    return link
