"""The kv block alone on a SQLite file: get, put, compare-and-set; with the same statements by hand in the same run."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from sqlalchemy import MetaData

from bench.report import median, table
from tenfold.blocks.database import Database, DatabaseConfig
from tenfold.blocks.database.schema import apply_own
from tenfold.blocks.kv import Kv
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.drivers.sqlite import open_writer

ROUNDS = 5
KEYS = [f"user:{number:05}" for number in range(2_000)]
VALUE = {"theme": "dark", "size": 14}
AT_ONCE = 64


async def one_by_one(call: Callable[[str], Awaitable[object]], keys: list[str]) -> float:
    """Microseconds a call, each awaited before the next."""
    began = time.perf_counter()
    for key in keys:
        await call(key)
    return (time.perf_counter() - began) / len(keys) * 1e6


async def at_once(call: Callable[[str], Awaitable[object]], keys: list[str]) -> float:
    """Microseconds a call, with 64 callers at once, as a busy process has them."""
    left = iter(keys)

    async def caller() -> None:
        for key in left:
            await call(key)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return (time.perf_counter() - began) / len(keys) * 1e6


class ByHand:
    """The same two statements on a connection of one's own, with the same durability, without versions or expiry."""

    def __init__(self, path: Path) -> None:
        self.connection = open_writer(path, create=True)
        self.connection.execute("CREATE TABLE kv (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT")

    async def put(self, key: str) -> None:
        """One commit."""
        self.connection.execute("INSERT OR REPLACE INTO kv VALUES (?, ?)", (key, b'{"theme":"dark","size":14}'))

    async def get(self, key: str) -> object:
        """One row."""
        return self.connection.execute("SELECT value FROM kv WHERE key = ?", (key,)).fetchone()


async def measure(folder: Path) -> None:
    """Prints the tables."""
    connection = open_writer(folder / "kv.db", create=True)
    apply_own(connection, now_us=0)
    connection.close()
    database = Database(MetaData())
    await database.start(DatabaseConfig(folder / "kv.db", "bench"), lambda error: None)
    kv, hand = Kv(database, SYSTEM_CLOCK, SYSTEM_RANDOMNESS), ByHand(folder / "hand.db")
    try:
        await report(kv, hand)
    finally:
        hand.connection.close()
        await database.stop()


async def report(kv: Kv, hand: ByHand) -> None:
    """Measures in turns and prints medians."""

    async def put(key: str) -> object:
        return await kv.put(key, VALUE, ttl="1h")

    async def cas(key: str) -> object:
        entry = await kv.get(key)
        return await kv.cas(key, entry and entry.version, VALUE)

    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, run, call, keys in (
            ("put, one after another", one_by_one, put, KEYS[:300]),
            ("put, 64 at once", at_once, put, KEYS),
            ("get and cas, 64 at once", at_once, cas, KEYS),
            ("get, one after another", one_by_one, kv.get, KEYS),
            ("get, 64 at once", at_once, kv.get, KEYS),
            ("by hand: put, each its commit", one_by_one, hand.put, KEYS[:300]),
            ("by hand: get, blocking the loop", one_by_one, hand.get, KEYS[:300]),
        ):
            found.setdefault(name, []).append(await run(call, keys))
    rows = [(name, f"{median(values):,.1f}") for name, values in found.items()]
    print(table(f"kv on SQLite {sqlite3.sqlite_version}, medians of {ROUNDS}", ["way", "µs a call"], rows))


def main() -> None:
    """Runs on uvloop, as the web process does, on temporary files."""
    with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(Path(name)))
