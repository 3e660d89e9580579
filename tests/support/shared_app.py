"""A service whose every request can be checked afterwards: counters that add, ids that nobody may draw twice."""

from __future__ import annotations

import json
import os
from typing import Any

from sqlalchemy import Column, bindparam, insert, select, update

from tenfold import MISSING, Tenfold, Transaction, home, sharded_by
from tenfold.blocks.database.types import Int64, Text

tf = Tenfold("victim")
counters = tf.table(
    "counters", Column("name", Text(40), primary_key=True), Column("value", Int64()), home=sharded_by("name")
)
drawn = tf.table("drawn", Column("id", Text(60), primary_key=True), Column("pid", Int64()), home=home())

FIND = select(counters.c.value).where(counters.c.name == bindparam("name"))
FIRST = insert(counters)
SET = update(counters).where(counters.c.name == bindparam("of"))
DRAW = insert(drawn)


@tf.cache.read("counter:{name}", ttl="1h")
async def remembered(name: str) -> int:
    """The counter's value, from this process's memory while nobody has changed it."""
    async with tf.database.read(key=name) as db:
        row = await db.one_or_none(FIND, name=name)
    return 0 if row is None else row.value


@tf.database.transaction(key="name")
async def add(tx: Transaction, name: str) -> int:
    """Adds one, by reading first: two at once would lose one if they were not kept apart."""
    row = await tx.one_or_none(FIND, name=name)
    value = 1 if row is None else row.value + 1
    await (tx.run(FIRST, name=name, value=value) if row is None else tx.run(SET, of=name, value=value))
    tf.cache.invalidate(tx, remembered, name)
    return value


@tf.database.transaction()
async def note(tx: Transaction, found: str) -> None:
    """Writes an id down, which fails when another process has drawn it too."""
    await tx.run(DRAW, id=found, pid=os.getpid())


async def answers(scope: Any, receive: Any, send: Any) -> None:
    """POST /add/NAME, GET /value/NAME, GET /remembered/NAME, POST /draw."""
    if scope["type"] != "http":
        raise RuntimeError("only http")
    _, what, *rest = scope["path"].split("/")
    answer: dict[str, Any] = {"pid": os.getpid()}
    if what == "add":
        answer["value"] = await add(name=rest[0])
    elif what == "remembered":
        answer["known"] = int(remembered.peek(rest[0]) is not MISSING)
        answer["value"] = await remembered(rest[0])
    elif what == "value":
        async with tf.database.read(key=rest[0]) as db:
            row = await db.one_or_none(FIND, name=rest[0])
        answer["value"] = 0 if row is None else row.value
    else:
        for found in (f"s{await tf.ids.sequence('order')}", f"f{tf.ids.snowflake()}", f"u{tf.ids.uuid7()}"):
            await note(found)
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


app = tf.asgi(answers)
