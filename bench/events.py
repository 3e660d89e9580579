"""The events block alone: publishing in a transaction, recording, flushing, delivering; a plain INSERT beside it."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from huey import SqliteHuey
from sqlalchemy import MetaData

from bench.report import median, table
from tenfold.blocks.database import Database, DatabaseConfig, Transaction
from tenfold.blocks.database.schema import apply_own
from tenfold.blocks.events import Events
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.drivers.sqlite import open_writer

ROUNDS = 5
RECORDED = 50_000
PUBLISHED = 2_000
CALLERS = 32
DATA = {"code": "abc1234", "referrer": "https://example.com/", "agent": "Mozilla/5.0"}


class Ours:
    """The two blocks on a file of their own."""

    def __init__(self, folder: Path, *, listens: bool) -> None:
        self.database = Database(MetaData())
        self.events = Events(self.database, SYSTEM_CLOCK, SYSTEM_RANDOMNESS)
        self.path = folder / "service.db"
        self.delivered = 0
        self.publish = self.database.transaction(key="code")(self._publish)
        self.nothing = self.database.transaction(key="code")(self._nothing)
        if listens:
            self.events.subscriber("link.visited", name="stats", batch=500)(self._stats)

    async def _stats(self, batch: list[Any]) -> None:
        self.delivered += len(batch)

    async def _publish(self, tx: Transaction, code: str) -> None:
        await self.events.publish(tx, "link.visited", DATA)

    async def _nothing(self, tx: Transaction, code: str) -> None:
        tx.on_commit(_pass)

    async def __aenter__(self) -> Ours:
        connection = open_writer(self.path, create=True)
        apply_own(connection, now_us=0)
        connection.close()
        await self.database.start(DatabaseConfig(self.path, "bench"), _raise)
        self.events.work(True)
        await self.events.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.events.stop()
        await self.database.stop()


def _pass() -> None:
    return None


def _raise(error: BaseException) -> None:
    raise error


async def rate(count: int, call: Callable[[], Awaitable[Any]]) -> float:
    """Calls a second, by `CALLERS` at once."""

    async def caller() -> None:
        for _ in range(count // CALLERS):
            await call()

    began = time.perf_counter()
    await asyncio.gather(*[caller() for _ in range(CALLERS)])
    return count / (time.perf_counter() - began)


async def one_round(found: dict[str, list[float]]) -> None:
    """One measurement of each."""
    with tempfile.TemporaryDirectory() as folder:
        async with Ours(Path(folder), listens=False) as ours:
            recording, began = 0.0, time.perf_counter()
            for _ in range(RECORDED // 5_000):
                at = time.perf_counter()
                for _ in range(5_000):
                    ours.events.record("link.visited", DATA)
                recording += time.perf_counter() - at
                while ours.events.stats().buffered:
                    await asyncio.sleep(0.001)
            found.setdefault("record (in memory)", []).append(RECORDED / recording)
            found.setdefault("record, until written", []).append(RECORDED / (time.perf_counter() - began))
            found.setdefault("publish, one a transaction", []).append(
                await rate(PUBLISHED, lambda: ours.publish("abc1234"))
            )
            found.setdefault("the same transaction without it", []).append(
                await rate(PUBLISHED, lambda: ours.nothing("abc1234"))
            )
    with tempfile.TemporaryDirectory() as folder:
        async with Ours(Path(folder), listens=True) as ours:
            for _ in range(20_000):
                ours.events.record("link.visited", DATA)
            began = time.perf_counter()
            while ours.delivered < 20_000:
                await asyncio.sleep(0.001)
            found.setdefault("record to delivered, batches of 500", []).append(20_000 / (time.perf_counter() - began))
    found.setdefault("huey on SQLite, enqueue (durable)", []).append(huey_rate())
    found.setdefault("sqlite3, executemany of 1,000 in a transaction", []).append(plain_rate())


def huey_rate() -> float:
    """Durable messages a second of a peer that keeps them in a file too."""
    with tempfile.TemporaryDirectory() as folder:
        huey = SqliteHuey(filename=str(Path(folder) / "huey.db"), fsync=True)

        @huey.task()
        def visit(data: Any) -> None: ...

        began = time.perf_counter()
        for _ in range(PUBLISHED):
            visit(DATA)
        return PUBLISHED / (time.perf_counter() - began)


def plain_rate() -> float:
    """Rows a second that the driver writes by itself: the ceiling."""
    with tempfile.TemporaryDirectory() as folder:
        connection = open_writer(Path(folder) / "plain.db", create=True)
        apply_own(connection, now_us=0)
        rows = [(0, "link.visited", 1, 1, "x" * 80)] * 1_000
        sql = "INSERT INTO tf_event (bucket, topic, at_us, events, data) VALUES (?, ?, ?, ?, ?)"
        began = time.perf_counter()
        for _ in range(20):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(sql, rows)
            connection.execute("COMMIT")
        taken = time.perf_counter() - began
        connection.close()
        return 20_000 / taken


def main() -> None:
    """Measures and prints."""
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(one_round(found))
    rows = [(name, f"{median(values):,.0f}") for name, values in found.items()]
    print(table(f"Events on SQLite (median of {ROUNDS})", ("what", "a second"), rows))
