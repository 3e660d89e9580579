"""Workers that are killed, paused, stopped or taken for dead: no job is lost, and nothing of a stale attempt counts."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from databases import Kit
from tasks_lab import Ahead, Process, beside, bury, opened, run, until

from tenfold.blocks.database import Transaction
from tenfold.blocks.tasks import Retry, StaleAttempt, worker
from tenfold.blocks.tasks.host import identity
from tenfold.core.errors import ContractError, Unavailable


def rows(kit: Kit, columns: str) -> list[tuple[Any, ...]]:
    return kit.outside(f"SELECT {columns} FROM tf_job ORDER BY id")


def test_a_job_whose_worker_was_killed_runs_again_and_its_effect_is_there_once(kit: Kit, tmp_path: Path) -> None:
    first, second = Process(), Process(Ahead())
    runs: list[int] = []
    for process in (first, second):

        @process.tasks.task("effect")
        async def effect(process: int) -> None:
            here = (first, second)[len(runs) > 0]
            runs.append(here.tasks.current().attempt)
            if here is first:
                await asyncio.sleep(60)

            async def body(tx: Transaction) -> None:
                await here.count(tx, "k")
                await here.tasks.complete(tx)

            await here.within("k", body)

    async def work() -> None:
        async with opened(second, kit, tmp_path, work=False) as config:
            await first.open(config)
            await first.tasks._names["effect"].with_(key="k").enqueue(0)
            await until(lambda: runs)
            second.tasks.work(True)
            await until(lambda: second.tasks.worker.leases.id)
            await second.tasks.worker.leases.look()
            await first.die()
            assert rows(kit, "state, attempt, crashes") == [(1, 1, 0)]
            await bury(second)
            second.tasks.worker.hear("tf:tasks|urgent")
            await until(lambda: len(runs) == 2 and not second.tasks.busy())
            assert await second.counted("k") == 1
        assert runs == [1, 1], "a crash is no attempt"
        assert rows(kit, "id") == []

    run(work())


def test_a_paused_worker_that_comes_back_changes_nothing_any_more(kit: Kit, tmp_path: Path) -> None:
    paused, other = Process(), Process(Ahead())
    resume = asyncio.Event()
    stale: list[type] = []
    runs: list[str] = []

    def declared(process: Process, name: str) -> None:
        @process.tasks.task("pay")
        async def pay() -> None:
            runs.append(name)
            if name == "paused":
                await resume.wait()

            async def body(tx: Transaction) -> None:
                await process.count(tx, "k")
                await process.tasks.complete(tx)

            try:
                await process.within("k", body)
            except StaleAttempt as error:
                stale.append(type(error))
                raise

    declared(paused, "paused")
    declared(other, "other")

    async def work() -> None:
        async with opened(other, kit, tmp_path, work=False) as config, beside(config, paused):
            await paused.tasks._names["pay"].with_(key="k").enqueue()
            await until(lambda: runs == ["paused"])
            for loop in paused.tasks.worker._loops:  # SIGSTOP: it does nothing, and then goes on where it was
                loop.cancel()
            other.tasks.work(True)
            await until(lambda: other.tasks.worker.leases.id)
            await bury(other)
            other.tasks.worker.hear("tf:tasks|urgent")
            await until(lambda: runs == ["paused", "other"] and not other.tasks.busy())
            assert await other.counted("k") == 1
            resume.set()
            await until(lambda: stale)
            assert await other.counted("k") == 1
            assert not await paused.tasks.worker.leases.beat()
        assert rows(kit, "id") == []

    run(work())


def test_a_worker_that_was_taken_for_dead_throws_its_results_away(kit: Kit, tmp_path: Path) -> None:
    here, clock = Process(), Ahead()
    other, gate = Process(clock), asyncio.Event()

    @here.tasks.task()
    async def wait() -> None:
        await gate.wait()

    async def work() -> None:
        async with opened(other, kit, tmp_path, work=False) as config, beside(config, here):
            await wait.enqueue()
            await until(lambda: here.tasks.busy() == 1)
            (job,) = here.tasks.worker.held.values()
            await asyncio.to_thread(
                kit.outside, "UPDATE tf_job SET state = 0, worker = '', attempt = 0, epoch = epoch + 1"
            )
            here.tasks.work(False)
            gate.set()
            await until(lambda: here.tasks.stats().stale == 1)
            assert here.tasks.stats().finished == 0
            assert (job.epoch, rows(kit, "state, epoch")) == (1, [(0, 2)])

    run(work())


def test_a_job_that_was_taken_away_is_told_so_while_it_runs(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "BEAT_S", 3600.0)  # the test compares, and nobody else
    here, ended = Process(), []

    @here.tasks.task()
    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(here.tasks.current().cancelled)

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            await wait.enqueue()
            await until(lambda: here.tasks.busy() == 1)
            here.tasks.work(False)
            await here.tasks.worker._compare()
            await asyncio.to_thread(kit.outside, "UPDATE tf_job SET state = 0, worker = '', attempt = 0")
            await here.tasks.worker._compare()
            assert not ended, "once may be a matter of moments"
            await here.tasks.worker._compare()
            await until(lambda: ended == [True])
            assert here.tasks.busy() == 0

    run(work())


def test_a_claim_whose_answer_was_lost_is_given_back(kit: Kit, tmp_path: Path) -> None:
    here, seen = Process(), []

    @here.tasks.task()
    async def note() -> None:
        seen.append(here.tasks.current().attempt)

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            await until(lambda: here.tasks.worker.leases.id)
            me = here.tasks.worker.leases.id
            here.tasks.work(False)
            await note.enqueue()
            await asyncio.to_thread(
                kit.outside, f"UPDATE tf_job SET state = 1, worker = '{me}', epoch = 1, attempt = 1"
            )
            await here.tasks.worker._compare()
            await here.tasks.worker._compare()
            assert rows(kit, "state, worker, attempt, epoch") == [(0, "", 0, 1)]
            here.tasks.work(True)
            await until(lambda: seen == [1])

    run(work())


def test_jobs_of_a_process_that_ended_on_this_host_come_back_at_once(kit: Kit, tmp_path: Path) -> None:
    here, seen = Process(), []

    @here.tasks.task()
    async def note(text: str) -> None:
        seen.append(text)

    async def work() -> None:
        async with opened(here, kit, tmp_path, work=False):
            await note.enqueue("of the dead")
            who = identity()
            values = f"'old', '{who.host}', {os.getpid()}, {who.started - 1}, 7, 1"  # this pid was another's before
            await asyncio.to_thread(
                kit.outside, f"INSERT INTO tf_worker (id, host, pid, started, beat, at_us) VALUES ({values})"
            )
            await asyncio.to_thread(kit.outside, "UPDATE tf_job SET state = 1, worker = 'old', epoch = 1, attempt = 1")
            began = asyncio.get_running_loop().time()
            here.tasks.work(True)
            await until(lambda: seen == ["of the dead"])
            assert asyncio.get_running_loop().time() - began < 2
            assert kit.outside("SELECT id FROM tf_worker WHERE id = 'old'") == []

    run(work())


def test_jobs_of_a_worker_without_a_row_come_back(kit: Kit, tmp_path: Path) -> None:
    here, seen = Process(Ahead()), []

    @here.tasks.task()
    async def note() -> None:
        seen.append(here.tasks.current().crashes)

    async def work() -> None:
        async with opened(here, kit, tmp_path, work=False):
            await note.enqueue()
            await asyncio.to_thread(
                kit.outside, "UPDATE tf_job SET state = 1, worker = 'nobody', epoch = 1, attempt = 1"
            )
            here.tasks.work(True)
            await until(lambda: here.tasks.worker.leases.id)
            await bury(here)
            await until(lambda: seen == [1])

    run(work())


def test_a_job_under_which_three_processes_die_is_parked(kit: Kit, tmp_path: Path) -> None:
    observer, lanes = Process(Ahead()), []

    async def work() -> None:
        async with opened(observer, kit, tmp_path, work=False) as config:
            await observer.tasks.worker.leases.register()
            for crash in range(3):
                victim = Process()

                @victim.tasks.task("poison", unique=())
                async def poison() -> None:
                    await asyncio.sleep(60)

                await victim.open(config)
                await poison.enqueue()
                await until(lambda victim=victim: victim.tasks.worker.running.jobs)
                await victim.die()
                assert await bury(observer) == (1 if crash < 2 else 0)
                lanes.append(rows(kit, "state, crashes, attempt, lane"))
            assert lanes == [[(0, 1, 0, "")], [(0, 2, 0, "tf:suspects")], [(3, 3, 0, "tf:suspects")]]
            (letter,) = await observer.tasks.dead()
            assert "died, 3 times" in letter.error
            assert rows(kit, "sole") == [(None,)]

    run(work())


def test_of_those_that_two_processes_died_under_one_runs_at_a_time(kit: Kit, tmp_path: Path) -> None:
    here, now, most, done = Process(), 0, 0, 0

    @here.tasks.task()
    async def suspect(n: int) -> None:
        nonlocal now, most, done
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        done += 1

    async def work() -> None:
        async with opened(here, kit, tmp_path, work=False):
            for n in range(4):
                await suspect.enqueue(n)
            await asyncio.to_thread(kit.outside, "UPDATE tf_job SET lane = 'tf:suspects', crashes = 2")
            here.tasks.work(True)
            await until(lambda: done == 4)
        assert most == 1

    run(work())


def test_a_job_of_a_name_that_nobody_knows_waits_until_somebody_does(kit: Kit, tmp_path: Path) -> None:
    old, new, seen = Process(), Process(), []

    @new.tasks.task("added")
    async def added(n: int) -> None:
        seen.append((n, new.tasks.current().attempt))

    async def work() -> None:
        async with opened(old, kit, tmp_path) as config, beside(config, new, work=False):
            job = await added.enqueue(7)

            async def unknown() -> bool:
                found = await old.tasks.status(job)
                return found is not None and found.state == "unknown"

            await until(unknown)
            old.tasks.work(False)
            new.tasks.work(True)
            await new.tasks.worker._tidy_step()
            await until(lambda: seen == [(7, 1)])

    run(work())


def test_a_job_whose_arguments_do_not_fit_any_more_is_parked_with_the_reason(kit: Kit, tmp_path: Path) -> None:
    old, new = Process(), Process()

    @old.tasks.task("changed")
    async def before(text: str) -> None: ...

    @new.tasks.task("changed")
    async def after(number: int) -> None: ...

    async def work() -> None:
        async with opened(old, kit, tmp_path, work=False) as config, beside(config, new):
            await before.enqueue("text")

            async def dead() -> bool:
                return bool(await new.tasks.dead())

            await until(dead)
            (letter,) = await new.tasks.dead()
            assert "do not fit the function any more" in letter.error
            assert letter.payload == '{"text":"text"}'

    run(work())


def test_what_a_job_completes_is_done_whatever_happens_after(kit: Kit, tmp_path: Path) -> None:
    here, runs = Process(), []

    @here.tasks.task(retry=Retry(max=5, first="1ms", limit="1ms"))
    async def effect() -> None:
        runs.append(here.tasks.current().attempt)

        async def body(tx: Transaction) -> None:
            await here.count(tx, "k")
            if len(runs) < 3:
                raise ValueError("rolled back")
            await here.tasks.complete(tx)

        await here.within("k", body)
        with pytest.raises(StaleAttempt):  # it is done: nothing of it can commit any more
            await here.within("k", body)
        raise RuntimeError("too late to matter")

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            await effect.with_(key="k").enqueue()
            await until(lambda: len(runs) == 3 and not here.tasks.busy())
            assert await here.counted("k") == 1
        assert rows(kit, "id") == []
        assert runs == [1, 2, 3]

    run(work())


def test_a_job_is_completed_by_its_own_key_only(kit: Kit, tmp_path: Path) -> None:
    here, found = Process(), []

    @here.tasks.task(retry=Retry(max=1))
    async def effect() -> None:
        try:
            await here.within("another key", here.tasks.complete)
        except ContractError as error:
            found.append(error.code)

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            await effect.with_(key="k").enqueue()
            await until(lambda: found == ["TF-TASK-SHARD"])

    run(work())


def test_a_worker_that_stops_gives_back_what_does_not_end(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "DRAIN_S", 0.2)
    here, seen = Process(), []

    @here.tasks.task()
    async def work_on(seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append(seconds)

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            await work_on.enqueue(0.05)
            await work_on.enqueue(60)
            await until(lambda: here.tasks.busy() == 2)
        assert seen == [0.05]
        assert rows(kit, "state, attempt, crashes, worker") == [(0, 0, 0, "")]
        assert kit.outside("SELECT count(*) FROM tf_worker") == [(0,)]

    run(work())


def test_who_does_not_work_claims_nothing_and_finishes_what_runs(kit: Kit, tmp_path: Path) -> None:
    here, gate, seen = Process(), asyncio.Event(), []

    @here.tasks.task()
    async def wait(n: int) -> None:
        await gate.wait()
        seen.append(n)

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            await wait.enqueue(1)
            await until(lambda: here.tasks.busy() == 1)
            here.tasks.work(False)
            await wait.enqueue(2)
            gate.set()
            await until(lambda: not here.tasks.busy())
            await asyncio.sleep(0.3)
            assert seen == [1]
            here.tasks.work(True)
            await until(lambda: seen == [1, 2])

    run(work())


def test_a_database_that_goes_away_ends_no_worker(kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, seen, away = Process(), [], True

    @here.tasks.task()
    async def note(n: int) -> None:
        seen.append(n)

    async def gone(*args: Any) -> Any:
        if away:
            raise Unavailable("The database is away.")
        return await real(*args)

    async def gone_too(*args: Any) -> Any:
        if away:
            raise OSError("and in another way")
        return await writes(*args)

    async def work() -> None:
        nonlocal away
        async with opened(here, kit, tmp_path):
            await note.enqueue(1)
            await until(lambda: here.tasks.stats().failed_steps > 2)
            away = False
            await until(lambda: seen == [1] and not here.tasks.busy())
            away = True
            monkeypatch.setattr(here.tasks.worker.claiming, "_claim", real)
            await note.enqueue(2)
            await until(lambda: seen == [1, 2])
            await asyncio.sleep(0.2)
            assert here.tasks.busy() == 1, "its end is kept until it can be written"
            away = False
            await until(lambda: not here.tasks.busy())
        assert rows(kit, "id") == []

    real, writes = here.tasks.worker.claiming._claim, here.tasks.worker.finishing._write
    monkeypatch.setattr(here.tasks.worker.claiming, "_claim", gone)
    monkeypatch.setattr(here.tasks.worker.finishing, "_write", gone_too)
    run(work())


def test_workers_that_come_and_go_under_load_lose_nothing_and_do_nothing_twice(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "DRAIN_S", 0.01)
    home, seen, enqueued, going = Process(), list[int](), 0, True

    def declared(process: Process) -> Any:
        @process.tasks.task("effect")
        async def effect(n: int) -> None:
            await asyncio.sleep(0.002 * (n % 5))

            async def body(tx: Transaction) -> None:
                await process.count(tx, "k")
                await process.tasks.complete(tx)
                tx.on_commit(lambda: seen.append(n))

            await process.within("k", body)

        return effect

    async def produce(task: Any) -> None:
        nonlocal enqueued
        while going:
            enqueued += 1
            await task.with_(key="k").enqueue(enqueued)
            await asyncio.sleep(0.002)

    async def work() -> None:
        nonlocal going
        task = declared(home)
        async with opened(home, kit, tmp_path, work=False) as config:
            producer = asyncio.create_task(produce(task))
            for _ in range(4):
                process = Process()
                declared(process)
                wanted = len(seen) + 20
                async with beside(config, process):
                    await until(lambda wanted=wanted: len(seen) >= wanted)
            going = False
            await producer
            home.tasks.work(True)
            await until(lambda: len(seen) >= enqueued and not home.tasks.busy())
            assert await home.counted("k") == enqueued
        assert sorted(seen) == list(range(1, enqueued + 1))
        assert rows(kit, "id") == []

    run(work())
