"""The kv block's lifecycle, and that what it clears up in the background is cleared up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest
from lifecycle_contract import check_lifecycle
from own_tables import make_database_file, opened
from sqlalchemy import MetaData

from tenfold.blocks.database import Database
from tenfold.blocks.kv import Kv, sweeper
from tenfold.core.clock import ManualClock
from tenfold.core.randomness import SeededRandomness


def test_it_starts_and_stops_as_everything_does() -> None:
    def make() -> Kv:
        return Kv(Database(MetaData()), ManualClock(), SeededRandomness(1))

    asyncio.run(check_lifecycle(make, lambda kv: cast("Kv", kv)._sweeper.running))


def test_what_expired_goes_by_itself_and_a_database_that_is_away_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "EVERY_S", 0.002)

    async def main() -> None:
        clock = ManualClock()
        async with opened(make_database_file(tmp_path / "kv.db"), clock) as database:
            kv = Kv(database, clock, SeededRandomness(1))
            for number in range(sweeper.ROWS + 20):
                await kv.put(f"k{number}", 1, ttl=1)
            clock.advance(1)
            router, database._router = database._router, None
            await kv.start()
            await asyncio.sleep(0.02)  # it fails several times meanwhile
            assert kv.stats().swept == 0
            database._router = router
            async with asyncio.timeout(20):
                while kv.stats().swept < sweeper.ROWS + 20:
                    await asyncio.sleep(0.005)
            await kv.stop()

    asyncio.run(main())
