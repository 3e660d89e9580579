"""What claims look at, and what a repeated request enqueues."""

from __future__ import annotations

import asyncio
from pathlib import Path

from databases import Kit
from tasks_lab import Process, opened, run

from tenfold.blocks.database import Transaction
from tenfold.blocks.database.scope import RequestScope, enter_scope, leave_scope
from tenfold.blocks.tasks.claiming import FROM_THE_BEGINNING_S
from tenfold.core.clock import ManualClock


def test_a_claim_does_not_step_over_what_is_gone_and_looks_below_once_a_second(kit: Kit, tmp_path: Path) -> None:
    clock = ManualClock()
    here = Process(clock)

    @here.tasks.task()
    async def note(n: int) -> None: ...

    async def work() -> None:
        async with opened(here, kit, tmp_path, work=False):
            here.database.listen("tf:tasks", lambda texts: None)  # a listener that connects late rings too
            claiming = here.tasks.worker.claiming
            await note.enqueue(1)
            rows, more = await claiming.claim("somebody", 1)
            assert ([row.payload for row in rows], more) == (['{"n":1}'], True)
            slow = await note.enqueue(2)
            await asyncio.to_thread(
                kit.outside, f"UPDATE tf_job SET rank = rank - 60000000 WHERE id = '{slow}'"
            )  # a commit that took a minute
            assert await claiming.claim("somebody", 10) == ([], False)
            clock.advance(FROM_THE_BEGINNING_S)
            rows, _ = await claiming.claim("somebody", 10)
            assert [row.id for row in rows] == [slow]
            urgent = await note.with_(priority=10).enqueue(3)
            claiming.look_from_the_beginning()  # as the bell says
            rows, _ = await claiming.claim("somebody", 10)
            assert [row.id for row in rows] == [urgent]

    run(work())


def test_two_workers_never_claim_the_same_job(kit: Kit, tmp_path: Path) -> None:
    here = Process()

    @here.tasks.task()
    async def note(n: int) -> None: ...

    async def work() -> None:
        async with opened(here, kit, tmp_path, work=False):
            await asyncio.gather(*(note.enqueue(n) for n in range(300)))
            claim = here.tasks.worker.claiming._claim
            claimed: list[str] = []
            while found := await asyncio.gather(*(claim(f"w{n}", -(2**62), 7) for n in range(8))):
                some = [row.id for rows in found for row in rows]
                if not some:
                    break
                claimed += some
            assert len(claimed) == len(set(claimed)) == 300
            holders = kit.outside("SELECT DISTINCT worker FROM tf_job")
            assert len(holders) == 8

    run(work())


def test_a_repeated_request_enqueues_its_jobs_once(kit: Kit, tmp_path: Path) -> None:
    here = Process()

    @here.tasks.task()
    async def note(n: int) -> None: ...

    async def within(tx: Transaction) -> None:
        await here.tasks.enqueue(tx, note, 2)

    async def request() -> list[str]:
        entered = enter_scope(RequestScope(idempotency_key="the same", fingerprint=b"request"))
        try:
            one = await note.enqueue(1)
            await here.within("k", within)
            return [one, await note.with_(key="k").enqueue(3)]
        finally:
            leave_scope(entered)

    async def work() -> None:
        async with opened(here, kit, tmp_path, work=False):
            assert await request() == await request()
        assert kit.outside("SELECT count(*) FROM tf_job") == [(3,)]

    run(work())
