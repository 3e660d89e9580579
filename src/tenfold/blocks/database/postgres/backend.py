"""The database block on PostgreSQL: coalesced reads, SERIALIZABLE transactions that are replayed and commit once.

Three small pools: for transactions, for reads (each statement its own snapshot), for scopes with one snapshot. What a
lost connection interrupted is done again on another one for `hold_s`, so that a restart of the server is a wait.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Any, TypeVar

import asyncpg
from sqlalchemy import MetaData
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from tenfold.blocks.database.backend import Call, Capabilities, Consistency, DatabaseConfig, Heard, ReadContext, deaf
from tenfold.blocks.database.meter import Meter, PoolUse
from tenfold.blocks.database.policy import Scope
from tenfold.blocks.database.postgres.points import Found, Lane
from tenfold.blocks.database.postgres.readiness import PostgresReadiness
from tenfold.blocks.database.postgres.scopes import PostgresReader, PostgresSnapshot
from tenfold.blocks.database.postgres.signals import Signals
from tenfold.blocks.database.postgres.writes import AWAY, Writes
from tenfold.blocks.database.statement import Plan, Plans
from tenfold.blocks.database.token import Position, Token
from tenfold.core.clock import Clock
from tenfold.core.errors import ContractError, Interrupted, TenfoldError, Unavailable
from tenfold.core.randomness import SYSTEM_RANDOMNESS, Randomness
from tenfold.drivers.postgres import Link, Lost, Pool, Settings, is_lost
from tenfold.drivers.postgres.failures import FAILURES, is_stale_plan
from tenfold.drivers.postgres.pool import closing
from tenfold.topology.pools import reading, snapshots

T = TypeVar("T")

ONLY_SHARD = "0"
SNAPSHOTS_KEPT = 2
"""Of their connections that stay open when nobody needs them."""

WARM = 4
"""Connections of a kind that are open from the start: writes that were held must not wait for log-ins as well."""

READ_S = 5.0
"""A statement of a plain read scope may take this long; of a snapshot or a fanout `SNAPSHOT_S`."""

SNAPSHOT_S = 60.0
SILENT_S = 3.0
"""How long the server may be silent beyond its own limit before the connection is given up as dead."""

OPEN_S = 5.0
"""How long `start` waits for a server that does not answer."""

PLANS_AGAIN = 3
BEGIN_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresBackend:
    """One PostgreSQL database as the service's database."""

    capabilities = Capabilities(parallel_writers=True, replicas=False, commits_numbered=False)

    def __init__(
        self,
        config: DatabaseConfig,
        metadata: MetaData,
        clock: Clock,
        on_fatal: Callable[[BaseException], None],
        *,
        randomness: Randomness = SYSTEM_RANDOMNESS,
    ) -> None:
        self.config = config
        self.clock = clock
        self.heard: Heard = deaf
        self.meter = Meter(clock)
        self.plans = Plans(PGDialect_asyncpg())  # type: ignore[no-untyped-call]
        self._randomness = randomness
        self._kind = settings(config)
        size = config.server.pool if config.server is not None else 0
        self._writing = Pool(self._kind.write, size, clock=clock, queue=config.queue, limit_s=config.hold_s + SILENT_S)
        self._reading = Pool(self._kind.read, reading(size), clock=clock, queue=config.queue, limit_s=READ_S + SILENT_S)
        self._snapshots = Pool(self._kind.snapshot, snapshots(size), what="snapshot", clock=clock, queue=config.queue)
        self.writes = Writes(self, self._writing, config, clock, randomness)
        self.signals = Signals(lambda: self._kind.signal, randomness)
        self._readiness = PostgresReadiness(config, metadata, clock, self._read_once)
        self._closed = False
        self._snapshot_reads: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Connects; an error with its reason when the server refuses, or does not answer for `OPEN_S`."""
        try:
            await self._retried(self._readiness.look, min(OPEN_S, self.config.hold_s))
            await self._writing.fill(WARM)
            await self._reading.fill(WARM)
        except BaseException:
            await self._close_pools()
            raise
        if self.heard is not deaf:
            await self.signals.hear(self.heard)

    async def stop(self) -> None:
        """Lets what began finish, then closes; a snapshot ends with its next statement."""
        await self.writes.stop()
        self._closed = True
        await self._readiness.stop()
        await self.signals.stop()
        if self._snapshot_reads:
            await asyncio.wait(self._snapshot_reads, timeout=self.config.hold_s)
        await self._reading.drained(READ_S)
        await self._close_pools()

    async def _close_pools(self) -> None:
        for pool in (self._writing, self._reading, self._snapshots):
            await pool.close()

    def adopt(self, config: DatabaseConfig) -> None:
        """Takes over limits, the epoch, and where the server is; connections to another place are renewed."""
        self.config = self.writes.config = config
        self._writing.queue = self._reading.queue = self._snapshots.queue = config.queue
        if config.server is None:
            return
        self._writing.limit_s = config.hold_s + SILENT_S
        self._writing.size = config.server.pool
        self._reading.size = reading(config.server.pool)
        self._snapshots.size = snapshots(config.server.pool)
        kind = settings(config)
        if kind != self._kind:
            self._kind = kind
            self._writing.renew(kind.write)
            self._reading.renew(kind.read)
            self._snapshots.renew(kind.snapshot)

    def ready(self) -> tuple[bool, str]:
        """Whether the schema fits this code, and why not; a look that is at most a second or two old."""
        return self._readiness.ready()

    def position(self) -> Token:
        """A token at or after everything this process has committed; without replicas the epoch says it all."""
        if not self.writes.committed:
            return Token()
        return Token(((ONLY_SHARD, Position(self.config.epoch, 0, 0, 0)),))

    def in_transaction(self) -> bool:
        """Whether a body is running at this moment: whoever asks is inside it."""
        return self.writes.inside

    def pool(self) -> PoolUse:
        """The connections of its pools."""
        pools = (self._writing, self._reading, self._snapshots)
        busy, waiting = sum(pool.used for pool in pools), sum(pool.waiting for pool in pools)
        return PoolUse(sum(pool.size for pool in pools), busy, waiting)

    async def write(self, call: Call) -> Any:
        """Runs a call to its commit."""
        return await self.writes.write(call)

    # -- other processes ----------------------------------------------------------------------------------------------

    def announce(self, keys: list[str]) -> None:
        """Tells the other processes on this database to drop these keys, within 5 ms or so."""
        self.signals.announce(keys)

    def catch_up(self) -> bool:
        """Does nothing: what others announce arrives by itself."""
        return False

    # -- reading ------------------------------------------------------------------------------------------------------

    def read(self, keys: tuple[Any, ...] | None, consistency: Consistency, snapshot: bool) -> ReadContext:
        """A read scope; without replicas every consistency is met by the one server."""
        scope = Scope.HOME_READ if keys is None else Scope.KEYED_READ
        return PostgresSnapshot(self, scope, keys) if snapshot else PostgresReader(self, scope, keys)

    def fanout(self) -> ReadContext:
        """Statements without a key, on connections that have more time."""
        return PostgresSnapshot(self, Scope.FANOUT, None)

    def lane(self, plan: Plan) -> Lane:
        """The point reads of a plan."""
        lane = plan.kept
        if lane is None:
            lane = plan.kept = Lane(plan.sql, self._read_now, self._reading)
        return lane  # type: ignore[no-any-return]

    async def fetch(self, sql: str, values: Sequence[Any]) -> Found:
        """The rows of one statement, in a snapshot of its own."""
        return await self._read_now(lambda link: link.fetch(sql, values))

    async def _read_now(self, work: Callable[[Link], Awaitable[T]]) -> T:
        """Runs a read; on another connection when one is lost, for `hold_s`."""
        return await self._retried(lambda: self._read_once(work), self.config.hold_s)

    async def _read_once(self, work: Callable[[Link], Awaitable[T]]) -> T:
        if self._closed:
            raise closing()
        pool = self._reading
        link = pool.take_idle() or await pool.take(self.config.hold_s)
        try:
            for left in reversed(range(PLANS_AGAIN)):
                try:
                    return await work(link)
                except asyncpg.PostgresError as error:
                    if not left or not is_stale_plan(error):
                        raise
                    link.forget()
            raise AssertionError("the last try returns or raises")
        except asyncio.CancelledError:
            pool.retire(link)
            raise
        except (*FAILURES, ValueError) as error:
            raise self._judged(link, error) from error
        finally:
            pool.give(link)

    def _judged(self, link: Link, error: BaseException) -> TenfoldError:
        """A failed read in our vocabulary; a connection that is of no use is closed."""
        found = link.error(error)
        if is_lost(error) or link.closed:
            link.abandon()
            if not isinstance(found, Lost):
                found = Lost(found.message, hint=found.hint)
        return found

    async def _retried(self, attempt: Callable[[], Awaitable[T]], limit_s: float) -> T:
        """Repeats what a lost connection interrupted, for `limit_s`."""
        until = self.clock.monotonic() + limit_s
        failures = 0
        while True:
            try:
                return await attempt()
            except Lost:
                failures += 1
                wait = AWAY.wait_s(failures, self._randomness)
                if self._closed or self.clock.monotonic() + wait >= until:
                    raise
            await asyncio.sleep(wait)

    # -- snapshots ----------------------------------------------------------------------------------------------------

    async def borrow(self) -> Link:
        """A connection of one's own, in a transaction that sees one state; `give_back` it."""
        return await self._retried(self._borrowed, self.config.hold_s)

    async def _borrowed(self) -> Link:
        if self._closed:
            raise closing()
        link = await self._snapshots.take(self.config.hold_s)
        watch = asyncio.get_running_loop().call_later(SILENT_S, link.abandon, context=Context())
        try:
            await link.execute(BEGIN_SNAPSHOT)
        except BaseException as error:
            self._snapshots.discard(link)
            if isinstance(error, FAILURES):
                raise self._judged(link, error) from error
            raise
        finally:
            watch.cancel()
        return link

    async def ask(self, link: Link, sql: str, values: Sequence[Any]) -> Found:
        """The rows of one statement on a borrowed connection."""
        if self._closed:
            raise closing()
        task = asyncio.current_task()
        assert task is not None, "a scope is used in a task"
        self._snapshot_reads.add(task)
        watch = asyncio.get_running_loop().call_later(SNAPSHOT_S + SILENT_S, link.abandon, context=Context())
        try:
            return await link.fetch(sql, values)
        except (*FAILURES, ValueError) as error:
            if is_stale_plan(error):
                link.forget()
            elif not (is_lost(error) or link.closed):
                raise link.error(error) from error
            raise closing() if self._closed else _interrupted(link.error(error)) from error
        finally:
            watch.cancel()
            self._snapshot_reads.discard(task)

    def give_back(self, link: Link, *, broken: bool) -> None:
        """Takes a borrowed connection back, and ends its transaction beside the work."""
        if broken or link.closed or self._closed:
            self._snapshots.retire(link)
        else:
            asyncio.get_running_loop().create_task(self._ended(link), context=Context())

    async def _ended(self, link: Link) -> None:
        try:
            await link.execute("ROLLBACK")
        except FAILURES:
            link.abandon()
        self._snapshots.give(link)
        self._snapshots.shrink(SNAPSHOTS_KEPT)


