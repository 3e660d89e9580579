"""A process whose lease cannot be taken starts all the same, and says why there are no snowflakes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from own_tables import make_database_file
from sqlalchemy import MetaData

from tenfold.blocks.database import Database, DatabaseConfig
from tenfold.blocks.ids import Ids
from tenfold.core.clock import ManualClock
from tenfold.core.errors import Unavailable
from tenfold.core.randomness import SeededRandomness
from tenfold.drivers.sqlite import open_writer


def test_a_closed_database_is_the_reason_given() -> None:
    async def body() -> None:
        ids = Ids(Database(MetaData()), ManualClock(1_800_000_000_000_000), SeededRandomness(1))
        await ids.start()
        with pytest.raises(Unavailable, match=r"TF-IDS-LEASE.*database is not open"):
            ids.snowflake()
        assert ids.uuid7().version == 7
        await ids.stop()

    asyncio.run(body())


def test_one_object_can_be_started_again_on_another_loop(tmp_path: Path) -> None:
    path, clock, made = make_database_file(tmp_path / "ids.db"), ManualClock(1_800_000_000_000_000), list[int]()
    database = Database(MetaData(), clock=clock)
    ids = Ids(database, clock, SeededRandomness(1))

    async def body() -> None:
        await database.start(DatabaseConfig(path, "test"), lambda error: None)
        await ids.start()
        made.extend([ids.snowflake(), *await asyncio.gather(*(ids.sequence("links") for _ in range(3)))])
        clock.advance(31)
        with pytest.raises(Unavailable):
            ids.snowflake()
        await ids.stop()
        await database.stop()

    for _ in range(3):
        asyncio.run(body())
    assert len(set(made)) == 12


def test_a_database_without_our_tables_is_the_reason_given(tmp_path: Path) -> None:
    async def body() -> None:
        open_writer(tmp_path / "empty.db", create=True).close()
        database = Database(MetaData())
        await database.start(DatabaseConfig(tmp_path / "empty.db", "test"), lambda error: None)
        ids = Ids(database, ManualClock(1_800_000_000_000_000), SeededRandomness(1))
        await ids.start()
        with pytest.raises(Unavailable, match="TF-IDS-LEASE"):
            ids.snowflake()
        await ids.stop()
        await database.stop()

    asyncio.run(body())
