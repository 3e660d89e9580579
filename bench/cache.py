"""The cache and ids blocks alone: a hit, a miss, a stampede, an id; with peers in the same run."""

from __future__ import annotations

import asyncio
import itertools
import random
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from aiocache import SimpleMemoryCache, cached, cached_stampede
from cachetools import LRUCache, TTLCache
from cashews import Cache as CashewsCache
from sqlalchemy import MetaData

from bench.report import median, table
from tenfold.blocks.cache import Cache
from tenfold.blocks.cache.eviction import QUEUES, Eviction
from tenfold.blocks.cache.memory import Memory
from tenfold.blocks.cache.policy import Entry
from tenfold.blocks.database import Database, DatabaseConfig
from tenfold.blocks.database.schema import apply_own
from tenfold.blocks.ids import Ids
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.drivers.sqlite import open_writer

ROUNDS = 7
KEYS = [f"code{number:06}" for number in range(10_000)]
WAITERS = 100


class Ours:
    """The cache block as a service has it, with the database's own answer to "in a transaction?"."""

    def __init__(self, entries: int = 100_000) -> None:
        self.database = Database(MetaData())
        self.cache = Cache(SYSTEM_CLOCK, SYSTEM_RANDOMNESS, entries, in_transaction=self.database.in_transaction)
        self.database.heard = self.cache.heard
        self.cache.follow(self.database.catch_up)
        self.loads = 0

        @self.cache.read("link:{code}", ttl="1h")
        async def find(code: str) -> str:
            self.loads += 1
            return f"https://example.com/{code}"

        @self.cache.read("slow:{code}", ttl="1h")
        async def slow(code: str) -> str:
            self.loads += 1
            await asyncio.sleep(0.05)
            return code

        self.find, self.slow = find, slow


async def load(code: str) -> str:
    """What the peers' decorators wrap."""
    return f"https://example.com/{code}"


def synchronous(read: Callable[[str], Any]) -> float:
    """Nanoseconds a call."""
    began = time.perf_counter()
    for key in KEYS:
        read(key)
    return (time.perf_counter() - began) / len(KEYS) * 1e9


async def awaited(read: Callable[[str], Awaitable[Any]], keys: list[str] = KEYS) -> float:
    """Nanoseconds an awaited call."""
    began = time.perf_counter()
    for key in keys:
        await read(key)
    return (time.perf_counter() - began) / len(keys) * 1e9


async def hits(ours: Ours) -> list[tuple[str, float, float]]:
    """(way, synchronous, awaited) medians of a hit."""
    plain, lru, timed = {}, LRUCache(100_000), TTLCache(100_000, 3600)
    theirs = cached(ttl=3600, cache=SimpleMemoryCache, key_builder=lambda function, code: code)(load)
    cashews = CashewsCache()
    cashews.setup("mem://", size=100_000)
    wrapped = cashews(ttl="1h", key="link:{code}")(load)
    for key in KEYS:
        await wrapped(key)
        plain[key] = lru[key] = timed[key] = await ours.find(key)
        await theirs(key)
    ways: dict[str, tuple[Callable[[str], Any] | None, Callable[[str], Awaitable[Any]] | None]] = {
        "tenfold": (ours.find.peek, ours.find),
        "dict": (plain.__getitem__, None),
        "cachetools LRUCache": (lru.__getitem__, None),
        "cachetools TTLCache": (timed.__getitem__, None),
        "aiocache @cached": (None, theirs),
        "cashews @cache": (None, wrapped),
    }
    found: dict[str, list[list[float]]] = {name: [[], []] for name in ways}
    for _ in range(ROUNDS):
        for name, (read, read_awaited) in ways.items():
            if read is not None:
                found[name][0].append(synchronous(read))
            if read_awaited is not None:
                found[name][1].append(await awaited(read_awaited))
    return [(name, median(sync), median(later)) for name, (sync, later) in found.items()]


async def misses() -> list[tuple[str, float]]:
    """(way, nanoseconds) medians of a miss whose loader returns at once, with and without eviction."""
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        theirs = cached(ttl=3600, cache=SimpleMemoryCache, key_builder=lambda function, code: code)(load)
        for name, read in (
            ("tenfold", Ours().find),
            ("tenfold, full (evicts)", Ours(entries=1_000).find),
            ("aiocache @cached", theirs),
        ):
            found.setdefault(name, []).append(await awaited(read, KEYS[:5_000]))
    return [(name, median(values)) for name, values in found.items()]


