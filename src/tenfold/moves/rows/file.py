"""The mover's connection to the SQLite file: its own, in a thread of its own, with turns and terms.

Every transaction that changes something holds the writers' lock and first looks at the term in `tf_move`, so that a
mover that was paused and wakes after its successor began is refused by the database itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from tenfold.core.errors import Unavailable
from tenfold.core.journal import Fenced
from tenfold.drivers.sqlite import WriterLock, open_writer, translated

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

TURN_S = 20.0
"""How long the mover waits for its turn to write."""

MAKE_TERM = """CREATE TABLE IF NOT EXISTS tf_move (
    id INTEGER PRIMARY KEY CHECK (id = 1), term INTEGER NOT NULL, move TEXT NOT NULL) STRICT"""


class Run(Protocol):
    """Runs work inside the transaction that is open."""

    def __call__(self, work: Work[T]) -> asyncio.Future[T]: ...


class File:
    """The SQLite file of a deployment, as one mover works on it. `term` and `move` name the mover.

    `acting`: the mover takes over when it opens the file, so that even what it only sees there cannot be changed by one
    before it; else it looks, for a plan. One call at a time runs in its thread; callers on the loop take turns.
    """

    def __init__(self, path: Path, term: int, move: str, *, acting: bool = True) -> None:
        self.path = path
        self.term = term
        self.move = move
        self._taking_over = acting
        self._lock = WriterLock(path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tenfold-mover")
        self._connection: sqlite3.Connection | None = None
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """Closes the connection and ends the thread; safe to call twice."""
        with contextlib.suppress(RuntimeError):
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._lock.close()

    async def _call(self, function: Callable[[], T]) -> T:
        """Runs a function in the thread; it is waited for even when the caller is cancelled meanwhile."""
        running = asyncio.get_running_loop().run_in_executor(self._thread, function)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            if not running.done():
                await asyncio.wait([running])
            raise
        except sqlite3.Error as error:
            raise translated(error, str(self.path)) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_writer(self.path)
            self._connection.execute("PRAGMA foreign_keys = OFF")  # rows come in any order; their source keeps the rule
        if self._taking_over:
            self._taking_over = False
            try:
                self._begin()
                self._commit()
            except BaseException:
                self._taking_over = True
                raise
            finally:
                self._roll_back()
        return self._connection

    async def look(self, work: Work[T]) -> T:
        """Runs `work` in one read transaction, which sees one state."""

        def run() -> T:
            connection = self._open()
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.execute("ROLLBACK")

        async with self._turn:
            return await self._call(run)

    async def change(self, work: Work[T]) -> T:
        """Runs `work` in one write transaction of this mover; `Fenced` when a successor is in charge."""
        async with self.holding() as run:
            return await run(work)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Run]:
        """One read transaction over several calls: `await run(work)` inside of it."""
        async with self._turn:
            try:
                await self._call(lambda: self._open().execute("BEGIN"))
                yield self._within
            finally:
                await self._call(self._roll_back)

    @contextlib.asynccontextmanager
    async def holding(self) -> AsyncIterator[Run]:
        """One write transaction over several calls, during which nobody else writes; committed at the end.

        An error inside rolls all of it back.
        """
        async with self._turn:
            try:
                await self._call(self._begin)
                yield self._within
                await self._call(self._commit)
            finally:
                await self._call(self._roll_back)

    def _within(self, work: Work[T]) -> asyncio.Future[T]:
        connection = self._open()
        return asyncio.ensure_future(self._call(lambda: work(connection)))

    def _begin(self) -> None:
        connection = self._open()
        if not self._acquired():
            raise Unavailable(
                f"No turn to write to {self.path} came within {TURN_S:g} s.",
                hint="A process keeps the database busy or hangs; see `tenfold status`, then run the command again.",
                code="TF-HELD-TOO-LONG",
            )
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._check_term(connection)
        except BaseException:
            self._roll_back()
            raise

    def _acquired(self) -> bool:
        """Waits in the kernel's queue, like every writer, because polling would starve; but not for ever."""
        lock = self._lock
        if lock.try_acquire():
            return True
        given_up, got = threading.Event(), threading.Event()

        def wait() -> None:
            lock.acquire()
            got.set()
            if given_up.is_set():
                lock.close()

        threading.Thread(target=wait, daemon=True, name="tenfold-turn").start()
        if got.wait(TURN_S):
            return True
        self._lock = WriterLock(self.path)
        given_up.set()
        if got.is_set():  # it came in between: the thread may have looked before
            lock.close()
        return False

    def _check_term(self, connection: sqlite3.Connection) -> None:
        connection.execute(MAKE_TERM)
        connection.execute("INSERT OR IGNORE INTO tf_move (id, term, move) VALUES (1, 0, '')")
        found = connection.execute("SELECT term, move FROM tf_move WHERE id = 1").fetchone()
        if found[0] > self.term:
            raise refused(self.term, found[0])
        if found != (self.term, self.move):
            connection.execute("UPDATE tf_move SET term = ?, move = ? WHERE id = 1", (self.term, self.move))

    def _commit(self) -> None:
        self._open().execute("COMMIT")

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._lock.release()


def refused(term: int, found: int) -> Fenced:
    """The error of a mover whose term is over."""
    return Fenced(
        f"A mover of term {found} is in charge of the database; this one has term {term}.",
        hint="Stop: another process carries the move on.",
    )
