"""The serial writer: bodies run one after another on the event loop, many in one durable transaction (group commit).

    loop      submit submit submit ...          bodies, each in a SAVEPOINT          results go out
    thread    ------ lock, BEGIN IMMEDIATE ---->                        COMMIT (fsync) ---->

BEGIN and COMMIT block (another process may hold the lock; COMMIT waits for the disk), so they run in one thread of
their own. Bodies are plain synchronous code of a few microseconds, so they run on the loop, where they need no locks.
What a body returned *or raised* is released only after the COMMIT that holds it: nobody is told of a write that could
still vanish, and nobody is told of a conflict with a row that could.

Guarantees: a result released means the transaction is on disk; an error of a body means that body left no trace; when
COMMIT fails and ROLLBACK succeeds, the whole batch was surely not applied; when both fail the outcome is unknown and
`on_fatal` is called, because only a new process that recovers the log can tell.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import StorageDamaged, TenfoldError, Unavailable, UnknownOutcome
from tenfold.drivers.sqlite.connection import open_writer
from tenfold.drivers.sqlite.failures import translated
from tenfold.drivers.sqlite.lock import WriterLock

BATCH_LIMIT = 256
"""Bodies in one transaction at most: bounds how long the loop is busy with one batch."""

LOCK_KEPT_S = 0.05
"""How long a busy writer keeps the lock over several batches before other processes get their turn."""

YIELD_S = 0.001
"""How long it stays away then; a waiting process is woken by the kernel within this time."""


Blocking = Callable[[], BaseException | None]
"""Runs in the thread; returns what went wrong, or None."""

Callback = Callable[[BaseException | None], None]


class Job:
    """One transaction to be: `body(connection)` runs synchronously on the loop; `after` runs once it is committed."""

    __slots__ = ("after", "body", "error", "future", "queued_at", "result")

    def __init__(
        self, body: Callable[[sqlite3.Connection, Job], Any], future: asyncio.Future[Any], queued_at: float
    ) -> None:
        self.body = body
        self.future = future
        self.queued_at = queued_at
        self.after: list[Callable[[], object]] | None = None
        self.result: Any = None
        self.error: BaseException | None = None


class _Thread:
    """Runs one function at a time beside the loop and calls back on the loop; cheaper than an executor's futures."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._loop = loop
        self._work: queue.SimpleQueue[tuple[Blocking, Callback] | None]
        self._work = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            function, callback = item
            outcome = function()
            with contextlib.suppress(RuntimeError):  # the loop was closed under us: the process is going away
                self._loop.call_soon_threadsafe(callback, outcome)

    def call(self, function: Blocking, callback: Callback) -> None:
        self._work.put((function, callback))

    def stop(self) -> None:
        self._work.put(None)


