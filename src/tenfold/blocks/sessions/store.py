"""Sessions in the database: what is read, and the transactions that change them.

A row is locked, changed and written in one transaction (READ COMMITTED with FOR UPDATE where writers run side by side;
on SQLite they run one after another anyway), so changes of two requests queue up instead of colliding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, insert, or_, select, update

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.own.sessions import tf_session
from tenfold.blocks.sessions.memory import Memory, Record
from tenfold.blocks.sessions.policy import TOUCH_US, Patch, Rules, encoded, expired, in_grace, patched
from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict

TOPIC = "tf:session"
SWEEP_ROWS = 500
"""Rows removed in one transaction at most, so that clearing up never holds writers for long."""
SWEEP_AFTER_US = 3_600_000_000
"""How long a session that is over stays for a clock that was set wrong for a moment."""
SESSIONS_SHOWN = 1_000

_t = tf_session.c
_FIND = select(tf_session).where(_t.id == bindparam("id"))
_LOCK = _FIND.with_for_update()
_MAKE = insert(tf_session)
_WRITE = (
    update(tf_session)
    .where(_t.id == bindparam("of"))
    .values(version=bindparam("to_version"), seen_us=bindparam("now"), data=bindparam("to_data"))
)
_END = (
    update(tf_session)
    .where(_t.id == bindparam("of"))
    .values(owner=None, seen_us=0, ended_us=bindparam("now"), heir=bindparam("to_heir"), data=bindparam("to_data"))
)
_TOUCH = (
    update(tf_session)
    .where(
        _t.id == bindparam("of"),
        _t.ended_us == 0,
        or_(_t.seen_us <= bindparam("before"), _t.seen_us >= bindparam("after")),
    )
    .values(seen_us=bindparam("now"))
)
_DROP = delete(tf_session).where(_t.id == bindparam("id"))
_DROP_OF = delete(tf_session).where(_t.owner == bindparam("owner")).returning(_t.id)
_OF = (
    select(_t.id, _t.created_us, _t.seen_us)
    .where(_t.owner == bindparam("owner"))
    .order_by(_t.seen_us.desc())
    .limit(SESSIONS_SHOWN)
)
_OVER = select(_t.id).where(_t.seen_us < bindparam("before"), _t.ended_us < bindparam("ended")).limit(SWEEP_ROWS)
_SWEEP = delete(tf_session).where(
    _t.id.in_(bindparam("ids", expanding=True)), _t.seen_us < bindparam("before"), _t.ended_us < bindparam("ended")
)


@dataclass(frozen=True, slots=True)
class Found:
    """What an id leads to: a session, or the one that took its place; a `frozen` one is over and can only be read."""

    record: Record
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What one request wants of the sessions, in one transaction.

    `base`: the session that it came with; `drop`: one that it ends. With `new`, another id takes the place of `base`:
    its owner becomes `owner`, and with `fresh` its lifetime begins anew.
    """

    base: bytes | None = None
    drop: bytes | None = None
    new: bytes | None = None
    owner: str | None = None
    fresh: bool = False
    patch: Patch = field(default_factory=dict)


class Outcome(msgspec.Struct, frozen=True):
    """What became of a plan: the session that holds its changes (empty: none is left), and its version."""

    id: bytes = b""
    version: int = 0


