"""PostgreSQL is killed under a worker again and again: jobs go on, none is lost, none has its effect twice."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import PostgresServer, needs_postgres
from postgres_kit import PostgresKit
from tasks_lab import Process, opened, until

from tenfold.blocks.database import Transaction

pytestmark = needs_postgres
DEATHS = 3


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    running = PostgresServer()
    running.start()
    try:
        yield running
    finally:
        running.remove()


def test_no_job_is_lost_and_none_has_its_effect_twice(tmp_path: Path, server: PostgresServer) -> None:
    process, ended = Process(), list[int]()
    enqueued, going = 0, True

    @process.tasks.task()
    async def effect(n: int) -> None:
        await asyncio.sleep(0.01 * (n % 7))
        if n % 2:
            ended.append(n)
            return

        async def body(tx: Transaction) -> None:
            await process.count(tx, "k")
            await process.tasks.complete(tx)
            tx.on_commit(lambda: ended.append(n))

        await process.within("k", body)

    async def produce() -> None:
        nonlocal enqueued
        while going:
            enqueued += 1
            await effect.with_(key="k").enqueue(enqueued)  # held while the database is away, and then done
            await asyncio.sleep(0.005)

    def dies_and_comes_back(how: signal.Signals) -> None:
        server.stop(how)
        server.start()

    async def work() -> None:
        nonlocal going
        async with opened(process, PostgresKit(server), tmp_path):
            producer = asyncio.create_task(produce())
            for death in range(DEATHS):
                wanted = len(ended) + 30
                await until(lambda wanted=wanted: len(ended) >= wanted)
                how = signal.SIGQUIT if death % 2 else signal.SIGINT
                await asyncio.to_thread(dies_and_comes_back, how)
                assert not producer.done(), "no enqueue may fail"
            wanted = len(ended) + 30
            await until(lambda: len(ended) >= wanted)
            going = False
            await producer
            await until(lambda: len(set(ended)) >= enqueued and not process.tasks.busy())
            assert await process.counted("k") == enqueued // 2
        assert set(ended) == set(range(1, enqueued + 1))

    async def bounded() -> None:
        await asyncio.wait_for(work(), 60)

    asyncio.run(bounded())
