"""The node number of this process's snowflakes: leased in `tf_lease`, renewed, given back.

The row is the authority. Before a millisecond is used it is covered by the row's `last_ms`, and only the holder named
in the row moves that on. A process that was paused for longer than its lease finds its span used up and makes no ids
until it has renewed it, or, when another one took the node meanwhile, has a new node.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import bindparam, insert, select, update

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.schema import tf_lease
from tenfold.blocks.ids.policy import NodeRow, Span, choose_node, longer
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.core.randomness import Randomness
from tenfold.core.retry import Backoff

PREFIX = "snowflake/"
LEASE_TTL_S = 30.0
RETRY = Backoff(first_s=0.5, limit_s=5.0)
"""After a failure; many processes that lost one database do not come back to it in step."""

_ALL = select(tf_lease).where(tf_lease.c.name.like(f"{PREFIX}%"))
_TAKE_NEW = insert(tf_lease)
_TAKE_OLD = (
    update(tf_lease)
    .where(tf_lease.c.name == bindparam("of"), tf_lease.c.epoch == bindparam("before"))
    .values(
        holder=bindparam("to_holder"),
        epoch=bindparam("to_epoch"),
        expires_us=bindparam("to_expires_us"),
        data=bindparam("to_data"),
    )
)
_MOVE_ON = (
    update(tf_lease)
    .where(
        tf_lease.c.name == bindparam("of"),
        tf_lease.c.holder == bindparam("by"),
        tf_lease.c.epoch == bindparam("at_epoch"),
    )
    .values(expires_us=bindparam("to_expires_us"), data=bindparam("to_data"))
)


class _Data(msgspec.Struct):
    last_ms: int


def _data(last_ms: int) -> str:
    return msgspec.json.encode(_Data(last_ms)).decode()


def _node_row(row: Any) -> NodeRow:
    last_ms = msgspec.json.decode(row.data, type=_Data).last_ms
    return NodeRow(int(row.name.removeprefix(PREFIX)), row.holder, row.epoch, row.expires_us, last_ms)


class NodeLease:
    """Keeps a node leased while started. `span` is what may be used now; `reason` says why there is none.

    A database that cannot be written to does not stop `start`: the lease is tried again.
    """

    def __init__(
        self, database: Database, clock: Clock, randomness: Randomness, holder: str, ttl_s: float = LEASE_TTL_S
    ) -> None:
        self.span: Span | None = None
        self.reason = "the ids block is not started"
        self.on_span: Callable[[Span], None] = lambda span: None
        self._clock = clock
        self._holder = holder
        self._ttl_s = ttl_s
        self._failures = 0
        self._randomness = randomness
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._take = database.transaction()(_take)
        self._move_on = database.transaction()(_move_on)

    async def start(self) -> None:
        """Takes a node, and keeps renewing it."""
        if self._task is None:
            self._wake = asyncio.Event()
            await self.renew()
            self._task = asyncio.create_task(self._keep(), name="node lease")

    async def stop(self, last_ms: int) -> None:
        """Gives the node back, so that another process can take it at once; `last_ms` is the last millisecond used."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        span, self.span, self.reason = self.span, None, "the ids block is stopped"
        if span is not None:
            with contextlib.suppress(TenfoldError):  # then it simply expires
                await self._move_on(
                    _name(span), self._holder, span.epoch, expires_us=0, data=_data(max(last_ms, span.after_ms))
                )

    def hurry(self) -> None:
        """Renews now instead of at the next turn: the span is used up."""
        self._wake.set()

    async def renew(self) -> None:
        """Makes the span longer, or takes a node when there is none or another process has it now."""
        try:
            span = await self._longer() or await self._new()
        except TenfoldError as error:
            self.reason = error.message
            self._failures += 1
            return
        self._failures = 0 if span is not None else self._failures + 1
        if span is None:
            self.reason = "all 1023 node numbers are held by other processes"
            return
        self.span = span
        self.on_span(span)

    async def _longer(self) -> Span | None:
        if self.span is None:
            return None
        now_us = self._clock.wall_us()
        span = longer(self.span, now_us, self._ttl_ms)
        expires_us = now_us + self._ttl_ms * 1000
        moved = await self._move_on(
            _name(span), self._holder, span.epoch, expires_us=expires_us, data=_data(span.until_ms)
        )
        if not moved:
            self.span, self.reason = None, "another process took this process's node number while it was paused"
            return None
        return span

    async def _new(self) -> Span | None:
        found = await self._take(self._holder, self._clock.wall_us(), self._ttl_ms)
        return None if found is None else Span(*found)

    @property
    def _ttl_ms(self) -> int:
        return round(self._ttl_s * 1000)

    async def _keep(self) -> None:
        while True:
            if self._failures:  # hurrying does not help, and would ask once per id that is refused
                await asyncio.sleep(RETRY.wait_s(self._failures, self._randomness))
            else:
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._ttl_s / 3):
                        await self._wake.wait()
            await self.renew()


def _name(span: Span) -> str:
    return f"{PREFIX}{span.node}"


async def _take(tx: Transaction, holder: str, now_us: int, ttl_ms: int) -> tuple[int, int, int, int] | None:
    rows = [_node_row(row) for row in await tx.all(_ALL)]
    span = choose_node(rows, now_us, ttl_ms)
    if span is None:
        return None
    expires_us, data = now_us + ttl_ms * 1000, _data(span.until_ms)
    if span.epoch == 1:
        await tx.run(_TAKE_NEW, name=_name(span), holder=holder, epoch=1, expires_us=expires_us, data=data)
    else:
        taken = await tx.run(
            _TAKE_OLD,
            of=_name(span),
            before=span.epoch - 1,
            to_holder=holder,
            to_epoch=span.epoch,
            to_expires_us=expires_us,
            to_data=data,
        )
        assert taken == 1, "the row was read in this transaction"
    return span.node, span.epoch, span.after_ms, span.until_ms


async def _move_on(tx: Transaction, of: str, by: str, at_epoch: int, *, expires_us: int, data: str) -> bool:
    moved = await tx.run(_MOVE_ON, of=of, by=by, at_epoch=at_epoch, to_expires_us=expires_us, to_data=data)
    return bool(moved)