async def stampede(ours: Ours) -> list[tuple[str, int]]:
    """(way, loads) for concurrent misses on one key."""
    ours.loads = theirs = locked = 0

    async def slow(code: str) -> str:
        nonlocal theirs
        theirs += 1
        await asyncio.sleep(0.05)
        return code

    async def slow_locked(code: str) -> str:
        nonlocal locked
        locked += 1
        await asyncio.sleep(0.05)
        return code

    plain = cached(ttl=3600, cache=SimpleMemoryCache, namespace="a")(slow)
    careful = cached_stampede(lease=2, ttl=3600, cache=SimpleMemoryCache, namespace="b")(slow_locked)
    for read in (ours.slow, plain, careful):
        await asyncio.gather(*(read("x") for _ in range(WAITERS)))
    return [("tenfold", ours.loads), ("aiocache @cached", theirs), ("aiocache @cached_stampede", locked)]


def hit_ratios() -> list[tuple[str, ...]]:
    """(trace, tenfold's policies, cachetools LRUCache): the share of reads that a cache of 1,000 entries answers."""
    draw = random.Random(1)
    rows = []
    for name, skew, scan in (("zipf 0.9", 0.9, 0), ("zipf 1.1", 1.1, 0), ("zipf 0.9, a third of it scans", 0.9, 3)):
        weights = list(itertools.accumulate(1 / (rank + 1) ** skew for rank in range(100_000)))
        trace: list[int] = draw.choices(range(100_000), cum_weights=weights, k=200_000)
        if scan:
            trace[::scan] = range(10**6, 10**6 + len(trace[::scan]))
        own = [f"{own_ratio(trace, eviction):.3f}" for eviction in QUEUES]
        rows.append((name, *own, f"{lru_ratio(trace):.3f}"))
    return rows


def own_ratio(trace: list[int], eviction: Eviction = "sieve", entries: int = 1_000) -> float:
    """Hits of the block's own store."""
    memory, kept, hits = Memory(entries, 10**9, eviction), dict[Any, Entry](), 0
    for key in trace:
        if (entry := kept.get(key)) is not None:
            entry.visited = True
            hits += 1
        else:
            memory.put(Entry(kept, key, key, 1, 1e9), 0.0)
    return hits / len(trace)


def lru_ratio(trace: list[int], entries: int = 1_000) -> float:
    """Hits of the peer."""
    lru, hits = LRUCache[int, int](entries), 0
    for key in trace:
        if lru.get(key) is not None:
            hits += 1
        else:
            lru[key] = key
    return hits / len(trace)


def uuids(ours: Ours) -> list[tuple[str, float]]:
    """(kind, nanoseconds) medians."""
    ids = Ids(ours.database, SYSTEM_CLOCK, SYSTEM_RANDOMNESS)
    ways = {"tenfold uuid7": lambda key: ids.uuid7(), "uuid.uuid4": lambda key: uuid.uuid4()}
    return [(name, median([synchronous(make) for _ in range(ROUNDS)])) for name, make in ways.items()]


async def measure(path: Path) -> None:
    """Prints the tables. The database is open, so that asking it about a transaction costs what it costs."""
    connection = open_writer(path, create=True)
    apply_own(connection, now_us=0)
    connection.close()
    ours = Ours()
    await ours.database.start(DatabaseConfig(path, "bench"), lambda error: None)
    try:
        await report(ours)
    finally:
        await ours.database.stop()


async def report(ours: Ours) -> None:
    """Measures and prints."""
    rows = [
        (name, f"{sync:,.0f}" if sync else "", f"{later:,.0f}" if later else "")
        for name, sync, later in await hits(ours)
    ]
    print(
        table(
            "Cache hit, 10,000 keys (target: 500 ns synchronous, 2,000 ns awaited)", ["way", "ns", "ns awaited"], rows
        )
    )
    print(table("Cache miss, loader returns at once", ["way", "ns"], [(n, f"{v:,.0f}") for n, v in await misses()]))
    print(table(f"{WAITERS} concurrent misses on one key", ["way", "loads"], await stampede(ours)))
    print(
        table(
            "Share of reads answered, 1,000 entries",
            ["trace", *(f"tenfold {name}" for name in QUEUES), "cachetools LRUCache"],
            hit_ratios(),
        )
    )
    print(table("Ids", ["way", "ns"], [(name, f"{value:,.0f}") for name, value in uuids(ours)]))


def main() -> None:
    """Runs on uvloop, as the web process does, on a temporary file."""
    with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(Path(name) / "bench.db"))