class Store:
    """The sessions of one service; tells `memory` and the other processes of each change."""

    def __init__(self, database: Database, clock: Clock, memory: Memory) -> None:
        self.rules = Rules()
        self._database = database
        self._clock = clock
        self._memory = memory
        one_row, several = database.transaction(isolation="read committed"), database.transaction(isolation="snapshot")
        self.commit = one_row(self._commit)
        self.touch = one_row(self._touch)
        self.revoke = one_row(self._revoke)
        self.revoke_all = several(self._revoke_all)
        self._sweep_some = one_row(self._sweep)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def load(self, id_: bytes, version: int | None) -> Found | None:
        """The session behind an id; None when there is none, or none any more. `version` is the least it must be at."""
        mark = self._memory.loading(id_)
        found = None
        try:
            found = await self._found(id_, "session")
            if found is None or (version is not None and found.record.version < version):
                found = await self._found(id_, "strong")
        finally:
            now = self._clock.monotonic()
            self._memory.loaded(id_, mark, found.record if found and not found.frozen else None, now)
        return found

    async def _found(self, id_: bytes, consistency: Any) -> Found | None:
        now = self._clock.wall_us()
        async with self._database.read(consistency=consistency) as db:
            row = await db.one_or_none(_FIND, id=id_)
            if row is None:
                return None
            if row.ended_us:
                if not in_grace(row.ended_us, now):
                    return None
                if row.heir is None:
                    return Found(_record(row), frozen=True)
                row = await db.one_or_none(_FIND, id=row.heir)
        if row is None or row.ended_us or expired(row.created_us, row.seen_us, now, self.rules):
            return None
        return Found(_record(row))

    async def of(self, owner: str) -> list[Any]:
        """Rows of a user's sessions: id, created_us, seen_us; the one that was used last comes first."""
        now = self._clock.wall_us()
        async with self._database.read() as db:
            rows = await db.all(_OF, owner=owner)
        return [row for row in rows if not expired(row.created_us, row.seen_us, now, self.rules)]

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _commit(self, tx: Transaction, plan: Plan) -> Outcome:
        if plan.drop is not None:
            await self._end_chain(tx, plan.drop)
        if plan.new is not None:
            return await self._renew(tx, plan, plan.new)
        if plan.base is None:
            return Outcome()
        row = await self._living(tx, plan.base)
        return self._ended(tx, plan.base) if row is None else await self._save(tx, row, plan.patch)

    def _ended(self, tx: Transaction, id_: bytes) -> Outcome:
        """It was revoked meanwhile, and nothing of this request brings it back."""
        tx.on_commit(lambda: self._memory.drop(id_))
        return Outcome()

    async def _save(self, tx: Transaction, row: Any, patch: Patch) -> Outcome:
        now, values = self._clock.wall_us(), patched(msgspec.json.decode(row.data), patch)
        text, version = encoded(values), row.version + 1
        await tx.run(_WRITE, of=row.id, to_version=version, now=now, to_data=text)
        self._announce(tx, row.id)
        self._keep(tx, Record(row.id, row.owner, version, row.created_us, now, values, len(text)))
        return Outcome(row.id, version)

    async def _renew(self, tx: Transaction, plan: Plan, new: bytes) -> Outcome:
        now, values, row = self._clock.wall_us(), dict[str, Any](), None
        created = now
        if plan.base is not None:
            row = await self._living(tx, plan.base, barrier=False)
            if row is None and not plan.fresh:
                return self._ended(tx, plan.base)
        if row is not None:
            if row.owner is None or row.owner == plan.owner:
                values = msgspec.json.decode(row.data)
            if not plan.fresh:
                created = row.created_us
            if row.id == plan.base and not row.ended_us:
                await self._succeed(tx, row, plan.owner, new)
        values = patched(values, plan.patch)
        text = encoded(values)
        await tx.run(
            _MAKE, id=new, owner=plan.owner, version=1, created_us=created, seen_us=now, ended_us=0, heir=None,
            data=text,
        )  # fmt: skip
        self._keep(tx, Record(new, plan.owner, 1, created, now, values, len(text)))
        return Outcome(new, 1)

    async def _succeed(self, tx: Transaction, row: Any, owner: str | None, new: bytes) -> None:
        """Ends an id whose place another one takes.

        Requests that are still on their way with it see the new session when that is the same user's. When somebody
        signed in, they see what was there before and nothing of the user's: whoever planted the id gains nothing.
        """
        now = self._clock.wall_us()
        if row.owner == owner:
            await tx.run(_END, of=row.id, now=now, to_heir=new, to_data="{}")
        elif row.owner is None:
            await tx.run(_END, of=row.id, now=now, to_heir=None, to_data=row.data)
        else:
            await tx.run(_DROP, id=row.id)
        self._gone(tx, row.id)

    async def _living(self, tx: Transaction, id_: bytes, *, barrier: bool = True) -> Any:
        """The locked row of a session in use, or of the one that took its place; None when there is none any more.

        With `barrier`, `Conflict` when somebody signed in meanwhile: a change would be lost, or reach that user.
        """
        now = self._clock.wall_us()
        row = await tx.one_or_none(_LOCK, id=id_)
        if row is not None and row.ended_us:
            if not in_grace(row.ended_us, now):
                return None
            if row.heir is None:
                if barrier:
                    raise Conflict(
                        "Somebody signed in with this session while the request was on its way.",
                        hint="Send the request again; the browser has a new cookie by now.",
                        code="TF-SESSION-RENEWED",
                    )
                return row
            row = await tx.one_or_none(_LOCK, id=row.heir)
        if row is None or row.ended_us or expired(row.created_us, row.seen_us, now, self.rules):
            return None
        return row

    async def _end_chain(self, tx: Transaction, id_: bytes) -> None:
        """Removes a session, and the one that took its place for the same user."""
        row = await tx.one_or_none(_LOCK, id=id_)
        for ended in (id_, None if row is None else row.heir):
            if ended is not None:
                await tx.run(_DROP, id=ended)
                self._gone(tx, ended)

    async def _revoke(self, tx: Transaction, id_: bytes) -> bool:
        found = await tx.run(_DROP, id=id_)
        self._gone(tx, id_)
        return bool(found)

    async def _revoke_all(self, tx: Transaction, owner: str) -> int:
        # A session whose id is being replaced right now collides with this (40001), so that the new one is met too.
        ended = await tx.all(_DROP_OF, owner=owner)
        for row in ended:
            self._gone(tx, row.id)
        return len(ended)

    async def _touch(self, tx: Transaction, ids: list[bytes]) -> None:
        now = self._clock.wall_us()
        row = {"now": now, "before": now - TOUCH_US, "after": now + TOUCH_US}
        await tx.run_many(_TOUCH, [{"of": id_, **row} for id_ in sorted(ids)])

    # -- clearing up --------------------------------------------------------------------------------------------------

    async def sweep(self) -> int:
        """Removes sessions that are over; how many."""
        removed = 0
        now = self._clock.wall_us()
        before = now - SWEEP_AFTER_US - round(self.rules.idle_s * 1e6)
        while True:
            async with self._database.read() as db:
                rows = await db.all(_OVER, before=before, ended=now - SWEEP_AFTER_US)
            if not rows:
                return removed
            removed += await self._sweep_some([row.id for row in rows], before, now - SWEEP_AFTER_US)

    async def _sweep(self, tx: Transaction, ids: list[bytes], before: int, ended: int) -> int:
        return await tx.run(_SWEEP, ids=ids, before=before, ended=ended)

    # -- telling ------------------------------------------------------------------------------------------------------

    def _keep(self, tx: Transaction, record: Record) -> None:
        tx.on_commit(lambda: self._memory.put(record, self._clock.monotonic()))

    def _gone(self, tx: Transaction, id_: bytes) -> None:
        tx.on_commit(lambda: self._memory.drop(id_))
        self._announce(tx, id_)

    def _announce(self, tx: Transaction, id_: bytes) -> None:
        tx.announce(f"{TOPIC}|{id_.hex()}")

    def heard(self, texts: list[str] | None) -> None:
        """Forgets what another process changed; everything when None says that some may have been missed."""
        if texts is None:
            self._memory.clear()
            return
        for text in texts:
            self._memory.drop(bytes.fromhex(text.partition("|")[2]))


def _record(row: Any) -> Record:
    values = msgspec.json.decode(row.data)
    owner = None if row.ended_us else row.owner
    return Record(row.id, owner, row.version, row.created_us, row.seen_us, values, len(row.data))
