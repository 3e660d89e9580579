"""Finishes are collected for a moment and written together; each counts only with its fencing pair.

A finish that cannot be written (the database is away) is tried again until it is, or until the job turns out to have
been given to somebody else: then it is thrown away.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.tasks import statements as sql
from tenfold.blocks.tasks.job import Job
from tenfold.core.errors import TenfoldError
from tenfold.core.randomness import Randomness
from tenfold.core.retry import Backoff

TOGETHER_S = 0.005
TOGETHER = 200
AGAIN = Backoff(first_s=0.05, limit_s=2.0)

log = logging.getLogger("tenfold.tasks")


@dataclass(frozen=True, slots=True)
class Finish:
    """What becomes of an attempt's row: None deletes it, else the statement and its parameters beside the pair."""

    job: Job
    statement: Any = None
    values: dict[str, Any] | None = None


class Finishing:
    """The finishes of one worker. `settled(job, counted)` is called on the loop once it is known."""

    def __init__(self, database: Database, randomness: Randomness, settled: Callable[[Job, bool], None]) -> None:
        self._randomness = randomness
        self._settled = settled
        self._pending: list[Finish] = []
        self._writing: asyncio.Task[None] | None = None
        self._full = asyncio.Event()
        self._write = database.transaction(isolation="read committed")(_write)

    def renew(self) -> None:
        """Belongs to the running loop from now on."""
        self._full = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, finish: Finish) -> None:
        """Hands over an attempt that has ended."""
        self._pending.append(finish)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_all(), context=Context())
        if len(self._pending) >= TOGETHER:
            self._full.set()

    async def flushed(self, limit_s: float) -> None:
        """Returns when nothing is pending any more, or after `limit_s` seconds."""
        self._full.set()
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=limit_s)

    def stop(self) -> None:
        """Gives up what is still pending; its jobs run again."""
        if self._writing is not None:
            self._writing.cancel()

    async def _write_all(self) -> None:
        failures = 0
        try:
            while self._pending:
                if len(self._pending) < TOGETHER and not failures:
                    await self._a_moment()
                taken = self._pending[:TOGETHER]
                try:
                    counted = await self._write(taken)
                except Exception as error:  # noqa: BLE001 - the database may be away in many ways; they are kept
                    failures += 1
                    _tell(error, failures)
                    await asyncio.sleep(AGAIN.wait_s(failures, self._randomness))
                    continue
                failures = 0
                del self._pending[: len(taken)]
                for finish in taken:
                    self._settled(finish.job, (finish.job.id, finish.job.epoch) in counted)
        finally:
            self._writing = None

    async def _a_moment(self) -> None:
        self._full.clear()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(TOGETHER_S, self._full.set)
        await self._full.wait()
        timer.cancel()


def _tell(error: Exception, failures: int) -> None:
    if failures == 1:
        trace = None if isinstance(error, TenfoldError) else error
        log.warning("Finished jobs cannot be written down, and are tried again: %s", error, exc_info=trace)


async def _write(tx: Transaction, finishes: list[Finish]) -> set[tuple[str, int]]:
    """Writes them; the fencing pairs of those that counted."""
    counted: set[tuple[str, int]] = set()
    gone: dict[int, list[str]] = {}
    for finish in finishes:
        job = finish.job
        if finish.statement is None:
            gone.setdefault(job.epoch, []).append(job.id)
        elif await tx.run(finish.statement, of=job.id, at=job.epoch, **(finish.values or {})):
            counted.add((job.id, job.epoch))
    for epoch, ids in gone.items():
        rows = await tx.all(sql.DONE, ids=padded(ids), at=epoch)
        counted.update((row.id, epoch) for row in rows)
    return counted


def padded(ids: list[str]) -> list[str]:
    """The list made longer with its last one up to a power of two: so few different statements are prepared."""
    size = 1 << (len(ids) - 1).bit_length()
    return ids + ids[-1:] * (size - len(ids))
