"""The tables, the statements, and the one `Tenfold` object of the service."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select, update

from tenfold import Column, Int64, Tenfold, Text, UtcDateTime, home, sharded_by

tf = Tenfold("shortener")

links = tf.table(
    "links",
    Column("code", Text(32), primary_key=True),
    Column("url", Text(2048), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime),
    home=sharded_by("code"),
)

# One row: the first number that no process has taken yet. Processes take blocks, so it is seldom written.
sequences = tf.table(
    "sequences",
    Column("name", Text(32), primary_key=True),
    Column("next", Int64, nullable=False),
    home=home(),
)

FIND_LINK = select(links.c.code, links.c.url, links.c.created, links.c.expires).where(links.c.code == bindparam("code"))
INSERT_LINK = insert(links)

FIND_SEQUENCE = select(sequences.c.next).where(sequences.c.name == bindparam("name"))
INSERT_SEQUENCE = insert(sequences)
ADVANCE_SEQUENCE = update(sequences).where(sequences.c.name == bindparam("which")).values(next=bindparam("to"))
