"""The cursors in the database: registering, leasing, moving on. Every write of a holder names its epoch, so one that
was paused and has been replaced changes nothing any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, update

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.commits import commit_id
from tenfold.blocks.database.keys import HOME_BUCKET
from tenfold.blocks.database.own.events import tf_cursor, tf_parked
from tenfold.blocks.database.schema import tf_commit
from tenfold.blocks.events import log
from tenfold.blocks.events.event import Event, event
from tenfold.blocks.events.policy import Cursor, Sighting, halved, may_take, parked, sighted
from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict

Start = Literal["now", "beginning"]
PAGE = 1_000
"""Parked events that are read at once; of the last one, what every subscriber has of it."""

_C, _P = tf_cursor.c, tf_parked.c
_STATE = ("position", "upto", "topics", "size", "until", "attempts", "drawn", "streak", "error")
_ALL = select(tf_cursor).order_by(_C.name)
_FIND = select(tf_cursor).where(_C.name == bindparam("of"))
_ADD = insert(tf_cursor)
_SEEN = update(tf_cursor).where(_C.name == bindparam("of")).values(seen_us=bindparam("now_us"))
_TAKE = (
    update(tf_cursor)
    .where(_C.name == bindparam("of"), _C.epoch == bindparam("old"), _C.beat == bindparam("last"))
    .values(holder=bindparam("me"), epoch=_C.epoch + 1, beat=0, seen_us=bindparam("now_us"))
)
_HELD = update(tf_cursor).where(_C.name == bindparam("of"), _C.epoch == bindparam("at_epoch"))
_BEAT = _HELD.values(beat=_C.beat + 1, seen_us=bindparam("now_us"))
_STILL_HELD = _HELD.values(beat=_C.beat + 1)
_RELEASE = _HELD.values(beat=_C.beat + 1, holder="")
_SAVE = _HELD.values(beat=_C.beat + 1, **{name: bindparam(f"new_{name}") for name in _STATE})
_PARK = insert(tf_parked)
_PARKED = select(tf_parked).where(_P.name == bindparam("of"), _P.seq > bindparam("after")).order_by(_P.seq).limit(PAGE)
_ANY_PARKED = select(tf_parked).where(_P.seq > bindparam("after")).order_by(_P.seq, _P.name).limit(PAGE)
_REST_PARKED = (
    select(tf_parked).where(_P.seq == bindparam("number"), _P.name > bindparam("behind")).order_by(_P.name).limit(PAGE)
)
_COUNTS = select(_P.name, func.count().label("parked")).group_by(_P.name)
_ASKED = select(_P.batch).where(_P.name == bindparam("of"), _P.again > 0).order_by(_P.seq).limit(1)
_BATCH = select(tf_parked).where(_P.name == bindparam("of"), _P.batch == bindparam("in_batch")).order_by(_P.seq)
_OF_EVENT = select(_P.batch).where(_P.name == bindparam("of"), _P.seq == bindparam("number"))
_ASK = update(tf_parked).where(_P.name == bindparam("of"), _P.batch == bindparam("in_batch")).values(again=1)
_ASK_ALL = update(tf_parked).where(_P.name == bindparam("of")).values(again=1)
_IN_BATCH = (_P.name == bindparam("of"), _P.batch == bindparam("in_batch"))
_UNPARK = delete(tf_parked).where(*_IN_BATCH)
_STILL = update(tf_parked).where(*_IN_BATCH).values(again=0, error=bindparam("new_error"))
_SPEND = insert(tf_commit)
_COMMITTED = select(tf_commit.c.id).where(tf_commit.c.id.in_(bindparam("ids", expanding=True))).limit(1)

_CUT = b"cut"
"""The fingerprint of transactions that a batch will never do: no handler's is like it."""


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """An event that a subscriber could not handle. Those of one `batch` are replayed together."""

    subscriber: str
    event: Event
    batch: str
    error: str
    parked_us: int
    asked: bool
    """Whether it is to be replayed."""


@dataclass(frozen=True, slots=True)
class Row:
    """A cursor as the database has it."""

    cursor: Cursor
    holder: str
    epoch: int
    beat: int
    seen_us: int


def _row(found: Any) -> Row:
    state = {name: getattr(found, name) for name in _STATE}
    state["topics"] = tuple(msgspec.json.decode(found.topics, type=list[str]))
    return Row(Cursor(found.name, **state), found.holder, found.epoch, found.beat, found.seen_us)