class Writer:
    """The one writer of a SQLite file in this process. `start` and `stop` on the loop that submits.

    `hold_s`: how long a job may wait for its turn before it fails with `Unavailable` (surely not applied).
    `queue_limit`: how many may wait. `before_commit(connection)` runs once a batch, inside its transaction;
    `on_fatal(error)` is called when an outcome is unknown and the process must be replaced.
    """

    def __init__(
        self,
        path: Path,
        *,
        hold_s: float = 25.0,
        queue_limit: int = 10_000,
        clock: Clock = SYSTEM_CLOCK,
        before_commit: Callable[[sqlite3.Connection], object] | None = None,
        on_fatal: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.path = path
        self.hold_s = hold_s
        self.queue_limit = queue_limit
        self.commits = 0
        self.running: Job | None = None
        self._clock = clock
        self._before_commit = before_commit
        self._on_fatal = on_fatal
        self._lock = WriterLock(path)
        self._lock_since = 0.0
        self._queue: collections.deque[Job] = collections.deque()
        self._batch: list[Job] = []
        self._busy = False
        self._closing = False
        self._idle: asyncio.Event | None = None
        self._expiry: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Opens the file; it must exist."""
        self._loop = asyncio.get_running_loop()
        self._connection = open_writer(self.path)
        self._thread = _Thread(self._loop, "tenfold-writer")
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False

    async def stop(self) -> None:
        """Lets what was submitted finish, then closes the file. New jobs are refused from now on."""
        if self._idle is None or self._closing:
            return
        self._closing = True
        await self._idle.wait()
        if self._expiry is not None:
            self._expiry.cancel()
        self._thread.stop()
        self._connection.close()
        self._lock.close()

    def submit(self, body: Callable[[sqlite3.Connection, Job], Any]) -> asyncio.Future[Any]:
        """Queues one transaction; the future resolves after its COMMIT. Cancelling it before its turn withdraws it."""
        if self._closing or self._idle is None:
            raise Unavailable("The database is closing.", hint="Send the request again.", code="TF-CLOSING")
        if len(self._queue) >= self.queue_limit:
            raise Unavailable(
                f"{len(self._queue):,} writes wait already.", hint="Send it again a little later.", code="TF-QUEUE-FULL"
            )
        job = Job(body, self._loop.create_future(), self._clock.monotonic())
        self._queue.append(job)
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._thread.call(self._begin, self._on_begun)
            self._expiry = self._expiry or self._loop.call_later(1.0, self._expire)
        return job.future

    # -- in the thread ------------------------------------------------------------------------------------------------

    def _begin(self) -> BaseException | None:
        try:
            if not self._lock.held:
                self._lock.acquire()
                self._lock_since = self._clock.monotonic()
            self._connection.execute("BEGIN IMMEDIATE")
        except (sqlite3.Error, OSError, TenfoldError) as error:
            self._lock.release()
            return error
        return None

    def _commit(self) -> BaseException | None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            return error
        return None

    def _commit_and_go_on(self) -> BaseException | None:
        error = self._commit()
        if error is not None or not self._queue:
            self._lock.release()
        elif self._clock.monotonic() - self._lock_since > LOCK_KEPT_S:
            self._lock.release()
            threading.Event().wait(YIELD_S)
        return error

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    # -- on the loop --------------------------------------------------------------------------------------------------

    def _on_begun(self, error: BaseException | None) -> None:
        if error is not None:
            self._batch = self._take()
            self._finish(self._named(error))
            return
        self._batch = self._take()
        lost = self._run_batch()
        if lost is not None:
            self._roll_back()
            self._lock.release()
            self._finish(lost)
        else:
            self._thread.call(self._commit_and_go_on, self._on_committed)

    def _take(self) -> list[Job]:
        waiting = self._queue
        batch: list[Job] = []
        while waiting and len(batch) < BATCH_LIMIT:
            job = waiting.popleft()
            if not job.future.done():
                batch.append(job)
        return batch

    def _run_batch(self) -> BaseException | None:
        """Runs the bodies; the error when SQLite gave up the whole transaction, otherwise None."""
        connection = self._connection
        for job in self._batch:
            self._run_job(connection, job)
            if not connection.in_transaction:
                return self._named(job.error)
        if self._before_commit is not None and self._batch:
            try:
                self._before_commit(connection)
            except sqlite3.Error as error:
                return self._named(error)
        return None

    def _run_job(self, connection: sqlite3.Connection, job: Job) -> None:
        self.running = job
        try:
            connection.execute("SAVEPOINT body")
            job.result = job.body(connection, job)
            connection.execute("RELEASE body")
        except BaseException as error:  # noqa: BLE001 - whatever the service's body raises belongs to its caller
            job.error, job.after = error, None
            self._undo(connection, job)
        finally:
            self.running = None

    def _undo(self, connection: sqlite3.Connection, job: Job) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK TO body")
                connection.execute("RELEASE body")
        except sqlite3.Error as error:  # without its savepoint undone the batch must not commit
            job.error = error
            self._roll_back()

    def _named(self, error: BaseException | None) -> BaseException:
        if isinstance(error, sqlite3.Error):
            return translated(error, str(self.path))
        if isinstance(error, TenfoldError):
            return error
        return StorageDamaged(f"The transaction on {self.path} was given up: {error}.")

    def _on_committed(self, error: BaseException | None) -> None:
        if error is None:
            self.commits += 1
            self._finish(None)
        elif self._connection.in_transaction:
            unknown = UnknownOutcome(
                f"Neither COMMIT nor ROLLBACK came through on {self.path}: {error}.",
                hint="Repeat the request with its Idempotency-Key to learn what became of it.",
            )
            self._finish(unknown)
            if self._on_fatal is not None:
                self._on_fatal(unknown)
        else:
            self._finish(self._named(error))

    def _finish(self, error: BaseException | None) -> None:
        """Releases the batch: all with `error`, or each with what its body returned or raised."""
        batch, self._batch = self._batch, []
        for job in batch:
            self._release(job, error)
        if self._queue:
            self._thread.call(self._begin, self._on_begun)
        else:
            # The thread may have kept the lock for jobs that were withdrawn since.
            self._lock.release()
            self._busy = False
            assert self._idle is not None
            self._idle.set()

    def _release(self, job: Job, error: BaseException | None) -> None:
        if error is None and job.after is not None:
            for callback in job.after:
                callback()
        future = job.future
        if future.done():
            return
        failure = error or job.error
        if failure is None:
            future.set_result(job.result)
        else:
            future.set_exception(failure)

    def _expire(self) -> None:
        """Fails jobs that waited longer than `hold_s`: another process keeps the lock, or the disk hangs."""
        self._expiry = None
        limit = self._clock.monotonic() - self.hold_s
        while self._queue and self._queue[0].queued_at < limit:
            job = self._queue.popleft()
            if not job.future.done():
                job.future.set_exception(
                    Unavailable(
                        f"No turn to write came within {self.hold_s:g} s.",
                        hint="Another process keeps the database busy, or its disk hangs; see `tenfold status`.",
                        code="TF-HELD-TOO-LONG",
                    )
                )
        if self._busy:
            self._expiry = self._loop.call_later(1.0, self._expire)
