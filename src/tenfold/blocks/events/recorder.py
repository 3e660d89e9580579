"""`record`: events in memory that are written together, soon, beside the requests."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.keys import HOME_BUCKET
from tenfold.blocks.events import log
from tenfold.blocks.events.event import packed
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.core.randomness import Randomness
from tenfold.core.retry import Backoff

FLUSH_S = 0.1
"""How long an event waits in memory at most, while the database takes them."""

FLUSH_EVENTS = 1_000
FLUSH_BYTES = 256 * 1024
"""Of one transaction; when so much waits it is written at once."""

KEPT_EVENTS = 100_000
KEPT_BYTES = 64 * 1024 * 1024
"""What is kept while the database is away; beyond, the oldest are dropped."""

LAST_S = 5.0
"""How long `stop` tries to write what is left."""

AGAIN = Backoff(first_s=0.1, limit_s=2.0)
logger = logging.getLogger("tenfold.events")

PACK_EVENTS = 200
PACK_BYTES = 64 * 1024
"""Of recorded events that share a row of the log: writing a row costs several times what an event in it does."""

Recorded = tuple[str, int, str]
"""Topic, microseconds, JSON text."""


def rows_of(chunk: list[Recorded]) -> list[dict[str, object]]:
    """The rows of the log for recorded events: each topic's in their order."""
    topics: dict[str, list[tuple[int, str]]] = {}
    for topic, at_us, data in chunk:
        topics.setdefault(topic, []).append((at_us, data))
    return [_packed(topic, part) for topic, found in topics.items() for part in _parts(found)]


def _parts(found: list[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    part: list[tuple[int, str]] = []
    size = 0
    for each in found:
        if part and (len(part) == PACK_EVENTS or size + len(each[1]) > PACK_BYTES):
            yield part
            part, size = [], 0
        part.append(each)
        size += len(each[1])
    yield part


def _packed(topic: str, part: list[tuple[int, str]]) -> dict[str, object]:
    at_us, data = part[-1]
    return log.row(HOME_BUCKET, topic, at_us, data if len(part) == 1 else packed(part), len(part))


class Recorder:
    """The buffer of one process. `add` on the loop, also before `start`; nothing is written before it."""

    def __init__(
        self, database: Database, clock: Clock, randomness: Randomness, on_commit: Callable[[], object]
    ) -> None:
        self.recorded = self.flushes = self.dropped = 0
        self.buffered_bytes = 0
        self._clock = clock
        self._randomness = randomness
        self._wall_us = clock.wall_us
        self._on_commit = on_commit
        self._waiting: deque[Recorded] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dropping = False
        self._write = database.transaction(isolation="read committed")(self._written)

    @property
    def buffered(self) -> int:
        """Events that wait in memory."""
        return len(self._waiting)

    def add(self, topic: str, data: str) -> None:
        """Keeps one event; writes soon. Never waits, never fails."""
        waiting = self._waiting
        waiting.append((topic, self._wall_us(), data))
        self.recorded += 1
        self.buffered_bytes += len(data)
        if self._flushing is not None or self._loop is None:
            if len(waiting) > KEPT_EVENTS or self.buffered_bytes > KEPT_BYTES:
                self._drop()
        elif self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._begin, context=Context())
        elif self._full():
            self._begin()

    def _full(self) -> bool:
        return len(self._waiting) >= FLUSH_EVENTS or self.buffered_bytes >= FLUSH_BYTES

    def _drop(self) -> None:
        """Drops the oldest; the log says so once, until everything could be written again."""
        while len(self._waiting) > KEPT_EVENTS or self.buffered_bytes > KEPT_BYTES:
            self.buffered_bytes -= len(self._waiting.popleft()[2])
            self.dropped += 1
        if not self._dropping:
            self._dropping = True
            logger.error(
                "Recorded events are dropped, the oldest first: the database does not take them, and %d wait.",
                len(self._waiting),
            )

    def start(self) -> None:
        """Writes what is there, and what comes."""
        self._loop = asyncio.get_running_loop()
        if self._waiting:
            self._begin()

    async def stop(self) -> None:
        """Writes what is left, for `LAST_S` at most; what cannot be written is dropped, and the log says so."""
        if self._loop is None:
            return
        if self._waiting and self._flushing is None:
            self._begin()
        self._loop = None
        flushing = self._flushing
        if flushing is not None and (await asyncio.wait([flushing], timeout=LAST_S))[1]:
            flushing.cancel()
            await asyncio.wait([flushing])
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            logger.error("%d recorded events are lost: the database did not take them in time.", len(self._waiting))
            self.dropped += len(self._waiting)
            self._waiting.clear()
            self.buffered_bytes = 0

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flushing is None:
            loop = asyncio.get_running_loop()
            self._flushing = loop.create_task(self._flush(), context=Context(), name="recorded events")

    async def _flush(self) -> None:
        """Writes what waits, and goes on while enough has come meanwhile; one transaction at a time, in order."""
        failures = 0
        try:
            while self._waiting:
                chunk = self._chunk()
                try:
                    await self._write(rows_of(chunk))
                except TenfoldError:
                    failures += 1
                    await asyncio.sleep(AGAIN.wait_s(failures, self._randomness))
                    continue
                failures = 0
                self._forget(chunk)
                if self._loop is not None and not self._full():
                    break
            self._dropping = False
        finally:
            self._flushing = None
            if self._waiting and self._loop is not None:
                self._timer = self._loop.call_later(FLUSH_S, self._begin, context=Context())

    def _chunk(self) -> list[Recorded]:
        chunk, size = [], 0
        for each in self._waiting:
            size += len(each[2])
            chunk.append(each)
            if len(chunk) >= FLUSH_EVENTS or size >= FLUSH_BYTES:
                break
        return chunk

    def _forget(self, chunk: list[Recorded]) -> None:
        """Takes what was written from the front; some of it may have been dropped meanwhile."""
        waiting = self._waiting
        self.flushes += 1
        for each in chunk:
            if waiting and waiting[0] is each:
                waiting.popleft()
                self.buffered_bytes -= len(each[2])

    async def _written(self, tx: Transaction, rows: list[dict[str, object]]) -> None:
        await log.add(tx, rows)
        tx.announce(log.NEWS)
        tx.on_commit(self._on_commit)
