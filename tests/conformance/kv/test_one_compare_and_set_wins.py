"""Many writers, several processes: of all that expect one version exactly one succeeds, and no version comes twice."""

from __future__ import annotations

import asyncio
import itertools
import random
from contextlib import AsyncExitStack

from blocks_lab import Opener, run

from tenfold.blocks.kv import Entry, Kv
from tenfold.core.clock import SYSTEM_CLOCK, ManualClock
from tenfold.core.randomness import SYSTEM_RANDOMNESS, SeededRandomness

PROCESSES = 3
WRITERS = 24
WINS = 120


async def processes(open_database: Opener, stack: AsyncExitStack) -> list[Kv]:
    """As many of them on one database."""
    opened = [await stack.enter_async_context(open_database()) for _ in range(PROCESSES)]
    return [Kv(database, SYSTEM_CLOCK, SYSTEM_RANDOMNESS) for database in opened]


def test_each_version_is_won_by_exactly_one_writer(open_database: Opener) -> None:
    won: list[tuple[int, int]] = []

    async def writer(kv: Kv) -> None:
        while len(won) < WINS:
            before = await kv.get("counter", consistency="strong")
            expected, value = (before.version, before.value) if before else (None, 0)
            version = await kv.cas("counter", expected, value + 1)
            if version is not None:
                won.append((expected or 0, version))

    async def main() -> None:
        async with AsyncExitStack() as stack:
            kvs = await processes(open_database, stack)
            await asyncio.gather(*(writer(kvs[n % PROCESSES]) for n in range(WRITERS)))
            last = await kvs[0].get("counter")
            assert last == Entry(len(won), len(won))
            assert sum(kv.stats().lost for kv in kvs), "nobody was in the way of anybody: this shows nothing"
        assert sorted(won) == [(n, n + 1) for n in range(len(won))]

    run(main())


def test_no_version_comes_twice_while_some_delete_and_the_clocks_differ(open_database: Opener) -> None:
    seen: dict[str, list[int]] = {"a": [], "{a}b": []}
    draw = random.Random(5)

    async def writer(kv: Kv, clock: ManualClock) -> None:
        for _ in range(25):
            key = draw.choice(list(seen))
            await kv.delete(key)
            if draw.random() < 0.3:
                clock.step_wall(draw.choice([-3600.0, 3600.0]))
            if draw.random() < 0.3:
                await kv.sweep()
            seen[key].append(await kv.put(key, 1, ttl=draw.choice([None, "1s"])))

    async def main() -> None:
        async with AsyncExitStack() as stack:
            work = []
            for _ in range(PROCESSES):
                database = await stack.enter_async_context(open_database())
                clock = ManualClock()
                kv = Kv(database, clock, SeededRandomness(1))
                work += [writer(kv, clock) for _ in range(4)]
            await asyncio.gather(*work)

    run(main())
    for versions in seen.values():
        assert len(versions) > 50
        assert len(set(versions)) == len(versions)


def test_a_history_of_one_key_never_repeats_a_version(open_database: Opener) -> None:
    """proof: every order of put, delete, expiry, sweep and clock steps, against what was seen before."""

    async def main() -> None:
        async with open_database() as database:
            for order in itertools.permutations(("put", "delete", "expire", "sweep", "back"), 5):
                clock = ManualClock()
                kv = Kv(database, clock, SeededRandomness(1))
                key, seen = "-".join(order), list[int]()
                for doing in (*order, "put", *order, "put"):
                    if doing == "put":
                        seen.append(await kv.put(key, 1))
                    elif doing == "delete":
                        await kv.delete(key)
                    elif doing == "expire":
                        seen.append(await kv.put(key, 1, ttl="1s"))
                        clock.step_wall(2)
                    elif doing == "sweep":
                        await kv.sweep()
                    else:
                        clock.step_wall(-60)
                    for old in seen[:-1]:
                        assert await kv.cas(key, old, "stale") is None
                assert seen == sorted(set(seen)), order

    run(main())
