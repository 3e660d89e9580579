"""What an account leaves behind is deleted by a job: there may be many links, on all shards."""

from __future__ import annotations

from datetime import datetime

from shortener.accounts.keys import find_key
from shortener.accounts.table import DELETE_KEYS, FIND_GONE, INSERT_GONE, LIST_KEYS
from shortener.links.changing import delete_link
from shortener.links.listing import COUNT_OWNED, links_of
from shortener.model import now, tf
from tenfold import Transaction


@tf.tasks.task(name="forget-owner", timeout="10m")
async def forget_owner(owner: str) -> None:
    """Deletes the keys and links of an account that is gone. May run again at any point.

    A link that was made in the account's last moment may not be in the list yet; whoever wants to list it
    finds that the owner is gone, and has it deleted (`links.listing`).
    """
    await mark_gone(owner, now())
    after = ""
    while True:
        page = await links_of(owner, after)
        for link in page.links:
            await delete_link(link.code, owner)
        if not page.next:
            return
        after = page.next


@tf.database.transaction(key="owner")
async def mark_gone(tx: Transaction, owner: str, at: datetime) -> None:
    """Ends all keys of an owner. From now on they get no new one, and the list of their links does not grow.

    The whole list is read, so that of this and a `list_link` at the same moment, which found no owner gone, one begins
    anew: else that link could appear behind the job that deletes what is listed.
    """
    await tx.scalar(COUNT_OWNED, owner=owner)
    if await tx.one_or_none(FIND_GONE, owner=owner) is None:
        await tx.run(INSERT_GONE, owner=owner, since=at)
    for key in await tx.all(LIST_KEYS, owner=owner):
        tf.cache.invalidate(tx, find_key, owner, key.id)
    await tx.run(DELETE_KEYS, owner=owner)