def _topics(topics: Sequence[str]) -> str:
    return msgspec.json.encode(list(topics)).decode()


def _saved(cursor: Cursor) -> dict[str, Any]:
    state = {f"new_{name}": getattr(cursor, name) for name in _STATE}
    return {**state, "new_topics": _topics(cursor.topics)}


class Cursors:
    """All that is done to `tf_cursor` and `tf_parked`. `me` names this process's lifetime as a holder."""

    def __init__(self, database: Database, clock: Clock, me: str) -> None:
        self.me = me
        self._database = database
        self._clock = clock
        one = database.transaction(isolation="read committed")
        self._register = one(_register)
        self._take = one(_take)
        self._beat = one(_beat)
        self._save = one(_save)
        self._halve = one(_halve)
        self._release = one(_release)
        self._ask = one(_ask)
        self._finish = one(_finish)

    async def register(self, name: str, topics: tuple[str, ...], start: Start) -> None:
        """Makes the cursor of a subscriber unless there is one. From then on no event is pruned before it has it."""
        while True:
            try:
                await self._register(name, _topics(topics), start == "now", self._clock.wall_us())
            except Conflict:  # another process did it at the same moment
                continue
            return

    async def find(self, name: str) -> Row | None:
        """The cursor of a subscriber."""
        async with self._database.read(consistency="strong") as db:
            found = await db.one_or_none(_FIND, of=name)
        return None if found is None else _row(found)

    async def all(self) -> list[Row]:
        """All cursors, those that nobody uses any more too."""
        async with self._database.read(consistency="strong") as db:
            return [_row(found) for found in await db.all(_ALL)]

    async def take(self, name: str, before: Sighting | None) -> tuple[Row | None, Sighting | None]:
        """The cursor if it can be had, with its new epoch and the holder before; else what was seen of its holder."""
        found = await self.find(name)
        if found is None:
            return None, None
        now = self._clock.monotonic()
        seen = sighted(before, found.epoch, found.beat, now)
        if found.holder != self.me and not may_take(found.holder, seen, now):
            return None, seen
        if not await self._take(found, self.me, self._clock.wall_us()):
            return None, seen
        return replace(found, epoch=found.epoch + 1), None

    async def beat(self, held: list[tuple[str, int]]) -> list[str]:
        """Says that the holder of these (name, epoch) is alive; the names of those that another one has taken."""
        return await self._beat([list(each) for each in held], self._clock.wall_us())

    async def save(self, cursor: Cursor, epoch: int) -> bool:
        """Writes the cursor; False, and nothing is written, when another holder has taken it."""
        return await self._save(cursor, epoch, None)

    async def park(self, cursor: Cursor, epoch: int, events: list[Event]) -> Cursor | None:
        """Puts the batch in hand aside: the cursor behind it; None when another holder has taken it."""
        moved = parked(cursor)
        rows = _parked_rows(cursor, events, self._clock.wall_us())
        return moved if await self._save(moved, epoch, rows) else None

    async def halve(self, cursor: Cursor, epoch: int, count: int, transactions: int) -> Cursor | None:
        """Gives the batch in hand, of `count` events, back to be taken in smaller ones; None when another one has it.

        Its first `transactions` can commit nothing any more: whoever still runs it, because it was paused, is refused.
        `Conflict`, and nothing is written, when one of them has committed.
        """
        smaller, now_us = halved(cursor, count), self._clock.wall_us()
        spent = {"bucket": HOME_BUCKET, "fingerprint": _CUT, "result": "null", "at_us": now_us}
        rows = [{"id": each, **spent} for each in _ids(cursor.scope_key, transactions)]
        return smaller if await self._halve(smaller, epoch, rows) else None

    async def release(self, name: str, epoch: int) -> None:
        """Lets another process take it at once."""
        await self._release(name, epoch)

    async def committed(self, scope_key: str, transactions: int) -> bool:
        """Whether one of the first transactions of a batch has committed."""
        async with self._database.read(consistency="strong") as db:
            return bool(await db.all(_COMMITTED, ids=_ids(scope_key, transactions)))

    # -- parked events ------------------------------------------------------------------------------------------------

    async def parked(self, name: str | None, after: int) -> list[ParkedEvent]:
        """`PAGE` parked events with numbers above `after`, of one subscriber or of all; the last number whole."""
        async with self._database.read(consistency="strong") as db:
            if name is None:
                rows = await db.all(_ANY_PARKED, after=after)
                if len(rows) == PAGE:
                    rows += await db.all(_REST_PARKED, number=rows[-1].seq, behind=rows[-1].name)
            else:
                rows = await db.all(_PARKED, of=name, after=after)
        return [_parked_event(row) for row in rows]

    async def parked_counts(self) -> dict[str, int]:
        """How many events each subscriber has parked."""
        async with self._database.read(consistency="strong") as db:
            return {row.name: row.parked for row in await db.all(_COUNTS)}

    async def ask(self, name: str, seq: int | None) -> int:
        """Asks for a replay of a parked event, with the others of its batch, or of all; how many events that are."""
        return await self._ask(name, seq)

    async def asked(self, name: str) -> list[ParkedEvent]:
        """The next batch whose replay was asked for; empty without one."""
        async with self._database.read(consistency="strong") as db:
            batch = await db.scalar(_ASKED, of=name)
            rows = [] if batch is None else await db.all(_BATCH, of=name, in_batch=batch)
        return [_parked_event(row) for row in rows]

    async def finish(self, name: str, epoch: int, batch: str, error: str | None) -> bool:
        """After a replay: the batch is gone, or parked as before with a new error. False when the lease is lost."""
        return await self._finish(name, epoch, batch, error)


