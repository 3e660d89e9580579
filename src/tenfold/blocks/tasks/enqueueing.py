"""Enqueueing: a row in the caller's transaction, or in one of its own that those of the same moment share."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.keys import HOME_BUCKET
from tenfold.blocks.database.scope import current_scope
from tenfold.blocks.tasks import statements as sql
from tenfold.blocks.tasks.bell import Bell
from tenfold.blocks.tasks.policy import State, rank
from tenfold.blocks.tasks.task import Order
from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict, ContractError
from tenfold.core.randomness import Randomness

TOGETHER = 250
"""Jobs that are written in one transaction at most."""

Row = dict[str, Any]


class Names:
    """Ids of jobs: when (microseconds, only growing in this process), and 50 random bits of the process.

    Text, so that it is the same everywhere, and sorted by time, so that new rows are next to each other.
    """

    def __init__(self, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._randomness = randomness
        self._last = 0
        self.renew()

    def renew(self) -> None:
        """Draws the process's bits anew: a forked process must not go on with those of its parent."""
        self._tail = format(self._randomness.bits(50), "013x")

    def next(self, now_us: int) -> str:
        """An id that nobody else has."""
        self._last = now_us if now_us > self._last else self._last + 1
        return format(self._last, "013x") + self._tail


class Enqueueing:
    """Makes rows of orders and writes them; the bell is rung after their commit."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness, bell: Bell) -> None:
        self.names = Names(clock, randomness)
        self._database = database
        self._clock = clock
        self._bell = bell
        self._pending: list[tuple[Row, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._write = database.transaction(isolation="read committed")(_add_all)
        self._write_sole = database.transaction()(self._add_home)
        self._write_keyed = database.transaction(key="key")(self._add_keyed)

    def row(self, order: Order[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any], bucket: int) -> Row:
        """The row of a job; `JobRefused` when the arguments do not fit."""
        task = order.task
        now_us = self._clock.wall_us()
        payload = task.codec.encode(task.name, args, kwargs)
        due_us = now_us + order.delay_us if order.at_us is None else order.at_us
        later = due_us > now_us
        row: Row = {
            "id": self.names.next(now_us),
            "bucket": bucket,
            "queue": order.queue,
            "name": task.name,
            "lane": task.lane,
            "state": 2 if later else 0,
            "rank": due_us if later else rank(due_us, order.priority),
            "due_us": due_us,
            "priority": order.priority,
            "payload": payload,
            "trace": _trace(),
        }
        if task.options.unique is not None:
            row["sole"] = task.sole(payload)
        return row

    async def within(self, tx: Transaction, order: Order[Any, Any], args: Any, kwargs: Any) -> str:
        """Adds a job in the caller's transaction; its id, or that of the one that waits under the same unique key."""
        return await self.add(tx, self.row(order, args, kwargs, tx.bucket))

    async def add(self, tx: Transaction, row: Row) -> str:
        """Adds a row, unless a job waits under its unique key; the id of the one that is there."""
        if "sole" in row:
            first: str | None = await tx.scalar(sql.FIND_SOLE, sole=row["sole"])
            if first is not None:
                return first
        await tx.run(sql.ADD, **row)
        tx.on_commit(partial(self._bell.rung_for, row))
        found: str = row["id"]
        return found

    async def _add_home(self, tx: Transaction, row: Row) -> str:
        return await self.add(tx, row)

    async def _add_keyed(self, tx: Transaction, key: Any, row: Row) -> str:
        return await self.add(tx, {**row, "bucket": tx.bucket})

    async def alone(self, order: Order[Any, Any], args: Any, kwargs: Any) -> str:
        """Adds a job in a transaction of its own; its id once it is committed."""
        if self._database.in_transaction():
            raise ContractError(
                f"A job of {order.task.name} was enqueued alone inside a transaction's body.",
                hint="Write `await tf.tasks.enqueue(tx, task, ...)`, so that it is part of it.",
                code="TF-TASK-TX",
            )
        row = self.row(order, args, kwargs, HOME_BUCKET)
        scope = current_scope()
        if order.key is not None:
            return await self._alone(self._write_keyed, order.key, row)
        if "sole" in row or (scope is not None and scope.idempotency_key is not None):
            return await self._alone(self._write_sole, row)
        await self._together(row)
        if scope is not None:
            scope.token = scope.token.merged(self._database.position())
        found: str = row["id"]
        return found

    async def _alone(self, write: Callable[..., Any], *args: Any) -> str:
        """Two that come at once under one unique key: the second one finds the first's job."""
        try:
            return str(await write(*args))
        except Conflict:
            return str(await write(*args))

    async def _together(self, row: Row) -> None:
        """Jobs that are enqueued while others are being written share the next transaction."""
        future = asyncio.get_running_loop().create_future()
        self._pending.append((row, future))
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_all(), context=Context())
        await future

    async def _write_all(self) -> None:
        try:
            while self._pending:
                taken, self._pending = self._pending[:TOGETHER], self._pending[TOGETHER:]
                await self._write_some(taken)
        finally:
            self._writing = None

    async def _write_some(self, taken: list[tuple[Row, asyncio.Future[None]]]) -> None:
        failure: BaseException | None = None
        try:
            rows = [row for row, future in taken if not future.done()]
            await self._write(rows)
            for row in rows:
                self._bell.rung_for(row)
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait for it
            failure = error
        for _, future in taken:
            if future.done():
                continue
            if failure is None:
                future.set_result(None)
            else:
                future.set_exception(copy.copy(failure))


def _trace() -> str | None:
    """The traceparent of the request or job that enqueues; None outside of one."""
    scope = current_scope()
    return scope.trace.traceparent if scope is not None and scope.trace is not None else None


async def _add_all(tx: Transaction, rows: list[Row]) -> None:
    await tx.run_many(sql.ADD, rows)


assert (State.READY, State.SCHEDULED) == (0, 2), "as `row` writes them"
