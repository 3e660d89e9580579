"""Point reads that meet: calls of one plan that come while one of them is under way go together in one round trip.

There is no timer, so nothing waits longer than it must: a batch is what came during the round trip before it (or in the
same turn of the loop). Its snapshot is taken after all of its reads were asked for, so each is as fresh as on its own.
Equal reads are asked once.
"""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Any, Protocol

from tenfold.blocks.database.backend import ROWS_LIMIT
from tenfold.core.errors import Unavailable
from tenfold.drivers.postgres import Link, Pool, is_lost
from tenfold.drivers.postgres.failures import is_stale_plan

BATCH = 500
"""Reads in one round trip at most."""

Values = tuple[Any, ...]
Found = list[Any]
Work = Callable[[Link], Awaitable[Any]]

_TOKEN = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\d+)""")
_ODD = re.compile(r"\$\$|\$[A-Za-z_]|\b[eEuU]&?'|--|/\*")
"""Text in which a parameter could not be told from a literal or a comment with certainty."""


class Reading(Protocol):
    """Runs a read on some connection, again on another one when that is lost."""

    async def __call__(self, work: Work, /) -> Any:
        """The result of `work(link)`."""
        ...


def few(sql: str) -> str:
    """The statement, of which only two rows are ever looked at."""
    return f"SELECT * FROM ({sql}) AS tf_q LIMIT 2"  # noqa: S608 - SQLAlchemy made it


def many(sql: str) -> str:
    """The statement, with at most one row more than a caller may have."""
    return f"SELECT * FROM ({sql}) AS tf_q LIMIT {ROWS_LIMIT + 1}"  # noqa: S608 - SQLAlchemy made it


def together(sql: str, types: Sequence[str]) -> str | None:
    """One statement for many sets of parameters, given as one array for each; None when it cannot be made.

    The last column of a row is the number of its set, from 1.
    """
    if not types or _ODD.search(sql):
        return None
    inner = _TOKEN.sub(lambda found: f"tf_k.p{found[1]}" if found[1] else found[0], sql)
    arrays = ", ".join(f"${at}::{name}[]" for at, name in enumerate(types, 1))
    names = ", ".join(f"p{at}" for at in range(1, len(types) + 1))
    return (
        f"SELECT tf_q.*, tf_k.tf_i FROM unnest({arrays}) WITH ORDINALITY AS tf_k({names}, tf_i), "  # noqa: S608 - as above
        f"LATERAL (SELECT * FROM ({inner}) AS tf_s LIMIT 2) AS tf_q"
    )


class Lane:
    """The point reads of one plan. Kept beside it."""

    __slots__ = ("_all", "_few", "_met", "_pool", "_reading", "_running", "_sql", "_together", "_waiting")

    def __init__(self, sql: str, reading: Reading, pool: Pool) -> None:
        self._sql = sql
        self._pool = pool
        self._met = 0
        """How many reads went together the last time; alone, a read needs no task beside its caller's."""
        self._few = few(sql)
        self._all = many(sql)
        self._reading = reading
        self._together: str | None = ""
        """Not made yet while it is empty; None when it cannot be made."""
        self._waiting: dict[Values, list[asyncio.Future[Found]]] = {}
        self._running: asyncio.Task[None] | None = None

    @property
    def few(self) -> str:
        """The text for one or two rows."""
        return self._few

    @property
    def all(self) -> str:
        """The text for all rows."""
        return self._all

    async def fetch(self, values: Values) -> Found:
        """At most two rows."""
        if self._met <= 1 and self._running is None:
            link = self._pool.take_idle()
            if link is not None:
                self._met += 1
                rows = await self._alone(link, values)
                if rows is not None:
                    return rows
        return await self._queued(values)

    async def _alone(self, link: Link, values: Values) -> Found | None:
        """The rows, at once; None when it did not work, so that it is tried again the long way."""
        try:
            return await link.fetch(self._few, values)
        except asyncio.CancelledError:
            self._pool.retire(link)
            raise
        except Exception as error:  # noqa: BLE001 - the long way meets it again, and says what it means
            if is_stale_plan(error):
                link.forget()
            elif is_lost(error):
                link.abandon()
            return None
        finally:
            self._met = min(self._met, 1)
            self._pool.give(link)

    def _queued(self, values: Values) -> asyncio.Future[Found]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Found] = loop.create_future()
        self._waiting.setdefault(values, []).append(future)
        if self._running is None:
            self._running = loop.create_task(self._run(), context=Context())
        return future

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._answer(self._batch())
        finally:
            self._running = None

    def _batch(self) -> dict[Values, list[asyncio.Future[Found]]]:
        waiting = self._waiting
        self._met = sum(map(len, waiting.values()))
        if len(waiting) <= BATCH:
            self._waiting = {}
            return waiting
        return {values: waiting.pop(values) for values in list(waiting)[:BATCH]}

    async def _answer(self, batch: dict[Values, list[asyncio.Future[Found]]]) -> None:
        if len(batch) > 1 and self._together is not None:
            try:
                found = await self._reading(lambda link: self._ask(link, list(batch)))
            except Unavailable as error:
                for futures in batch.values():
                    _fail(futures, error)
                return
            except Exception:  # noqa: BLE001 - one of them is to blame: each on its own
                found = None
            if found is not None:
                for futures, rows in zip(batch.values(), found, strict=True):
                    _resolve(futures, rows)
                return
        for values, futures in batch.items():
            await self._answer_one(values, futures)

    async def _answer_one(self, values: Values, futures: list[asyncio.Future[Found]]) -> None:
        if all(future.done() for future in futures):
            return
        try:
            rows = await self._reading(lambda link: link.fetch(self._few, values))
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to those who asked
            _fail(futures, error)
        else:
            _resolve(futures, rows)

    async def _ask(self, link: Link, batch: list[Values]) -> list[Found] | None:
        """The rows of each, or None when they cannot be asked together."""
        if not self._together:
            self._together = await self._made(link)
            if self._together is None:
                return None
        rows = await link.fetch(self._together, [list(column) for column in zip(*batch, strict=True)])
        found: list[Found] = [[] for _ in batch]
        for row in rows:
            found[row[-1] - 1].append(row[:-1])
        return found

    async def _made(self, link: Link) -> str | None:
        statement = await link.prepared(self._few)
        parameters = statement.get_parameters()
        if any(one.kind != "scalar" or one.schema != "pg_catalog" for one in parameters):
            return None
        return together(self._sql, [one.name for one in parameters])


def _resolve(futures: list[asyncio.Future[Found]], rows: Found) -> None:
    for future in futures:
        if not future.done():
            future.set_result(rows)


def _fail(futures: list[asyncio.Future[Found]], error: BaseException) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(copy.copy(error))