def _interrupted(cause: TenfoldError) -> Unavailable:
    return Interrupted(
        f"The database went away in the middle of a snapshot: {cause.message}", hint="Begin the scope anew."
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Kinds:
    """The settings of each kind of connection."""

    write: Settings
    read: Settings
    snapshot: Settings
    signal: Settings


def settings(config: DatabaseConfig) -> Kinds:
    """How the connections of this process are opened."""
    server = config.server
    if server is None:
        raise ContractError("The map names PostgreSQL, and no server.", hint="Run `tenfold climb` again.")
    base = Settings(
        host=server.host,
        port=server.port,
        database=server.database,
        user=server.user,
        password=server.password,
        tls=server.tls,
        name=f"tenfold {config.service} {os.getpid()}",
        lock_s=config.hold_s,
    )
    return Kinds(
        write=dataclasses.replace(
            base, statement_s=config.hold_s + 1, idle_in_transaction_s=10.0, isolation="serializable"
        ),
        read=dataclasses.replace(base, statement_s=READ_S, read_only=True),
        snapshot=dataclasses.replace(
            base, statement_s=SNAPSHOT_S, idle_in_transaction_s=SNAPSHOT_S, read_only=True, few_rows=False
        ),
        signal=dataclasses.replace(base, statement_s=READ_S),
    )