def _ids(scope_key: str, transactions: int) -> list[bytes]:
    return [commit_id(scope_key, ordinal) for ordinal in range(transactions)]


def _parked_event(row: Any) -> ParkedEvent:
    return ParkedEvent(row.name, event(row), row.batch, row.error, row.parked_us, bool(row.again))


def _parked_rows(cursor: Cursor, events: list[Event], now_us: int) -> list[dict[str, Any]]:
    return [
        {
            "name": cursor.name,
            "seq": each.seq,
            "batch": cursor.scope_key.replace("\0", "/"),
            "topic": each.topic,
            "at_us": each.at_us,
            "data": msgspec.json.encode(each.data).decode(),
            "error": cursor.error,
            "parked_us": now_us,
            "again": 0,
        }
        for each in events
    ]


async def _register(tx: Transaction, name: str, topics: str, now: bool, now_us: int) -> None:
    if await tx.run(_SEEN, of=name, now_us=now_us):
        return
    position = await log.newest(tx) if now else 0
    new = dict.fromkeys(("size", "until", "attempts", "drawn", "streak", "failed_us", "epoch", "beat"), 0)
    texts = {"name": name, "topics": topics, "error": "", "holder": ""}
    await tx.run(_ADD, position=position, upto=position, seen_us=now_us, **new, **texts)


async def _take(tx: Transaction, found: Row, me: str, now_us: int) -> bool:
    taken = await tx.run(_TAKE, of=found.cursor.name, me=me, old=found.epoch, last=found.beat, now_us=now_us)
    return bool(taken)


async def _beat(tx: Transaction, held: list[list[Any]], now_us: int) -> list[str]:
    return [name for name, epoch in held if not await tx.run(_BEAT, of=name, at_epoch=epoch, now_us=now_us)]


async def _save(tx: Transaction, cursor: Cursor, epoch: int, rows: list[dict[str, Any]] | None) -> bool:
    if not await tx.run(_SAVE, of=cursor.name, at_epoch=epoch, **_saved(cursor)):
        return False
    if rows:
        await tx.run_many(_PARK, rows)
    return True


async def _halve(tx: Transaction, cursor: Cursor, epoch: int, spent: list[dict[str, Any]]) -> bool:
    if not await _save(tx, cursor, epoch, None):
        return False
    await tx.run_many(_SPEND, spent)
    return True


async def _release(tx: Transaction, name: str, epoch: int) -> None:
    await tx.run(_RELEASE, of=name, at_epoch=epoch)


async def _ask(tx: Transaction, name: str, seq: int | None) -> int:
    tx.announce(log.NEWS)
    if seq is None:
        return await tx.run(_ASK_ALL, of=name)
    batch = await tx.scalar(_OF_EVENT, of=name, number=seq)
    return 0 if batch is None else await tx.run(_ASK, of=name, in_batch=batch)


async def _finish(tx: Transaction, name: str, epoch: int, batch: str, error: str | None) -> bool:
    if not await tx.run(_STILL_HELD, of=name, at_epoch=epoch):
        return False
    if error is None:
        await tx.run(_UNPARK, of=name, in_batch=batch)
    else:
        await tx.run(_STILL, of=name, in_batch=batch, new_error=error)
    return True
