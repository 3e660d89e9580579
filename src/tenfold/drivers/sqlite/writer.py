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
import copy
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextvars import Context
from pathlib import Path
from typing import Any

from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import StorageDamaged, TenfoldError, Unavailable, UnknownOutcome
from tenfold.drivers.sqlite.connection import OWN_BUSY_MS, open_writer
from tenfold.drivers.sqlite.failures import translated
from tenfold.drivers.sqlite.lock import WriterLock

BATCH_LIMIT = 256
"""Bodies in one transaction at most: bounds how long the loop is busy with one batch."""

LOCK_KEPT_S = 0.05
"""How long a busy writer keeps the lock over several batches before other processes get their turn."""

LOOK_S = 1.0
"""How often the writer looks for jobs that waited too long."""

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
            try:
                outcome = function()
            except BaseException as error:  # noqa: BLE001 - a thread that ended would leave every caller waiting
                outcome = error
            with contextlib.suppress(RuntimeError):  # the loop was closed under us: the process is going away
                self._loop.call_soon_threadsafe(callback, outcome)

    def call(self, function: Blocking, callback: Callback) -> None:
        self._work.put((function, callback))

    def stop(self, last: Callable[[], object] | None = None) -> None:
        """Ends the thread once it is free; `last` runs in it before."""
        if last is not None:
            self._work.put((lambda: (last(), None)[1], _ignore))
        self._work.put(None)


