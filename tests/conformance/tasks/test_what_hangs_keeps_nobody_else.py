"""Room and threads: what runs for long, or hangs, takes only what it needs from the others."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from databases import Kit
from tasks_lab import Process, beside, opened, run, until

from tenfold.blocks.tasks import Retry
from tenfold.blocks.tasks.threads import THREADS
from tenfold.blocks.tasks.worker import SLOTS
from tenfold.core.errors import Unavailable


def _tasks(process: Process, over: threading.Event, done: list[str]) -> None:
    """A task that hangs, one that needs a thread, and two that do not."""

    @process.tasks.task(timeout="50ms", retry=Retry(max=1))
    def hang() -> None:
        over.wait(30)

    @process.tasks.task()
    def blocking(n: int) -> None:
        done.append(f"blocking {n}")

    @process.tasks.task()
    async def free(n: int) -> None:
        done.append(f"free {n}")

    @process.tasks.task(concurrency=1)
    async def narrow(n: int) -> None:
        done.append(f"narrow {n}")

    @process.tasks.task(concurrency=1)
    def narrow_blocking(n: int) -> None:
        done.append(f"narrow blocking {n}")


def test_a_worker_whose_threads_all_hang_leaves_blocking_jobs_to_others(
    kit: Kit, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here, there, over = Process(), Process(), threading.Event()
    mine: list[str] = []
    theirs: list[str] = []
    _tasks(here, over, mine)
    _tasks(there, over, theirs)

    async def enqueue(name: str, count: int) -> None:
        task = here.tasks.named(name)
        assert task is not None
        await asyncio.gather(*(task.enqueue(*([n] if name != "hang" else [])) for n in range(count)))

    async def work() -> None:
        async with opened(here, kit, tmp_path) as config:
            try:
                await enqueue("hang", THREADS)
                await enqueue("blocking", 3)  # they wait for a thread when the last one hangs
                await until(here.tasks.trouble)
                assert here.tasks.stats().hung_threads == THREADS
                await enqueue("free", 3)
                await enqueue("narrow", 2)
                await enqueue("narrow_blocking", 1)
                await until(lambda: len(mine) == 5 and not here.tasks.busy())
                assert kit.outside(
                    "SELECT count(*) FROM tf_job WHERE name IN ('blocking', 'narrow_blocking') AND state = 0"
                ) == [(4,)]
                async with beside(config, there):
                    await until(lambda: len(theirs) == 4)
                over.set()
                await until(lambda: not here.tasks.trouble())
                await enqueue("blocking", 1)
                await until(lambda: "blocking 0" in mine)
            finally:
                over.set()

    with caplog.at_level(logging.INFO, "tenfold.tasks"):
        run(work())
    assert f"All {THREADS} threads hang in jobs that are over (hang)" in caplog.text
    assert "A thread is free again" in caplog.text


def test_a_worker_claims_as_long_as_there_is_room_for_one(kit: Kit, tmp_path: Path) -> None:
    here, over = Process(), asyncio.Event()
    seen = 0

    @here.tasks.task()
    async def long() -> None:
        nonlocal seen
        seen += 1
        await over.wait()

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            for _ in range(0, SLOTS - 10, 38):
                await asyncio.gather(*(long.enqueue() for _ in range(38)))
            await until(lambda: seen == SLOTS - 10)
            await asyncio.gather(*(long.enqueue() for _ in range(20)))
            await until(lambda: seen == SLOTS)
            over.set()
            await until(lambda: seen == SLOTS + 10 and not here.tasks.busy())

    run(work())


def test_what_is_claimed_runs_when_the_look_at_the_lanes_fails(kit: Kit, tmp_path: Path) -> None:
    here = Process()

    @here.tasks.task()
    async def note() -> None: ...

    @here.tasks.task(concurrency=1)
    async def narrow() -> None: ...

    async def work() -> None:
        async with opened(here, kit, tmp_path, work=False):
            claiming = here.tasks.worker.claiming
            await note.enqueue()
            await narrow.enqueue()
            good = claiming._claim_in_lanes

            async def fails(*_: Any) -> list[Any]:
                raise Unavailable("away")

            claiming._claim_in_lanes = fails
            rows, _ = await claiming.claim("w", 10)
            assert [row.name for row in rows] == ["note"]
            with pytest.raises(Unavailable):
                await claiming.claim("w", 10)  # the next one looks again, though no second has passed
            claiming._claim_in_lanes = good
            rows, _ = await claiming.claim("w", 10)
            assert [row.name for row in rows] == ["narrow"]

    run(work())
