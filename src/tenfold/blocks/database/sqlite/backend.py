"""The database block on SQLite: reads on the loop, writes through the serial writer."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from tenfold.blocks.database.backend import Call, Capabilities, Consistency, DatabaseConfig, Heard, ReadContext, deaf
from tenfold.blocks.database.body import drive
from tenfold.blocks.database.commits import other_request
from tenfold.blocks.database.keys import HOME_BUCKET, bucket_of
from tenfold.blocks.database.meter import Meter, PoolUse
from tenfold.blocks.database.policy import Scope
from tenfold.blocks.database.readiness import Readiness
from tenfold.blocks.database.scopes import swallowed
from tenfold.blocks.database.sqlite.invalidations import Invalidations
from tenfold.blocks.database.sqlite.scopes import SqliteReader, SqliteSnapshot, SqliteTransaction
from tenfold.blocks.database.statement import Plan, Plans
from tenfold.blocks.database.token import Position, Token
from tenfold.core.clock import Clock
from tenfold.core.errors import Interrupted, StaleMap, Unavailable
from tenfold.drivers.sqlite import Writer, open_reader, translated
from tenfold.drivers.sqlite.writer import Job

ONLY_SHARD = "0"
SNAPSHOTS = 8
"""Snapshot scopes open at once; each needs a connection of its own."""

TICK = 500_000
TICKS_ON_LOOP = 40
"""A read on the loop may take about TICK * TICKS_ON_LOOP steps of SQLite's machine (a second or so)."""

_FIND_COMMIT = "SELECT fingerprint, result FROM tf_commit WHERE id = ?"
_ADD_COMMIT = "INSERT INTO tf_commit (id, bucket, fingerprint, result, at_us) VALUES (?, ?, ?, ?, ?)"
_NEXT_SEQ = "UPDATE tf_clock SET seq = seq + 1 WHERE id = 1 RETURNING seq"


