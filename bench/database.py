"""The database block alone: durable transactions per second at 1 to 128 callers, and the cost of a point read."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from sqlalchemy import MetaData, bindparam, insert, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateTable

from bench.report import median, table
from tenfold import Column, Text, Transaction, sharded_by
from tenfold.blocks.database import Database, DatabaseConfig
from tenfold.blocks.database.schema import apply_own
from tenfold.drivers.sqlite import open_writer

ROUNDS = 5
SECONDS = 1.0
READS = 20_000


class Store:
    """A links table behind the block."""

    def __init__(self) -> None:
        self.database = Database(MetaData())
        self.links = self.database.table(
            "links",
            Column("code", Text(32), primary_key=True),
            Column("url", Text(2048), nullable=False),
            home=sharded_by("code"),
        )
        add = insert(self.links)
        self.find = select(self.links).where(self.links.c.code == bindparam("code"))

        @self.database.transaction(key="code")
        async def create(tx: Transaction, code: str, url: str) -> None:
            await tx.run(add, code=code, url=url)

        self.create = create

    async def open(self, path: Path) -> None:
        """Makes the file and opens it."""
        connection = open_writer(path, create=True)
        apply_own(connection, now_us=0)
        connection.execute(str(CreateTable(self.links).compile(dialect=sqlite.dialect())))
        connection.close()
        await self.database.start(DatabaseConfig(path, "bench"), _unexpected)


def _unexpected(error: BaseException) -> None:
    raise error


async def transactions(callers: int, create: Callable[[str, str], Awaitable[None]], tag: str) -> float:
    """Commits per second with so many concurrent callers."""
    done = 0
    end = time.perf_counter() + SECONDS

    async def caller(who: int) -> None:
        nonlocal done
        number = 0
        while time.perf_counter() < end:
            await create(f"{tag}{who}-{number}", "https://example.com/some/page")
            number += 1
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(caller(who) for who in range(callers)))
    return done / (time.perf_counter() - began)


def one_by_one(path: Path) -> float:
    """The floor: hand-written sqlite3, one durable transaction after another."""
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA synchronous = FULL")
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        raw.execute("BEGIN IMMEDIATE")
        raw.execute("INSERT INTO links (code, url, tf_bucket) VALUES (?, ?, 0)", (f"raw{time.perf_counter_ns()}", "x"))
        raw.execute("COMMIT")
        done += 1
    raw.close()
    return done / (time.perf_counter() - began)


async def point_reads(store: Store, path: Path) -> tuple[float, float]:
    """(hand-written sqlite3, `database.read`), microseconds a read."""
    raw = sqlite3.connect(path, isolation_level=None, cached_statements=512)
    began = time.perf_counter()
    for n in range(READS):
        raw.execute("SELECT code, url FROM links WHERE code = ?", (f"r{n % 1000}",)).fetchone()
    by_hand = time.perf_counter() - began
    raw.close()
    began = time.perf_counter()
    for n in range(READS):
        code = f"r{n % 1000}"
        async with store.database.read(code) as db:
            await db.one_or_none(store.find, code=code)
    return by_hand / READS * 1e6, (time.perf_counter() - began) / READS * 1e6


async def measure(folder: Path) -> None:
    """Interleaved rounds; prints two tables."""
    path = folder / "bench.db"
    store = Store()
    await store.open(path)
    await asyncio.gather(*(store.create(f"r{n}", "https://example.com/") for n in range(1000)))
    rates: dict[str, list[float]] = {"by hand, one after another": []}
    reads: list[tuple[float, float]] = []
    for number in range(ROUNDS):
        rates["by hand, one after another"].append(one_by_one(path))
        for callers in (1, 8, 32, 128):
            rate = await transactions(callers, store.create, f"{number}-{callers}-")
            rates.setdefault(f"tenfold, {callers} callers", []).append(rate)
        reads.append(await point_reads(store, path))
    await store.database.stop()
    floor = median(rates["by hand, one after another"])
    rows = [(name, f"{median(got):,.0f}", f"{median(got) / floor:.2f}") for name, got in rates.items()]
    print(table("Durable transactions (SQLite, synchronous=FULL)", ["way", "per second", "of by hand"], rows))
    by_hand, ours = median([a for a, _ in reads]), median([b for _, b in reads])
    rows = [("sqlite3 by hand", f"{by_hand:.2f}", ""), ("database.read", f"{ours:.2f}", f"+{ours - by_hand:.2f}")]
    print(table("Point read", ["way", "us", "above by hand"], rows))


def main() -> None:
    """Runs on a temporary file."""
    with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(Path(name)))
