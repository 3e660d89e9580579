"""Maps that hold, fence and switch, back and forth, while writers and readers never stop."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest
from bank import FIND, database, open_account, run
from two_databases import Pair, started

SWITCHES = 100
WRITERS, READERS = 8, 4
OTHER = {"sqlite": "postgres", "postgres": "sqlite"}


class Load:
    """Writers that open one account after the other, and readers of one that is in both files."""

    def __init__(self) -> None:
        self.going = True
        self.acknowledged: list[str] = []
        self.reads = 0

    async def write(self, writer: int) -> None:
        for number in itertools.count():
            if not self.going:
                return
            owner = f"w{writer}-{number}"
            await open_account(owner)
            self.acknowledged.append(owner)

    async def read(self) -> None:
        while self.going:
            async with database.read(key="both", snapshot=self.reads % 7 == 0) as db:
                assert (await db.one(FIND, owner="both")).balance == 1
            self.reads += 1
            await asyncio.sleep(0)

    async def more(self, count: int) -> None:
        """Returns when that many more writes were acknowledged."""
        wanted = len(self.acknowledged) + count
        while len(self.acknowledged) < wanted:
            await asyncio.sleep(0.001)


async def switch(pair: Pair, source: str, epoch: int, *, held: bool) -> None:
    """One flip as a mover does it; without `held` as a process sees it whose acknowledgement was not waited for."""
    target = OTHER[source]
    if held:
        database.adopt(pair.map(epoch, source, target, held=True))
    await asyncio.to_thread(pair.fence, source)
    await asyncio.to_thread(pair.lift, target)
    database.adopt(pair.map(epoch + 1, target, source))


@pytest.mark.parametrize("held", [True, False])
def test_every_acknowledged_write_is_in_exactly_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    pair = Pair(tmp_path, monkeypatch)

    async def work() -> None:
        pair.sql("postgres", "PRAGMA journal_mode = WAL")
        for which in pair.paths:
            pair.sql(which, "INSERT INTO accounts (owner, balance, tf_bucket) VALUES ('both', 1, 0)")
        pair.fence("postgres")
        load = Load()
        async with started(pair.map(1, "sqlite", "postgres")):
            await database.prepared(10)
            tasks = [asyncio.create_task(load.write(n)) for n in range(WRITERS)]
            tasks += [asyncio.create_task(load.read()) for _ in range(READERS)]
            source = "sqlite"
            for number in range(SWITCHES):
                await switch(pair, source, 2 * number + 2, held=held)
                source = OTHER[source]
                await load.more(WRITERS)
            load.going = False
            await asyncio.gather(*tasks)  # an error of one of them fails the test
            assert database.holding.now == 0
            assert database.holding.refused == 0
        one, two = pair.owners("sqlite"), pair.owners("postgres")
        stored = sorted(owner for owner in [*one, *two] if owner != "both")
        assert stored == sorted(load.acknowledged), "each once, and nothing that nobody was told of"
        assert min(len(one), len(two)) > SWITCHES
        assert load.reads > SWITCHES

    run(work())
