"""The table of the links, its statements, and a link as readers see it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from shortener.model import tf
from tenfold import Column, Int64, Text, UtcDateTime, sharded_by

links = tf.table(
    "links",
    Column("code", Text(32), primary_key=True),
    Column("url", Text(2048), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime),
    Column("owner", Text(22)),
    Column("max_visits", Int64),
    Column("spent", UtcDateTime),
    Column("quarantined", UtcDateTime),
    Column("quarantine_reason", Text(500)),
    Column("deleted", UtcDateTime),
    home=sharded_by("code"),
)

THIS = links.c.code == bindparam("code")
OF = links.c.code == bindparam("of")

FIND_LINK = select(*(column for column in links.c if column.name != "tf_bucket")).where(THIS)
INSERT_LINK = insert(links)
CHANGE_LINK = (
    update(links)
    .where(OF)
    .values(
        url=bindparam("to_url"),
        expires=bindparam("to_expires"),
        max_visits=bindparam("to_max_visits"),
        spent=bindparam("to_spent"),
    )
)
DELETE_LINK = (
    update(links)
    .where(OF)
    .values(url="", deleted=bindparam("at"), owner=None, expires=None, max_visits=None, quarantine_reason=None)
)
SPEND_LINK = update(links).where(OF).values(spent=bindparam("at"))
QUARANTINE_LINK = update(links).where(OF).values(quarantined=bindparam("at"), quarantine_reason=bindparam("reason"))


@dataclass(frozen=True, slots=True)
class Link:
    """A stored link. Shared by all readers of the cache, so it does not change. Times are in UTC.

    `owner` is the id of an account (None: made by nobody in particular). `spent` is when its last allowed visit was
    counted, `visits` how many had been counted when it was loaded (0 where `max_visits` is None: nobody asks). Of a
    `deleted` link only the code is left, so that nobody else gets what was printed somewhere.
    """

    code: str
    url: str
    created: datetime
    expires: datetime | None
    owner: str | None = None
    max_visits: int | None = None
    spent: datetime | None = None
    quarantined: datetime | None = None
    quarantine_reason: str | None = None
    deleted: datetime | None = None
    visits: int = 0

    def has_ended(self, moment: datetime) -> bool:
        """Whether the link is gone at `moment`: its time is over, all its visits were made, or it was deleted."""
        if self.spent is not None or self.deleted is not None:
            return True
        return self.expires is not None and self.expires <= moment

    @property
    def leads_at_once(self) -> bool:
        """Whether nothing but its end has to be looked at before a visitor is sent on."""
        return self.max_visits is None and self.quarantined is None


def link_of(row: Any) -> Link:
    """A row of the table as a link."""
    return Link(
        row.code, row.url, row.created, row.expires, row.owner, row.max_visits, row.spent, row.quarantined,
        row.quarantine_reason, row.deleted,
    )  # fmt: skip
