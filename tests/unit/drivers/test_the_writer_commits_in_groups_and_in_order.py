from __future__ import annotations

import asyncio
import contextlib
import gc
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tenfold.core.clock import ManualClock
from tenfold.core.errors import StorageFull, TenfoldError, Unavailable, UnknownOutcome
from tenfold.drivers.sqlite import Writer, WriterLock, open_reader, open_writer
from tenfold.drivers.sqlite.writer import BATCH_LIMIT, Job

Body = Callable[[sqlite3.Connection, Job], Any]


def run(work: Awaitable[Any]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(work, 30)

    return asyncio.run(bounded())


def create(folder: Path) -> Path:
    path = folder / "x.db"
    with contextlib.closing(open_writer(path, create=True)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, batch INTEGER) STRICT")
    return path


@contextlib.asynccontextmanager
async def started(folder: Path, **settings: Any) -> AsyncIterator[Writer]:
    writer = Writer(create(folder), **settings)
    await writer.start()
    try:
        yield writer
    finally:
        await writer.stop()


def add(number: int) -> Body:
    def body(connection: sqlite3.Connection, job: Job) -> int:
        connection.execute("INSERT INTO t (id) VALUES (?)", (number,))
        return number

    return body


def ids(path: Path) -> list[int]:
    with contextlib.closing(open_reader(path)) as reader:
        return [row[0] for row in reader.execute("SELECT id FROM t ORDER BY id")]


class Faulty:
    """A connection on which chosen statements fail; everything else is the real one."""

    def __init__(self, real: sqlite3.Connection) -> None:
        self.real = real
        self.failing: dict[str, str] = {}

    def execute(self, sql: str, *rest: Any) -> Any:
        if sql in self.failing:
            error = sqlite3.OperationalError("injected")
            error.sqlite_errorname = self.failing[sql]
            raise error
        return self.real.execute(sql, *rest)

    @property
    def in_transaction(self) -> bool:
        return self.real.in_transaction

    def close(self) -> None:
        self.real.close()


def faulty(writer: Writer, **failing: str) -> Faulty:
    made = Faulty(writer._connection)
    made.failing = failing
    writer._connection = made  # type: ignore[assignment]
    return made


def test_many_transactions_share_few_commits(tmp_path: Path) -> None:
    async def work() -> None:
        async with started(tmp_path) as writer:

            async def caller(first: int) -> None:
                for number in range(first, first + 50):
                    assert await writer.submit(add(number)) == number

            await asyncio.gather(*[caller(at * 50) for at in range(40)])
            assert writer.commits <= 2000 / 10
            assert ids(writer.path) == list(range(2000))

    run(work())


def test_bodies_run_one_after_another_in_the_order_of_their_arrival(tmp_path: Path) -> None:
    order: list[int] = []

    async def work() -> None:
        async with started(tmp_path) as writer:
            await asyncio.gather(*[writer.submit(lambda c, j, n=n: order.append(n)) for n in range(1000)])

    run(work())
    assert order == list(range(1000))


def test_a_batch_has_a_bound(tmp_path: Path) -> None:
    sizes: list[int] = []
    bodies: list[int] = []

    def count(connection: sqlite3.Connection) -> None:
        sizes.append(len(bodies))
        bodies.clear()

    async def work() -> None:
        async with started(tmp_path, before_commit=count) as writer:
            await asyncio.gather(*[writer.submit(lambda c, j: bodies.append(1)) for _ in range(BATCH_LIMIT * 2 + 10)])

    run(work())
    assert sizes == [BATCH_LIMIT, BATCH_LIMIT, 10]


def test_a_body_that_fails_is_undone_alone(tmp_path: Path) -> None:
    def fail(connection: sqlite3.Connection, job: Job) -> None:
        connection.execute("INSERT INTO t (id) VALUES (99)")
        raise KeyboardInterrupt

    async def work() -> None:
        async with started(tmp_path) as writer:
            futures = [writer.submit(add(1)), writer.submit(fail), writer.submit(add(2))]
            await asyncio.wait(futures)
            assert isinstance(futures[1].exception(), KeyboardInterrupt)
            assert ids(writer.path) == [1, 2]

    run(work())


def test_the_queue_is_bounded_and_withdrawn_jobs_leave_it(tmp_path: Path) -> None:
    async def work() -> None:
        async with started(tmp_path, queue_limit=3) as writer:
            futures = [writer.submit(add(n)) for n in range(3)]
            with pytest.raises(Unavailable, match=r"TF-QUEUE-FULL: 3 writes wait already") as caught:
                writer.submit(add(4))
            assert caught.value.status == 503
            futures[1].cancel()
            writer._expire()
            fourth = writer.submit(add(4))
            await asyncio.gather(futures[0], futures[2], fourth)
            assert ids(writer.path) == [0, 2, 4]

    run(work())


def test_stopping_finishes_what_was_submitted_and_refuses_the_rest(tmp_path: Path) -> None:
    async def work() -> None:
        async with started(tmp_path) as writer:
            futures = [writer.submit(add(n)) for n in range(600)]
            stopping = asyncio.gather(writer.stop(), writer.stop())
            await asyncio.sleep(0)
            with pytest.raises(Unavailable, match="TF-CLOSING: The database is closing"):
                writer.submit(add(1000))
            await stopping
            assert all(future.done() for future in futures)
            assert ids(writer.path) == list(range(600))
            with pytest.raises(Unavailable, match="TF-CLOSING"):
                writer.submit(add(1000))

    run(work())


def test_a_cancelled_stop_can_be_repeated_and_closes_the_file(tmp_path: Path) -> None:
    async def work() -> None:
        async with started(tmp_path) as writer:
            future = writer.submit(add(1))
            stopping = asyncio.create_task(writer.stop())
            await asyncio.sleep(0)
            stopping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stopping
            await writer.stop()
            assert future.result() == 1
            with pytest.raises(sqlite3.ProgrammingError, match="closed"):
                writer._connection.execute("SELECT 1")

    run(work())


def test_an_idle_writer_keeps_no_lock(tmp_path: Path) -> None:
    async def work() -> None:
        async with started(tmp_path) as writer:
            await asyncio.gather(*[writer.submit(add(n)) for n in range(600)])
            futures = [writer.submit(add(n)) for n in range(600, 605)]
            for future in futures:
                future.cancel()
            await writer._idle.wait()  # type: ignore[union-attr]
            other = WriterLock(writer.path)
            assert other.try_acquire()
            other.close()

    run(work())


def test_a_failed_commit_fails_the_whole_batch_and_the_next_one_works(tmp_path: Path) -> None:
    async def work() -> None:
        fatal: list[BaseException] = []
        async with started(tmp_path, on_fatal=fatal.append) as writer:
            wrapped = faulty(writer, COMMIT="SQLITE_FULL")
            results = await asyncio.gather(*[writer.submit(add(n)) for n in range(5)], return_exceptions=True)
            assert [type(result) for result in results] == [StorageFull] * 5
            assert len({id(result) for result in results}) == 5, "an error object has one owner"
            assert all("nothing that was acknowledged is lost" in result.hint for result in results)
            assert ids(writer.path) == []
            wrapped.failing = {}
            assert await writer.submit(add(7)) == 7
            assert ids(writer.path) == [7]
        assert fatal == []

    run(work())


@pytest.mark.parametrize(
    "failing",
    [{"COMMIT": "SQLITE_IOERR", "ROLLBACK": "SQLITE_IOERR"}, {"COMMIT": "SQLITE_IOERR_FSYNC"}],
    ids=["neither COMMIT nor ROLLBACK", "the last sync"],
)
def test_an_outcome_that_cannot_be_known_is_told_to_all_and_ends_the_process(
    tmp_path: Path, failing: dict[str, str]
) -> None:
    async def work() -> None:
        fatal: list[BaseException] = []
        async with started(tmp_path, on_fatal=fatal.append) as writer:
            faulty(writer, **failing)
            first = [writer.submit(add(n)) for n in range(3)]
            callbacks: list[int] = []
            first.append(writer.submit(lambda connection, job: setattr(job, "after", [lambda: callbacks.append(1)])))
            queued = [writer.submit(add(n)) for n in range(1000, 1000 + BATCH_LIMIT)]
            results = await asyncio.gather(*first, return_exceptions=True)
            assert [type(result) for result in results] == [UnknownOutcome] * 4
            assert len({id(result) for result in results}) == 4
            assert "Idempotency-Key" in results[0].hint
            assert [type(error) for error in fatal] == [UnknownOutcome]
            later = await asyncio.gather(*queued, return_exceptions=True)
            assert {type(result) for result in later} <= {Unavailable, UnknownOutcome}
            assert Unavailable in {type(result) for result in later}
            with pytest.raises(Unavailable, match="TF-CLOSING"):
                writer.submit(add(1))
            assert callbacks == []

    run(work())


def test_a_batch_that_cannot_be_undone_ends_the_process_and_was_surely_not_applied(tmp_path: Path) -> None:
    async def work() -> None:
        fatal: list[BaseException] = []

        def number(connection: sqlite3.Connection) -> None:
            raise LookupError("no row")

        async with started(tmp_path, on_fatal=fatal.append, before_commit=number) as writer:
            wrapped = faulty(writer)
            with pytest.raises(TenfoldError, match="given up: no row"):
                await writer.submit(add(1))
            assert fatal == []
            wrapped.failing = {"ROLLBACK": "SQLITE_IOERR"}
            with pytest.raises(TenfoldError, match="given up: no row"):
                await writer.submit(add(1))
            assert len(fatal) == 1
            assert ids(writer.path) == []

    run(work())


def test_neighbours_of_a_body_that_lost_the_transaction_hear_the_cause(tmp_path: Path) -> None:
    def swallow(connection: sqlite3.Connection, job: Job) -> None:
        try:
            connection.execute("INSERT OR ROLLBACK INTO t (id) VALUES (1), (1)")
        except sqlite3.Error:
            raise ValueError("something else") from None

    async def work() -> None:
        async with started(tmp_path) as writer:
            results = await asyncio.gather(
                writer.submit(add(5)), writer.submit(swallow), writer.submit(add(6)), return_exceptions=True
            )
            assert all(isinstance(result, TenfoldError) for result in results)
            assert all(r"t.id exists already" in str(result) for result in results)
            assert ids(writer.path) == []

    run(work())


def test_an_unexpected_error_in_the_thread_reaches_the_callers(tmp_path: Path) -> None:
    async def work() -> None:
        async with started(tmp_path) as writer:
            wrapped = faulty(writer)
            wrapped.failing = {"BEGIN IMMEDIATE": "not a name of SQLite"}
            original = Faulty.execute

            def explode(self: Faulty, sql: str, *rest: Any) -> Any:
                if sql == "BEGIN IMMEDIATE" and self.failing:
                    raise MemoryError
                return original(self, sql, *rest)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Faulty, "execute", explode)
                with pytest.raises(TenfoldError):
                    await writer.submit(add(1))
                wrapped.failing = {}
                assert await writer.submit(add(2)) == 2

    run(work())


