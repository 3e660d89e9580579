"""A job that is enqueued runs; how, and what is told of it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from databases import Kit
from tasks_lab import Process, beside, opened, run, until

from tenfold.blocks.database import Transaction
from tenfold.blocks.database.scope import current_scope
from tenfold.blocks.tasks import JobRefused, Retry
from tenfold.core.errors import ContractError


def test_a_job_runs_with_its_arguments_and_leaves_no_row(kit: Kit, tmp_path: Path) -> None:
    here, seen = Process(), []

    @here.tasks.task()
    async def greet(name: str, times: int = 1, *, loud: bool = False) -> None:
        seen.append((name, times, loud))

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            first = await greet.enqueue("Ann", loud=True)
            await greet.enqueue("Bob", 2)
            await until(lambda: len(seen) == 2 and not here.tasks.busy())
            assert await here.tasks.status(first) is None
        assert sorted(seen) == [("Ann", 1, True), ("Bob", 2, False)]
        assert kit.outside("SELECT count(*) FROM tf_job") == [(0,)]
        assert kit.outside("SELECT count(*) FROM tf_worker") == [(0,)]

    run(work())


def test_a_job_is_there_exactly_if_its_transaction_is(kit: Kit, tmp_path: Path) -> None:
    here, seen = Process(), []

    @here.tasks.task()
    async def note(text: str) -> None:
        seen.append(text)

    async def good(tx: Transaction) -> None:
        await here.count(tx, "k")
        await here.tasks.enqueue(tx, note, "good")

    async def bad(tx: Transaction) -> None:
        await here.tasks.enqueue(tx, note, "bad")
        raise ValueError("rolled back")

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            with pytest.raises(ValueError, match="rolled back"):
                await here.within("k", bad)
            await here.within("k", good)
            await until(lambda: seen and not here.tasks.busy())
            assert await here.counted("k") == 1
        assert seen == ["good"]
        assert kit.outside("SELECT count(*) FROM tf_job") == [(0,)]

    run(work())


def test_a_job_that_is_enqueued_elsewhere_is_heard_of_without_waiting_for_a_poll(kit: Kit, tmp_path: Path) -> None:
    here, there, seen = Process(), Process(), []
    for process in (here, there):

        @process.tasks.task("note")
        async def note() -> None:
            seen.append(asyncio.get_running_loop().time())

    async def work() -> None:
        async with opened(here, kit, tmp_path) as config, beside(config, there, work=False):
            waits = []
            for count in range(1, 4):
                await until(lambda: here.tasks.worker._empty >= 4)  # it polls every 2 s by now
                began = asyncio.get_running_loop().time()
                await there.tasks._names["note"].enqueue()
                await until(lambda count=count: len(seen) == count)
                waits.append(seen[-1] - began)
            assert min(waits) < 0.5

    run(work())


def test_a_blocking_function_runs_in_a_thread_and_its_result_is_kept(kit: Kit, tmp_path: Path) -> None:
    here = Process()

    @here.tasks.task(keep="1h")
    def add(a: int, b: int) -> dict[str, Any]:
        here.tasks.current().progress(0.5, "half")
        return {"sum": a + b, "main": threading.current_thread() is threading.main_thread()}

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            job = await add.enqueue(2, b=3)

            async def done() -> bool:
                found = await here.tasks.status(job)
                return found is not None and found.state == "done"

            await until(done)
            found = await here.tasks.status(job)
            assert found is not None
            assert found.result == {"sum": 5, "main": False}
            assert (found.progress, found.text) == (0.5, "half")

    run(work())


def test_a_kept_result_goes_when_its_time_is_over(kit: Kit, tmp_path: Path) -> None:
    here = Process()

    @here.tasks.task(keep="1s")
    async def brief() -> int:
        return 1

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            await brief.enqueue()
            await until(lambda: here.tasks.stats().finished == 1)
            await here.tasks.worker.upkeep.tidy()
            assert kit.outside("SELECT count(*) FROM tf_job") == [(1,)]
            await asyncio.to_thread(kit.outside, "UPDATE tf_job SET rank = rank - 2000000")
            await here.tasks.worker.upkeep.tidy()
            assert kit.outside("SELECT count(*) FROM tf_job") == [(0,)]

    run(work())


def test_kept_results_are_removed_as_fast_as_they_come(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenfold.blocks.tasks.upkeep.TOGETHER", 2)
    here = Process()

    @here.tasks.task(keep="1h")
    async def brief() -> int:
        return 1

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            for _ in range(5):
                await brief.enqueue()
            await until(lambda: here.tasks.stats().finished == 5)
            await asyncio.to_thread(kit.outside, "UPDATE tf_job SET rank = rank - 3600000000")
            await here.tasks.worker.upkeep.tidy()
            assert kit.outside("SELECT count(*) FROM tf_job") == [(0,)]

    run(work())


def test_a_progress_text_that_no_column_takes_keeps_no_job_from_its_end(kit: Kit, tmp_path: Path) -> None:
    here = Process()

    @here.tasks.task(keep="1h")
    async def told() -> None:
        here.tasks.current().progress(0.5, "no such file: \udcff\0")

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            job = await told.enqueue()
            await until(lambda: here.tasks.stats().finished == 1)
            found = await here.tasks.status(job)
            assert found is not None
            assert (found.state, found.text) == ("done", "no such file: ?")

    run(work())


def test_a_delayed_job_runs_when_it_is_due_and_not_before(kit: Kit, tmp_path: Path) -> None:
    here, seen = Process(), []

    @here.tasks.task()
    async def note(text: str) -> None:
        seen.append((text, asyncio.get_running_loop().time()))

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            began = asyncio.get_running_loop().time()
            await note.with_(delay="300ms").enqueue("later")
            await note.enqueue("now")
            await until(lambda: len(seen) == 2)
            assert [text for text, _ in seen] == ["now", "later"]
            assert 0.29 <= seen[1][1] - began < 1.5

    run(work())


def test_those_of_higher_priority_go_first_and_nobody_waits_for_ever(kit: Kit, tmp_path: Path) -> None:
    here, seen = Process(), []

    @here.tasks.task()
    async def note(text: str) -> None:
        seen.append(text)

    async def work() -> None:
        async with opened(here, kit, tmp_path, work=False):
            await note.with_(priority=-1).enqueue("low")
            await note.enqueue("plain")
            await note.with_(priority=5).enqueue("high")
            old = await note.with_(priority=-1).enqueue("low, for two minutes")
            await asyncio.to_thread(kit.outside, f"UPDATE tf_job SET rank = rank - 120000000 WHERE id = '{old}'")
            here.tasks.work(True)
            await until(lambda: len(seen) == 4)
        assert seen == ["high", "low, for two minutes", "plain", "low"]

    run(work())


def test_a_job_of_high_priority_overtakes_a_backlog(kit: Kit, tmp_path: Path) -> None:
    here, seen = Process(), []

    @here.tasks.task()
    async def note(text: str) -> None:
        seen.append(text)
        await asyncio.sleep(0.01)

    async def work() -> None:
        async with opened(here, kit, tmp_path, work=False):
            await asyncio.gather(*(note.enqueue("plain") for _ in range(1000)))
            here.tasks.work(True)
            await until(lambda: len(seen) > 50)
            await note.with_(priority=1).enqueue("urgent")
            await until(lambda: "urgent" in seen)
            await until(lambda: len(seen) == 1001)
        assert seen.index("urgent") < 900

    run(work())


def test_a_unique_job_is_there_once_until_it_is_done(kit: Kit, tmp_path: Path) -> None:
    here, seen = Process(), []

    @here.tasks.task(unique=("user",))
    async def mail(user: str, text: str) -> None:
        seen.append((user, text))

    async def twice(tx: Transaction) -> None:
        one = await here.tasks.enqueue(tx, mail, "ann", "within")
        assert await here.tasks.enqueue(tx, mail, "ann", "again") == one

    async def work() -> None:
        async with opened(here, kit, tmp_path, work=False):
            first = await mail.enqueue("ann", "one")
            assert await mail.enqueue("ann", "two") == first
            assert await mail.with_(delay="1h", key="k").enqueue("ann", "three") == first
            assert await mail.enqueue("bob", "one") != first
            at_once = await asyncio.gather(*(mail.enqueue("cid", str(n)) for n in range(8)))
            assert len(set(at_once)) == 1
            await here.within("k", twice)
            here.tasks.work(True)
            await until(lambda: len(seen) == 3 and not here.tasks.busy())
            assert await mail.enqueue("ann", "four") != first
            await until(lambda: len(seen) == 4)
        assert [user for user, _ in seen].count("ann") == 2

    run(work())


def test_transactions_of_many_keys_that_enqueue_the_same_unique_job_all_come_through(kit: Kit, tmp_path: Path) -> None:
    here = Process()

    @here.tasks.task(unique=())
    async def tidy() -> None: ...

    async def one(n: int) -> str:
        async def of_key(tx: Transaction) -> str:
            await here.count(tx, f"k{n}")
            return await here.tasks.enqueue(tx, tidy)

        return str(await here.within(f"k{n}", of_key))

    async def work() -> None:
        async with opened(here, kit, tmp_path, work=False):
            assert len(set(await asyncio.gather(*(one(n) for n in range(8))))) == 1
        assert kit.outside("SELECT count(*) FROM tf_job") == [(1,)]

    run(work())


def test_a_job_cannot_be_enqueued_alone_inside_a_transaction(kit: Kit, tmp_path: Path) -> None:
    here = Process()

    @here.tasks.task()
    async def note() -> None: ...

    async def body(tx: Transaction) -> None:
        await note.enqueue()

    async def work() -> None:
        async with opened(here, kit, tmp_path, work=False):
            with pytest.raises(ContractError, match="TF-TASK-TX"):
                await here.within("k", body)
        assert kit.outside("SELECT count(*) FROM tf_job") == [(0,)]

    run(work())


def test_reads_in_a_job_see_what_the_enqueuer_wrote(kit: Kit, tmp_path: Path) -> None:
    here, seen = Process(), []

    @here.tasks.task()
    async def look(name: str) -> None:
        scope = current_scope()
        assert scope is not None
        seen.append((scope.request_id, bool(scope.token.positions), here.tasks.current().id, await here.counted(name)))

    async def write(tx: Transaction) -> str:
        await here.count(tx, "k")
        return await here.tasks.enqueue(tx, look, "k")

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            job = await here.within("k", write)
            await until(lambda: seen)
            assert seen == [(job, True, job, 1)]

    run(work())


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (("text",), "int"),
        ((), "number"),
        ((1, 2, 3), "argument"),
        ((1, "x" * 70_000), "65,536"),
        ((1, object()), "unsupported"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_and_nothing_is_written(
    kit: Kit, tmp_path: Path, args: tuple[Any, ...], why: str
) -> None:
    here = Process()

    @here.tasks.task()
    async def typed(number: int, text: str = "") -> None: ...

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            with pytest.raises(JobRefused, match=why):
                await typed.enqueue(*args)
        assert kit.outside("SELECT count(*) FROM tf_job") == [(0,)]

    run(work())


def test_a_task_that_has_a_limit_never_runs_more_often_at_once_over_all_workers(kit: Kit, tmp_path: Path) -> None:
    here, there = Process(), Process()
    now, most, done = 0, 0, 0
    for process in (here, there):

        @process.tasks.task("limited", concurrency=3)
        async def limited(n: int) -> None:
            nonlocal now, most, done
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.02)
            now -= 1
            done += 1

    async def work() -> None:
        async with opened(here, kit, tmp_path) as config, beside(config, there):
            await asyncio.gather(*(here.tasks._names["limited"].enqueue(n) for n in range(20)))
            await until(lambda: done == 20)
        assert most == 3

    run(work())


def test_there_is_no_current_job_outside_of_one(kit: Kit, tmp_path: Path) -> None:
    here = Process()
    with pytest.raises(ContractError, match="TF-TASK-NONE"):
        here.tasks.current()


def test_what_fails_is_tried_again_and_then_a_dead_letter_which_can_be_replayed(kit: Kit, tmp_path: Path) -> None:
    here, runs, mended = Process(), [], False

    @here.tasks.task(retry=Retry(max=3, first="10ms", limit="20ms"))
    async def shaky(n: int) -> None:
        runs.append((n, here.tasks.current().attempt))
        if not mended:
            raise ValueError(f"not yet {n}")

    async def work() -> None:
        nonlocal mended
        async with opened(here, kit, tmp_path):
            jobs = [await shaky.enqueue(n) for n in range(3)]

            async def all_dead() -> bool:
                return len(await here.tasks.dead()) == 3

            await until(all_dead)
            letters = await here.tasks.dead(limit=2)
            assert [(each.id, each.state, each.attempt) for each in letters] == [(job, "dead", 3) for job in jobs[:2]]
            assert letters[0].error == "ValueError: not yet 0"
            assert [each.id for each in await here.tasks.dead(after=jobs[1])] == jobs[2:]
            (queue,) = await here.tasks.counts()
            assert (queue.queue, queue.dead, queue.ready) == ("default", 3, 0)
            mended = True
            assert await here.tasks.replay(jobs[1]) == 1
            assert await here.tasks.replay("nobody") == 0
            await until(lambda: runs.count((1, 1)) == 2)
            assert await here.tasks.replay(shaky) == 2
            await until(lambda: len(runs) == 12 and not here.tasks.busy())
            assert await here.tasks.dead() == []
        assert sorted(runs) == sorted([(n, a) for n in range(3) for a in (1, 2, 3)] + [(n, 1) for n in range(3)])

    run(work())


def test_an_error_of_a_class_in_give_up_ends_a_job_at_once(kit: Kit, tmp_path: Path) -> None:
    here, runs = Process(), []

    @here.tasks.task(retry=Retry(max=5, first="1ms", limit="1ms", give_up=(KeyError,)))
    async def hopeless() -> None:
        runs.append(1)
        raise KeyError("gone")

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            await hopeless.enqueue()

            async def dead() -> bool:
                return bool(await here.tasks.dead())

            await until(dead)
        assert runs == [1]

    run(work())


def test_a_job_that_takes_too_long_has_failed(kit: Kit, tmp_path: Path) -> None:
    here, ended = Process(), []

    @here.tasks.task(timeout="100ms", retry=Retry(max=1))
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(1)

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            await slow.enqueue()

            async def dead() -> bool:
                return bool(await here.tasks.dead())

            await until(dead)
            (letter,) = await here.tasks.dead()
            assert letter.error == "TimeoutError: it took longer than 100ms"
        assert ended == [1]

    run(work())


def test_a_snoozed_job_runs_again_and_it_is_no_attempt(kit: Kit, tmp_path: Path) -> None:
    here, attempts = Process(), []

    @here.tasks.task(retry=Retry(max=1))
    async def patient() -> None:
        job = here.tasks.current()
        attempts.append(job.attempt)
        if len(attempts) < 3:
            job.snooze("20ms")

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            await patient.enqueue()
            await until(lambda: len(attempts) == 3 and not here.tasks.busy())
        assert attempts == [1, 1, 1]
        assert kit.outside("SELECT count(*) FROM tf_job") == [(0,)]

    run(work())


def test_a_waiting_job_is_cancelled_at_once_and_a_running_one_is_told(kit: Kit, tmp_path: Path) -> None:
    here, there = Process(), Process()
    told = []
    for process in (here, there):

        @process.tasks.task("long")
        async def long(n: int, tasks: str = "") -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                told.append(n)
                raise

    async def work() -> None:
        async with opened(here, kit, tmp_path, work=False) as config, beside(config, there, work=False):
            task = here.tasks._names["long"]
            waiting = await task.enqueue(0)
            assert await here.tasks.cancel(waiting) == "cancelled"
            assert await here.tasks.cancel(waiting) == ""
            here.tasks.work(True)
            jobs = [await task.enqueue(n) for n in (1, 2)]
            await until(lambda: here.tasks.busy() == 2)
            assert await here.tasks.cancel(jobs[0]) == "asked"
            assert await there.tasks.cancel(jobs[1]) == "asked"  # in another process
            await until(lambda: sorted(told) == [1, 2] and not here.tasks.busy())
            assert await here.tasks.status(jobs[1]) is None

    run(work())
