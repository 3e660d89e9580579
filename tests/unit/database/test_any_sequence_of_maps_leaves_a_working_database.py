"""Maps in any order, standbys that come and go and open slowly: no call fails, hangs, or goes to a database unnamed."""

from __future__ import annotations

import asyncio
import itertools
import random
from pathlib import Path

import pytest
from bank import FIND, database, open_account, run
from two_databases import Pair, started

MAPS = 120
NAMES = ("sqlite", "postgres")


@pytest.mark.parametrize("seed", range(6))
def test_random_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    dice = random.Random(seed)
    pair = Pair(tmp_path, monkeypatch)
    acknowledged: list[str] = []
    going = True

    async def opens() -> None:
        for _ in range(dice.randrange(20)):
            await asyncio.sleep(0)
        if dice.random() < 0.3:
            raise OSError("not now")

    async def write(writer: int) -> None:
        for number in itertools.count():
            if not going:
                return
            await open_account(f"w{writer}-{number}")
            acknowledged.append(f"w{writer}-{number}")

    async def read() -> None:
        while going:
            async with database.read(key="both", snapshot=dice.random() < 0.2) as db:
                assert (await db.one(FIND, owner="both")).balance == 1
            await asyncio.sleep(0)

    async def work() -> None:
        nonlocal going
        monkeypatch.setattr("tenfold.blocks.database.router.OPEN_AGAIN.__class__.wait_s", lambda *_: 0.001)
        pair.opens = opens
        for which in pair.paths:
            pair.sql(which, "INSERT INTO accounts (owner, balance, tf_bucket) VALUES ('both', 1, 0)")
        async with started(pair.map(1, "sqlite")):
            tasks = [asyncio.create_task(write(n)) for n in range(4)] + [asyncio.create_task(read()) for _ in range(2)]
            for epoch in range(2, MAPS):
                backend = dice.choice(NAMES)
                standby = dice.choice(["", *(name for name in NAMES if name != backend)])
                database.adopt(pair.map(epoch, backend, standby, held=dice.random() < 0.3))
                for _ in range(dice.choice([0, 1, 5, 40])):
                    await asyncio.sleep(0)
                assert not any(task.done() for task in tasks), "nobody may fail"
            last = dice.choice(NAMES)
            database.adopt(pair.map(MAPS, last))
            before = len(acknowledged)
            while len(acknowledged) < before + 20:
                assert not any(task.done() for task in tasks), "nobody may fail"
                await asyncio.sleep(0.001)
            going = False
            await asyncio.gather(*tasks)
            assert database.holding.backend == last
            assert database.holding.refused == 0
            await open_account("last")
            assert "last" in pair.owners(last)
        stored = [owner for which in pair.paths for owner in pair.owners(which) if owner != "both"]
        assert sorted(stored) == sorted([*acknowledged, "last"])

    run(work())