def test_another_program_that_writes_is_waited_for(tmp_path: Path) -> None:
    async def work() -> None:
        async with started(tmp_path) as writer:
            wrapped = faulty(writer, **{"BEGIN IMMEDIATE": "SQLITE_BUSY"})
            future = writer.submit(add(1))
            tries = 0
            original = Faulty.execute

            def counted(self: Faulty, sql: str, *rest: Any) -> Any:
                nonlocal tries
                tries += sql == "BEGIN IMMEDIATE"
                if tries == 5:
                    self.failing = {}
                return original(self, sql, *rest)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Faulty, "execute", counted)
                assert await future == 1
            assert wrapped.failing == {}
            assert tries >= 5

    run(work())


def test_jobs_that_waited_too_long_fail_and_the_later_ones_stay(tmp_path: Path) -> None:
    async def work() -> None:
        clock = ManualClock()
        async with started(tmp_path, hold_s=10, clock=clock) as writer:
            other = WriterLock(writer.path)
            assert other.try_acquire()
            old = writer.submit(add(1))
            clock.advance(6)
            young = writer.submit(add(2))
            clock.advance(5)
            writer._expire()
            with pytest.raises(Unavailable, match=r"TF-HELD-TOO-LONG: No turn to write came within 10 s"):
                await old
            assert not young.done()
            other.close()
            assert await young == 2
            assert ids(writer.path) == [2]

    run(work())