class SqliteBackend:
    """One SQLite file as the service's database."""

    capabilities = Capabilities(parallel_writers=False, replicas=False)

    def __init__(
        self, config: DatabaseConfig, metadata: MetaData, clock: Clock, on_fatal: Callable[[BaseException], None]
    ) -> None:
        self.config = config
        self.clock = clock
        self.heard: Heard = deaf
        self.meter = Meter(clock)
        self.invalidations = Invalidations(self._hears)
        self._announcing: asyncio.Future[Any] | None = None
        self.plans = Plans(SQLiteDialect_pysqlite(paramstyle="qmark"))
        self.writer = Writer(
            config.path,
            hold_s=config.hold_s,
            queue_limit=config.queue,
            clock=clock,
            before_commit=self._number,
            on_fatal=on_fatal,
        )
        self._readiness = Readiness(config, metadata)
        self._seq = 0
        self._ticks = 0
        self._snapshots = asyncio.Semaphore(SNAPSHOTS)
        self._free: list[sqlite3.Connection] = []
        self._borrowed: set[sqlite3.Connection] = set()
        self._waiting = 0
        self._closed = False

    async def start(self) -> None:
        """Opens the file for reading and writing; on an error nothing stays open."""
        self.reader = open_reader(self.config.path)
        try:
            await self.writer.start()
        except BaseException:
            self.reader.close()
            raise
        self.reader.set_progress_handler(self._tick, TICK)
        self._threads = ThreadPoolExecutor(SNAPSHOTS, thread_name_prefix="tenfold-read")

    async def stop(self) -> None:
        """Lets what began finish, reads for `hold_s` at most, then closes; a snapshot closes when its scope ends."""
        await self.writer.stop()
        self._closed = True
        ended = asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        await asyncio.wait([ended], timeout=self.config.hold_s)
        for connection in self._borrowed:
            connection.interrupt()
        await ended
        for connection in (self.reader, *self._free):
            connection.close()
        self._free.clear()

    def adopt(self, config: DatabaseConfig) -> None:
        """Takes over hold and queue limits and the epoch."""
        self.config = config
        self.writer.hold_s = config.hold_s
        self.writer.queue_limit = config.queue

    def ready(self) -> tuple[bool, str]:
        """Whether the schema fits this code, and why not."""
        try:
            return self._readiness.judge(self.reader)
        except sqlite3.Error as error:
            return False, str(translated(error, str(self.config.path)))

    def pool(self) -> PoolUse:
        """None: it is a file."""
        return PoolUse()

    def announce(self, keys: list[str]) -> None:
        """Writes the keys down for the other processes on this file, in a transaction soon.

        When it fails (no room, the file is held), they go with the next transaction that succeeds.
        """
        self.invalidations.told.add(keys)
        if self._announcing is None:
            with contextlib.suppress(Unavailable):
                self._announcing = self.writer.submit(_nothing)
                self._announcing.add_done_callback(self._announced)

    def _announced(self, finished: asyncio.Future[Any]) -> None:
        self._announcing = None
        failed = finished.cancelled() or finished.exception() is not None
        if self.invalidations.told and not failed:
            self.announce([])  # what came after the batch was written, and before it was done

    def catch_up(self) -> bool:
        """Looks at what other processes have committed, and gives `heard` the keys that they dropped.

        Whether somebody changed the file's schema: a move or a migration has passed, and there may be a newer map.
        """
        if self._closed:
            return False
        try:
            return self.invalidations.look(self.reader, self.writer.commits)
        except sqlite3.Error:
            self.invalidations.forget()
            return False

    def _hears(self, keys: list[str] | None) -> None:
        self.heard(keys)

    def position(self) -> Token:
        """A token at or after everything this process has committed; empty before its first commit."""
        if not self._seq:
            return Token()
        return Token(((ONLY_SHARD, Position(self.config.epoch, 0, 0, self._seq)),))

    def in_transaction(self) -> bool:
        """Whether a body is running: bodies never suspend, so whoever asks is inside it."""
        return self.writer.running is not None

    def _number(self, connection: sqlite3.Connection) -> None:
        self._seq = connection.execute(_NEXT_SEQ).fetchone()[0]
        self.invalidations.write(connection, self._seq, self.writer.commits)

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks > TICKS_ON_LOOP

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(self, call: Call) -> asyncio.Future[Any]:
        """Runs a call in the next batch; resolves after its COMMIT."""

        def body(connection: sqlite3.Connection, job: Job) -> Any:
            return self._perform(call, connection, job)

        return self.writer.submit(body)

    def _perform(self, call: Call, connection: sqlite3.Connection, job: Job) -> Any:
        if call.commit_id is not None:
            done = connection.execute(_FIND_COMMIT, (call.commit_id,)).fetchone()
            if done is not None:
                return self._replayed(call, done)
        tx = SqliteTransaction(self, connection, call)
        try:
            result = drive(call.start(tx), call.context)
        except Exception:
            if isinstance(tx.failed, StaleMap):  # whatever the body made of it, it has to run elsewhere
                raise tx.failed from None
            raise
        finally:
            tx.open = False
        if isinstance(tx.failed, StaleMap):
            raise tx.failed
        if tx.failed is not None:
            raise swallowed(call.name, tx.failed) from tx.failed
        if call.commit_id is None:
            call.codec.check(result)
        else:
            result = self._recorded(call, connection, result)
        if tx.told:
            self.invalidations.told.add(tx.told)
        job.after = tx.after
        return result

    def _replayed(self, call: Call, done: Sequence[Any]) -> Any:
        if done[0] != call.fingerprint:
            raise other_request(call.name)
        return call.codec.decode(done[1])

    def _recorded(self, call: Call, connection: sqlite3.Connection, result: Any) -> Any:
        """Stores the result; returns it as a replay would, so that the first answer cannot differ from the second."""
        text = call.codec.encode(result)
        bucket = bucket_of(call.keys[0]) if call.keys else HOME_BUCKET
        row = (call.commit_id, bucket, call.fingerprint, text, self.clock.wall_us())
        connection.execute(_ADD_COMMIT, row)
        return call.codec.decode(text)

    # -- reading ------------------------------------------------------------------------------------------------------

    def read(self, keys: tuple[Any, ...] | None, consistency: Consistency, snapshot: bool) -> ReadContext:
        """A read scope; every consistency is met by the one file, which is always current."""
        scope = Scope.HOME_READ if keys is None else Scope.KEYED_READ
        if snapshot:
            return SqliteSnapshot(self, scope, keys)
        return SqliteReader(self, self.reader, scope, keys)

    def fanout(self) -> ReadContext:
        """Statements without a key; run beside the loop, because they may look at everything."""
        return SqliteSnapshot(self, Scope.FANOUT, None)

    def fetch(
        self, connection: sqlite3.Connection, plan: Plan, params: Mapping[str, Any], limit: int
    ) -> list[Sequence[Any]]:
        """At most `limit` raw rows of a plan."""
        if connection is self.reader:
            self._ticks = 0
        try:
            sql, values = (plan.sql, plan.bind(params)) if plan.expand is None else plan.expand(params)
            return connection.execute(sql, values).fetchmany(limit)
        except sqlite3.Error as error:
            if self._closed:
                raise _closed() from error
            raise translated(error, str(self.config.path)) from error

    async def borrow(self) -> sqlite3.Connection:
        """A connection of one's own, in a transaction that sees one state; `give_back` it."""
        await self._turn()
        try:
            connection = self._free.pop() if self._free else open_reader(self.config.path)
        except BaseException:
            self._snapshots.release()
            raise
        connection.execute("BEGIN")
        self._borrowed.add(connection)
        return connection

    async def _turn(self) -> None:
        if self._closed:
            raise _closed()
        if self._waiting >= self.config.queue:
            raise _all_in_use("TF-QUEUE-FULL")
        self._waiting += 1
        try:
            async with asyncio.timeout(self.config.hold_s):
                await self._snapshots.acquire()
        except TimeoutError:
            raise _all_in_use("TF-HELD-TOO-LONG") from None
        finally:
            self._waiting -= 1

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Takes a borrowed connection back; nothing runs on it any more."""
        self._snapshots.release()
        self._borrowed.discard(connection)
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            connection.close()
            return
        if self._closed:
            connection.close()
        else:
            self._free.append(connection)

    def beside(self, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Runs a blocking function in a reading thread."""
        if self._closed:
            raise _closed()
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *args)


def _nothing(connection: sqlite3.Connection, job: Job) -> None:
    """A body for a transaction that only carries announcements."""


def _closed() -> Unavailable:
    return Interrupted("The database is closing.", hint="Send the request again.", code="TF-CLOSING")


def _all_in_use(code: str) -> Unavailable:
    return Unavailable(
        f"All {SNAPSHOTS} snapshot connections are in use.", hint="Send it again a little later.", code=code
    )
