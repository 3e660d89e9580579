"""One process may open its service, close it, and open it on another database: nothing of the first one is left."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from own_tables import make_database_file

from tenfold import Event, Tenfold, Transaction

WITHIN_S = 10.0


def test_jobs_run_and_events_arrive_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tf, ran, told = Tenfold("again"), list[str](), list[str]()

    @tf.tasks.task()
    async def work(name: str) -> None:
        ran.append(name)

    @tf.events.subscriber("thing.done", name="log", start="beginning")
    async def tell(batch: list[Event]) -> None:
        told.extend(event.data["name"] for event in batch)

    @tf.database.transaction()
    async def both(tx: Transaction, name: str) -> None:
        await tf.tasks.enqueue(tx, work, name)
        await tf.events.publish(tx, "thing.done", {"name": name})

    async def once(name: str) -> None:
        await tf.open()
        try:
            await both(name)
            async with asyncio.timeout(WITHIN_S):
                while name not in ran or name not in told:
                    await asyncio.sleep(0.005)
        finally:
            await tf.close()

    for name in ("first", "second", "third"):
        folder = tmp_path / name
        (folder / ".tenfold" / "data").mkdir(parents=True)
        make_database_file(folder / ".tenfold" / "data" / "again.db")
        monkeypatch.chdir(folder)
        asyncio.run(once(name))
    assert ran == told == ["first", "second", "third"]