def _ignore(outcome: BaseException | None) -> None:
    pass


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
        """Batches of at least one body that were committed."""
        self.running: Job | None = None
        self._clock = clock
        self._before_commit = before_commit
        self._on_fatal = on_fatal
        self._lock = WriterLock(path)
        self._lock_since = 0.0
        self._queue: collections.deque[Job] = collections.deque()
        self._batch: list[Job] = []
        self._busy = False
        self._beginning = False
        self._closing = False
        self._abandoned = False
        self._closed = False
        self._idle: asyncio.Event | None = None
        self._expiry: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Opens the file; it must exist. A writer is started once."""
        assert self._idle is None, "a writer is started once"
        self._loop = asyncio.get_running_loop()
        self._connection = open_writer(self.path)
        self._connection.execute("PRAGMA busy_timeout = 0")  # on the loop nothing waits; the thread sets its own
        self._thread = _Thread(self._loop, "tenfold-writer")
        self._idle = asyncio.Event()
        self._idle.set()

    async def stop(self) -> None:
        """Lets what was submitted finish, then closes the file. New jobs are refused from now on.

        Takes `hold_s` at most for jobs that wait for their turn. Safe to call again, also after it was cancelled.
        """
        if self._idle is None:
            return
        self._closing = True
        await self._idle.wait()
        if self._closed:
            return
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        if self._abandoned:  # the thread still waits for another process; it closes the files when its turn comes
            self._thread.stop(self._close_files)
        else:
            self._thread.stop()
            self._close_files()

    def _close_files(self) -> None:
        self._connection.close()
        self._lock.close()

    def submit(self, body: Callable[[sqlite3.Connection, Job], Any]) -> asyncio.Future[Any]:
        """Queues one transaction; the future resolves after its COMMIT. Cancelling it before its turn withdraws it."""
        if self._closing or self._idle is None:
            raise _closing()
        if len(self._queue) >= self.queue_limit:
            raise Unavailable(
                f"{len(self._queue):,} writes wait already.", hint="Send it again a little later.", code="TF-QUEUE-FULL"
            )
        job = Job(body, self._loop.create_future(), self._clock.monotonic())
        self._queue.append(job)
        if not self._busy:
            self._busy = True
            self._idle.clear()
            self._next_batch()
            if self._expiry is None:
                self._arm()
        return job.future

    def _next_batch(self) -> None:
        self._beginning = True
        if self._begun_at_once():
            # After the callers that were just answered have run, so that what they write next is in this batch.
            self._loop.call_soon(self._on_begun, None, context=Context())
        else:
            self._thread.call(self._begin, self._on_begun)

    def _begun_at_once(self) -> bool:
        """Begins on the loop when nobody is in the way, which saves a thread switch; False leaves it to the thread."""
        lock = self._lock
        try:
            if not lock.held:
                if not lock.try_acquire():
                    return False
                self._lock_since = self._clock.monotonic()
            self._connection.execute("BEGIN IMMEDIATE")
        except Exception:  # noqa: BLE001 - the thread meets it again, and tells the callers
            lock.release()
            return False
        return True

    def _arm(self) -> None:
        # In a context of its own: the timer must not keep the first caller's request alive.
        self._expiry = self._loop.call_later(LOOK_S, self._expire, context=Context())

    # -- in the thread ------------------------------------------------------------------------------------------------

    def _begin(self) -> BaseException | None:
        try:
            if not self._lock.held:
                self._lock.acquire()
                self._lock_since = self._clock.monotonic()
            self._connection.execute(f"PRAGMA busy_timeout = {OWN_BUSY_MS}")
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            finally:
                self._connection.execute("PRAGMA busy_timeout = 0")
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
        if self._abandoned:
            return
        self._beginning = False
        if error is not None and _is_busy(error):  # another program writes to the file: held, not failed
            self._finish(None)
            return
        self._batch = self._take()
        if error is not None:
            self._finish(self._named(error))
            return
        lost = self._run_batch()
        if lost is None:
            self._thread.call(self._commit_and_go_on, self._on_committed)
        else:
            self._give_up(lost)

    def _give_up(self, error: BaseException) -> None:
        """Ends a batch that cannot be committed: surely not applied."""
        self._roll_back()
        stuck = self._connection.in_transaction
        self._lock.release()
        self._finish(error)
        if stuck:
            self._die(error)

    def _die(self, error: BaseException) -> None:
        """Only a new process can go on: what waits is refused, and `on_fatal` is told."""
        self._closing = True
        waiting = [job for job in self._queue if not job.future.done()]
        self._queue.clear()
        for job in waiting:
            job.future.set_exception(_closing())
        if self._on_fatal is not None:
            self._on_fatal(error)

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
            if job.future.done():  # withdrawn by a body before it
                continue
            self._run_job(connection, job)
            if not connection.in_transaction:
                return self._named(_root(job.error))
        if self._before_commit is not None and self._batch:
            try:
                self._before_commit(connection)
            except Exception as error:  # noqa: BLE001 - whatever it is, the batch must end
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
            self.commits += bool(self._batch)
            self._finish(None)
        elif self._connection.in_transaction or _may_survive(error):
            unknown = UnknownOutcome(
                f"It is not known whether COMMIT came through on {self.path}: {error}.",
                hint="Repeat the request with its Idempotency-Key to learn what became of it.",
            )
            self._closing = True
            self._finish(unknown)
            self._die(unknown)
        else:
            self._finish(self._named(error))

    def _finish(self, error: BaseException | None) -> None:
        """Releases the batch: all with `error`, or each with what its body returned or raised."""
        batch, self._batch = self._batch, []
        for job in batch:
            self._release(job, error)
        if self._queue:
            self._next_batch()
        else:
            # The thread may have kept the lock for jobs that were withdrawn since.
            self._lock.release()
            self._busy = False
            assert self._idle is not None
            self._idle.set()

    def _release(self, job: Job, error: BaseException | None) -> None:
        if error is None and job.after is not None:
            for callback in job.after:
                self._call_back(callback)
        future = job.future
        if future.done():
            return
        # One error object for many callers would collect the tracebacks and contexts of all of them.
        failure = job.error if error is None else copy.copy(error)
        if failure is None:
            future.set_result(job.result)
        else:
            future.set_exception(failure)

    def _call_back(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except Exception as error:  # noqa: BLE001 - it is committed: neither its caller nor its neighbours may suffer
            told = {"message": "A callback of a committed transaction failed.", "exception": error}
            self._loop.call_exception_handler(told)

    def _expire(self) -> None:
        """Fails jobs that waited longer than `hold_s`: another process keeps the lock, or the disk hangs."""
        self._expiry = None
        limit = self._clock.monotonic() - self.hold_s
        while self._queue and (self._queue[0].queued_at <= limit or self._queue[0].future.done()):
            job = self._queue.popleft()
            if not job.future.done():
                job.future.set_exception(_held_too_long(self.hold_s))
        if any(job.future.done() for job in self._queue):  # withdrawn ones must not fill the queue
            self._queue = collections.deque(job for job in self._queue if not job.future.done())
        if self._closing and self._beginning and not self._queue:
            self._abandoned = True
            assert self._idle is not None
            self._idle.set()
        elif self._busy:
            self._arm()


def _held_too_long(hold_s: float) -> Unavailable:
    return Unavailable(
        f"No turn to write came within {hold_s:g} s.",
        hint="Another process keeps the database busy, or its disk hangs; see `tenfold status`.",
        code="TF-HELD-TOO-LONG",
    )


def _closing() -> Unavailable:
    return Unavailable("The database is closing.", hint="Send the request again.", code="TF-CLOSING")


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")


def _may_survive(error: BaseException) -> bool:
    """Whether a failed COMMIT may be found in the log after a crash: all was written, only the last sync failed."""
    return getattr(error, "sqlite_errorname", "") == "SQLITE_IOERR_FSYNC"


def _root(error: BaseException | None) -> BaseException | None:
    """SQLite's own error behind what a body raised, so that its neighbours hear the cause and not the consequence."""
    seen = error
    while seen is not None and not isinstance(seen, sqlite3.Error):
        seen = seen.__cause__ or seen.__context__
    return seen or error