def test_stopping_does_not_wait_for_ever_for_a_lock(tmp_path: Path) -> None:
    async def work() -> None:
        clock = ManualClock()
        async with started(tmp_path, hold_s=10, clock=clock) as writer:
            other = WriterLock(writer.path)
            assert other.try_acquire()
            future = writer.submit(add(1))
            stopping = asyncio.create_task(writer.stop())
            clock.advance(11)
            writer._expire()
            await stopping
            assert isinstance(future.exception(), Unavailable)
            other.close()
            writer._thread._thread.join(10)
            assert not writer._thread._thread.is_alive()
            assert ids(writer.path) == []

    run(work())


def test_a_writer_that_could_not_start_leaves_nothing_open(tmp_path: Path) -> None:
    async def work() -> None:
        writer = Writer(tmp_path / "missing.db")
        with pytest.raises(Unavailable, match="TF-NO-DATABASE"):
            await writer.start()
        await writer.stop()
        with pytest.raises(Unavailable, match="TF-CLOSING"):
            writer.submit(add(1))

    run(work())
    gc.collect()


def test_a_loop_closed_under_the_writer_kills_no_thread_noisily(tmp_path: Path) -> None:
    path = create(tmp_path)
    writer = Writer(path)

    async def work() -> None:
        await writer.start()
        writer.submit(add(1))

    asyncio.run(work())
    writer._thread.stop(writer._close_files)
    writer._thread._thread.join(10)
    assert not writer._thread._thread.is_alive()
    assert ids(path) in ([], [1])
