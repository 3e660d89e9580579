"""A transaction that has begun goes on when its caller is cancelled, so another flush must not begin beside it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from sqlalchemy import MetaData

from tenfold.blocks.database import Database
from tenfold.blocks.metrics import Metrics
from tenfold.core.clock import ManualClock
from tenfold.core.randomness import SeededRandomness


class Store:
    """Adds up entries when it is let go on, whoever was cancelled meanwhile."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.now = self.most = 0

    async def fold(self) -> int:
        return await asyncio.shield(self._body())

    async def _body(self) -> int:
        self.now += 1
        self.most = max(self.most, self.now)
        self.begun.set()
        await self.go_on.wait()
        self.now -= 1
        return 0


@pytest.mark.parametrize("how", ["stop", "flush"])
def test_a_flush_after_a_cancelled_one_begins_when_that_has_ended(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    async def test() -> None:
        metrics, store = Metrics(Database(MetaData()), ManualClock(), SeededRandomness(1)), Store()
        monkeypatch.setattr(metrics, "_store", store)
        await metrics.start()
        first = asyncio.create_task(metrics.flush())
        await store.begun.wait()
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        metrics._has_entered()
        after: asyncio.Task[Any] = asyncio.create_task(metrics.stop() if how == "stop" else metrics.flush())
        for _ in range(20):
            await asyncio.sleep(0)
        assert store.most == 1
        store.go_on.set()
        await after
        assert (store.most, store.now) == (1, 0)
        await metrics.stop()

    asyncio.run(test())
