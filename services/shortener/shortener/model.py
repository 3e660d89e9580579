"""The one `Tenfold` object of the service, its table and its statements."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select

from tenfold import Column, Tenfold, Text, UtcDateTime, sharded_by

tf = Tenfold("shortener")

links = tf.table(
    "links",
    Column("code", Text(32), primary_key=True),
    Column("url", Text(2048), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime),
    home=sharded_by("code"),
)

FIND_LINK = select(links.c.code, links.c.url, links.c.created, links.c.expires).where(links.c.code == bindparam("code"))
INSERT_LINK = insert(links)
