"""Crons: each time of firing enqueues one job, whoever looks at it, and however often."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from databases import Kit
from tasks_lab import Ahead, Process, beside, opened, run

MINUTE = 60


def jobs(kit: Kit) -> int:
    return int(kit.outside("SELECT count(*) FROM tf_job")[0][0])


def cronned(clock: Ahead, missed: Any = "once") -> Process:
    process = Process(clock)

    @process.tasks.cron("* * * * *", missed=missed)
    @process.tasks.task("minutely")
    async def minutely() -> None: ...

    return process


def test_two_workers_fire_a_time_once(kit: Kit, tmp_path: Path) -> None:
    clock = Ahead()
    here, there = cronned(clock), cronned(clock)

    async def work() -> None:
        async with opened(here, kit, tmp_path, work=False) as config, beside(config, there, work=False):
            steps = (here.tasks._crons.step, there.tasks._crons.step)
            await asyncio.gather(*(step() for step in steps))
            assert jobs(kit) == 0, "a cron that nobody has seen before begins now"
            for count in range(1, 4):
                clock.advance(MINUTE)
                await asyncio.gather(*(step() for step in steps * 3))
                assert jobs(kit) == count
            clock.put_off(clock.offset_s - 10 * MINUTE)  # somebody sets the clock back
            await asyncio.gather(*(step() for step in steps))
            clock.advance(5 * MINUTE)
            await asyncio.gather(*(step() for step in steps))
            assert jobs(kit) == 3, "what has fired does not fire again"
            clock.advance(6 * MINUTE)
            await asyncio.gather(*(step() for step in steps))
            assert jobs(kit) == 4

    run(work())


@pytest.mark.parametrize(("missed", "expected"), [("once", 1), ("skip", 0)])
def test_times_that_nobody_looked_at_are_made_up_for_once_or_skipped(
    kit: Kit, tmp_path: Path, missed: str, expected: int
) -> None:
    clock = Ahead()
    before, after = cronned(clock, missed), Process(clock)

    @after.tasks.cron("0 * * * *", missed=missed)  # type: ignore[arg-type]
    @after.tasks.task("hourly")
    async def hourly() -> None: ...

    async def work() -> None:
        async with opened(before, kit, tmp_path, work=False), _started(after, before):
            await after.tasks._crons.step()
            now_s = clock.wall_us() // 1_000_000
            clock.advance(5 * 3600 + 1800 - now_s % 3600)  # half past, some hours later
            await after.tasks._crons.step()
            assert jobs(kit) == expected
            clock.advance(1800 + 5)
            await after.tasks._crons.step()
            assert jobs(kit) == expected + 1, "one that is in time fires in any case"

    run(work())


class _started:  # noqa: N801 - used as a function
    """The second process works on the first one's database."""

    def __init__(self, process: Process, owner: Process) -> None:
        process.tasks._crons._look = owner.database.transaction()(process.tasks._crons._looked_up)
        process.tasks._crons._fire = owner.database.transaction()(process.tasks._crons._fires)

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *exc: object) -> None: ...


def test_a_service_that_is_opened_again_on_another_database_fires_there_too(kit: Kit, tmp_path: Path) -> None:
    clock = Ahead()
    process = cronned(clock)

    async def fires(folder: Path) -> None:
        folder.mkdir()
        async with opened(process, kit, folder, work=False):
            await process.tasks._crons.step()
            clock.advance(MINUTE)
            await process.tasks._crons.step()
            assert jobs(kit) == 1

    async def work() -> None:
        await fires(tmp_path / "one")
        await fires(tmp_path / "other")

    run(work())


def test_a_cron_runs_its_task(kit: Kit, tmp_path: Path) -> None:
    clock, seen = Ahead(), asyncio.Event()
    process = Process(clock)

    @process.tasks.cron("* * * * *")
    @process.tasks.task()
    async def often() -> None:
        seen.set()

    async def work() -> None:
        async with opened(process, kit, tmp_path):
            await asyncio.sleep(0.2)
            clock.advance(MINUTE)
            process.tasks.worker._cron_now.set()
            await asyncio.wait_for(seen.wait(), 10)

    run(work())
