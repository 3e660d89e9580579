"""The limits block: decisions in memory, with peers in the same run, and shared through a database."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import limits as peer_limits
import throttled
import uvloop
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter
from sqlalchemy import MetaData

from bench.report import median, table
from tenfold.blocks.database import Database, DatabaseConfig
from tenfold.blocks.database.schema import apply_own
from tenfold.blocks.limits import Limits
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.drivers.sqlite import open_writer

ROUNDS = 7
KEYS = [f"203.0.113.{number % 256}:{number}" for number in range(10_000)]
PER_MINUTE = 1_000_000


def ours(database: Database | None = None) -> Limits:
    """The block as a service has it."""
    return Limits(database or Database(MetaData()), SYSTEM_CLOCK, SYSTEM_RANDOMNESS)


def ways() -> dict[str, Callable[[str], Any]]:
    """What decides on a key at once."""
    mine = ours()
    rule, second = mine.rule("a", f"{PER_MINUTE}/minute"), mine.rule("b", f"{PER_MINUTE}/minute")
    found: dict[str, Callable[[str], Any]] = {
        "tenfold": lambda key: mine.charge((rule, key)),
        "tenfold, two limits together": lambda key: mine.charge((rule, key), (second, key)),
    }
    item = peer_limits.RateLimitItemPerMinute(PER_MINUTE)
    for name, kind in (
        ("limits, fixed window", FixedWindowRateLimiter),
        ("limits, sliding window", SlidingWindowCounterRateLimiter),
        ("limits, moving window", MovingWindowRateLimiter),
    ):
        strategy = kind(peer_limits.storage.MemoryStorage())
        found[name] = lambda key, strategy=strategy: strategy.hit(item, key)  # type: ignore[misc]
    for name, algorithm in (("throttled-py, GCRA", "gcra"), ("throttled-py, token bucket", "token_bucket")):
        store = throttled.MemoryStore(options={"MAX_SIZE": 100_000})
        limiter = throttled.Throttled(using=algorithm, quota=throttled.per_min(PER_MINUTE), store=store)
        found[name] = lambda key, limiter=limiter: limiter.limit(key)  # type: ignore[misc]
    return found


def synchronous(decide: Callable[[str], Any]) -> float:
    """Nanoseconds a decision, of this process's own time: other work on the machine does not count."""
    began = time.process_time()
    for key in KEYS:
        decide(key)
    return (time.process_time() - began) / len(KEYS) * 1e9


async def awaited(decide: Callable[[str], Awaitable[Any]]) -> float:
    """The same, awaited."""
    began = time.process_time()
    for key in KEYS:
        await decide(key)
    return (time.process_time() - began) / len(KEYS) * 1e9


def in_memory() -> list[tuple[str, float]]:
    """(way, nanoseconds) medians for known keys within the limit."""
    allowed: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, decide in ways().items():
            synchronous(decide)  # the keys are known from here on
            allowed.setdefault(name, []).append(synchronous(decide))
    return [(name, median(values)) for name, values in allowed.items()]


async def own_ways() -> list[tuple[str, float]]:
    """(what, nanoseconds) medians of our other forms."""
    mine = ours()
    rule, small = mine.rule("a", f"{PER_MINUTE}/minute"), mine.rule("b", "1/day")
    for key in KEYS:
        mine.charge((small, key))
    full = ours()
    flooded = full.rule("a", f"{PER_MINUTE}/minute")
    flooded.keys_max = 1_000
    return [
        ("refused", median([synchronous(lambda key: mine.charge((small, key))) for _ in range(ROUNDS)])),
        ("awaited `take`", median([await awaited(lambda key: mine.take((rule, key))) for _ in range(ROUNDS)])),
        (
            "a new key, one is forgotten",
            median([synchronous(lambda key: full.charge((flooded, key))) for _ in range(3)]),
        ),
    ]


async def shared(path: Path) -> list[tuple[str, str]]:
    """(what, decisions a second) when several processes share the limit through SQLite."""
    connection = open_writer(path, create=True)
    apply_own(connection, now_us=0)
    connection.close()
    database = Database(MetaData())
    await database.start(DatabaseConfig(path, "bench"), lambda error: None)
    mine = ours(database)
    fast, slow, tight = (
        mine.rule("fast", "1000000/second"),
        mine.rule("slow", "1000/minute"),
        mine.rule("none", "1/day"),
    )
    mine._sharing.adopt(2)
    await mine.start()
    try:
        return [
            ("a fast limit, one key (leases)", await rate(lambda n: mine.take((fast, "k")), 100_000)),
            (
                "a slow limit, 100 keys at once (a transaction each)",
                await rate(lambda n: mine.take((slow, str(n % 100))), 5_000),
            ),
            ("refused (remembered)", await rate(lambda n: mine.take((tight, "k")), 50_000)),
        ]
    finally:
        await mine.stop()
        await database.stop()


async def rate(decide: Callable[[int], Awaitable[Any]], number: int, width: int = 100) -> str:
    """Decisions a second with `width` callers at once."""

    async def caller(which: int) -> None:
        for turn in range(number // width):
            await decide(which + turn * width)

    began = time.perf_counter()
    await asyncio.gather(*(caller(which) for which in range(width)))
    return f"{number / (time.perf_counter() - began):,.0f}"


async def measure(path: Path) -> None:
    """Prints the tables."""
    found = in_memory()
    mine = found[0][1]
    rows = [(name, f"{ns:,.0f}", f"{1e9 / ns:,.0f}", f"{ns / mine:.1f}") for name, ns in found]
    title = "A decision in memory, 10,000 keys (target: 1,000,000 a second)"
    print(table(title, ["way", "ns", "a second", "times ours"], rows))
    print(table("Our other forms", ["what", "ns"], [(name, f"{ns:,.0f}") for name, ns in await own_ways()]))
    print(table("Shared through SQLite, one process of two", ["what", "decisions/s"], await shared(path)))


def main() -> None:
    """Runs on uvloop, as the web process does, on a temporary file."""
    with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(Path(name) / "bench.db"))
