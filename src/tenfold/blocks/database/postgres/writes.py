"""Transactions on PostgreSQL: bodies that are driven by hand, replayed when they must be, committed exactly once.

    BEGIN; the body's statements     INSERT INTO tf_commit ...; COMMIT     callbacks

BEGIN travels with the first statement, so a transaction of one write takes two round trips.

A body runs again, with a fresh coroutine and context, when it got in the way of another one (40001, 40P01) or when the
connection was lost before COMMIT was sent. Once COMMIT was sent it is never cancelled: when its answer is lost, the
commit row says what became of it. The row travels in one message with COMMIT, so it costs no round trip, and can only
be there when the transaction is.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any

import asyncpg

from tenfold.blocks.database.backend import Call, DatabaseConfig
from tenfold.blocks.database.body import close, foreign_await
from tenfold.blocks.database.commits import other_request
from tenfold.blocks.database.keys import HOME_BUCKET, bucket_of
from tenfold.blocks.database.postgres.scopes import Ask, Home, PostgresTransaction
from tenfold.blocks.database.postgres.turns import Turns
from tenfold.blocks.database.scopes import swallowed
from tenfold.core.clock import Clock
from tenfold.core.errors import StaleMap, TenfoldError, Unavailable, UnknownOutcome
from tenfold.core.randomness import Randomness
from tenfold.core.retry import Backoff
from tenfold.drivers.postgres import Link, Lost, Pool, is_lost, is_serialization
from tenfold.drivers.postgres.failures import FAILURES, STALE_STATE, is_stale_plan, sqlstate
from tenfold.drivers.postgres.pool import closing

BEGIN = "BEGIN"
"""SERIALIZABLE, which is the session's default; only so can BEGIN share a message with what follows."""

BEGINNINGS = {
    "snapshot": "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "read committed": "BEGIN ISOLATION LEVEL READ COMMITTED",
}
"""What begins a transaction below SERIALIZABLE; a message of its own."""

FIND_COMMIT = "SELECT fingerprint, result FROM tf_commit WHERE id = $1"
_STILL_THERE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND application_name = $2"
_CONFIRM = "UPDATE tf_commit SET bucket = bucket WHERE id = $1"
"""Finds the row, and returns only when what was committed before it has reached the standbys too, if there are any."""

_COMMIT_TABLE = "tf_commit"

COLLIDED = Backoff(first_s=0.001, factor=2.0, limit_s=0.25, jitter=0.9)
AWAY = Backoff(first_s=0.02, factor=1.6, limit_s=0.5)
LOOK_AGAIN_S = 0.02


class Again(Exception):
    """The attempt left nothing behind and is worth repeating."""

    def __init__(self, cause: TenfoldError, *, lost: bool) -> None:
        super().__init__()
        self.cause = cause
        self.lost = lost


class Job:
    """One call on its way. `begun` once its first transaction has begun: from then on nobody withdraws it."""

    __slots__ = ("begun", "call", "future", "until")

    def __init__(self, call: Call, future: asyncio.Future[Any], until: float) -> None:
        self.call = call
        self.future = future
        self.until = until
        self.begun = False


class Writes:
    """The writing half of the backend. Belongs to one loop."""

    def __init__(self, home: Home, pool: Pool, config: DatabaseConfig, clock: Clock, randomness: Randomness) -> None:
        self.config = config
        self.committed = False
        """Whether anything was committed since the start."""
        self.replays = 0
        """Attempts that were repeated."""
        self._home = home
        self._pool = pool
        self._clock = clock
        self._randomness = randomness
        self._inside = 0
        self._waiting = 0
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._keyed: dict[bytes, asyncio.Future[None]] = {}
        self._turns = Turns()

    @property
    def inside(self) -> bool:
        """Whether a body runs at this moment; whoever asks is inside it."""
        return self._inside > 0

    async def stop(self) -> None:
        """Refuses new calls and lets the others finish."""
        self._closing = True
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def write(self, call: Call) -> Any:
        """Runs a call to its commit. Leaving before its transaction begins withdraws it; later it goes on alone."""
        if self._closing:
            raise closing()
        if self._waiting >= self.config.queue:
            raise Unavailable(
                f"{self._waiting:,} writes wait already.", hint="Send it again a little later.", code="TF-QUEUE-FULL"
            )
        loop = asyncio.get_running_loop()
        job = Job(call, loop.create_future(), self._clock.monotonic() + self.config.hold_s)
        self._waiting += 1
        task = loop.create_task(self._carry_out(job), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await job.future

    async def _carry_out(self, job: Job) -> None:
        future = job.future
        try:
            result = await self._once(job)
        except BaseException as error:  # noqa: BLE001 - whatever the body raises belongs to its caller
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(result)
        finally:
            self._has_begun(job)

    def _has_begun(self, job: Job) -> None:
        if not job.begun:
            job.begun = True
            self._waiting -= 1

    # -- repeating ----------------------------------------------------------------------------------------------------

    async def _once(self, job: Job) -> Any:
        """One after another for the same commit id, so that duplicates in this process run the body once."""
        commit_id = job.call.commit_id
        if commit_id is None:
            return await self._repeated(job)
        while (other := self._keyed.get(commit_id)) is not None:
            await other
        mine = self._keyed[commit_id] = asyncio.get_running_loop().create_future()
        try:
            return await self._repeated(job)
        finally:
            del self._keyed[commit_id]
            mine.set_result(None)

    async def _repeated(self, job: Job) -> Any:
        failures = 0
        key = job.call.keys or (job.call.name,)
        while True:
            turn = await self._turns.taken(key, contended=failures > 0)
            try:
                return await self._attempt(job)
            except Again as again:
                failures += 1
                wait = (AWAY if again.lost else COLLIDED).wait_s(failures, self._randomness)
                if self._clock.monotonic() + wait >= job.until:
                    raise again.cause from again.cause.__cause__
            finally:
                self._turns.over(key, turn)
            self.replays += 1
            await asyncio.sleep(wait)

    async def _attempt(self, job: Job) -> Any:
        call = job.call
        if call.commit_id is not None:
            done = await self._home.fetch(FIND_COMMIT, (call.commit_id,))
            if done:
                return _replayed(call, done[0])
        if job.future.done():  # withdrawn
            return None
        link = self._pool.take_idle()
        if link is None:
            try:
                link = await self._pool.take(max(job.until - self._clock.monotonic(), 0))
            except Lost as error:
                raise Again(error, lost=True) from error
        try:
            return await self._on(link, job)
        finally:
            self._pool.give(link)

    # -- one attempt --------------------------------------------------------------------------------------------------

    async def _on(self, link: Link, job: Job) -> Any:
        if job.future.done():
            return None
        self._has_begun(job)
        tx = PostgresTransaction(self._home, job.call, BEGIN)
        try:
            if (begin := BEGINNINGS.get(job.call.isolation)) is not None:
                await self._begun(link, tx, begin)
            result = await self._driven(link, job.call, tx)
            if tx.failed is not None:
                raise swallowed(job.call.name, tx.failed) from tx.failed
            text, result = self._checked(job.call, result)
        except BaseException:
            await self._roll_back(link, tx)
            raise
        finally:
            tx.open = False
        if text is None and not tx.wrote:
            await self._end_reading(link, tx)
        elif not await self._commit(link, job.call, tx, text):
            raise Again(_surely_not("its connection broke at COMMIT"), lost=True)
        self.committed = True
        for callback in tx.after or ():
            _call_back(callback)
        return result

    async def _begun(self, link: Link, tx: PostgresTransaction, begin: str) -> None:
        tx.begin = ""
        try:
            await link.execute(begin)
        except FAILURES as error:
            raise self._judged(link, error) from error

    def _checked(self, call: Call, result: Any) -> tuple[str | None, Any]:
        """The text to store and the result as a replay would return it, so that both are the same."""
        if call.commit_id is None:
            call.codec.check(result)
            return None, result
        text = call.codec.encode(result)
        return text, call.codec.decode(text)

    async def _driven(self, link: Link, call: Call, tx: PostgresTransaction) -> Any:
        """Runs a body to its end: its result, or what it raised; `Again` when the attempt cannot succeed any more."""
        context = call.context.copy()
        body = call.start(tx)
        send: Callable[[Any], Any] = body.send
        value: Any = None
        while True:
            self._inside += 1
            tx.driven = True
            try:
                wanted = context.run(send, value)
            except StopIteration as stop:
                return stop.value
            finally:
                self._inside -= 1
                tx.driven = False
            if type(wanted) is not Ask:
                tx.open = False
                raise foreign_await(body, context)
            try:
                begin, tx.begin = tx.begin, ""
                value = await wanted.perform(link, begin)
                send = body.send
            except Exception as error:
                judged = self._judged(link, error)
                if isinstance(judged, Again | StaleMap):  # nothing that the body does now could matter
                    tx.open = False
                    close(body, context)
                    raise judged from error
                tx.failed = judged
                judged.__cause__ = error
                send, value = body.throw, judged

    def _judged(self, link: Link, error: BaseException) -> Again | TenfoldError:
        """What a failure before COMMIT means."""
        cause = link.error(error)
        if is_stale_plan(error):
            link.forget()
            return Again(cause, lost=False)
        if is_serialization(error):
            return Again(cause, lost=False)
        if is_lost(error) or link.closed:
            link.abandon()
            return Again(cause, lost=True)
        return cause

    async def _roll_back(self, link: Link, tx: PostgresTransaction) -> None:
        if link.closed or tx.begin:
            return
        try:
            await link.execute("ROLLBACK")
        except FAILURES:
            link.abandon()

    async def _end_reading(self, link: Link, tx: PostgresTransaction) -> None:
        """Ends a transaction that wrote nothing; when that fails it may as well have been run again."""
        if tx.begin:
            return
        try:
            await link.execute("COMMIT")
        except FAILURES as error:
            judged = self._judged(link, error)
            await self._roll_back(link, tx)
            raise judged from error

    # -- the commit ---------------------------------------------------------------------------------------------------

    async def _commit(self, link: Link, call: Call, tx: PostgresTransaction, text: str | None) -> bool:
        """Whether the transaction is committed. False: surely not. `UnknownOutcome` when nobody can tell."""
        commit_id = call.commit_id or self._randomness.bytes(16)
        message = commit_message(call, commit_id, text, self._clock.wall_us())
        begin, tx.begin = tx.begin, ""
        link.warned = False
        try:
            await link.execute(f"{begin}; {message}" if begin else message)
        except FAILURES as error:
            if is_lost(error) or link.closed:
                link.abandon()
                return await self._found_out(link, commit_id, error)
            judged = self._judged(link, error)
            await self._roll_back(link, tx)
            if sqlstate(error) == "23505" and getattr(error, "table_name", "") == _COMMIT_TABLE:
                judged = Again(link.error(error), lost=False)  # somebody else has just committed the same key
            raise judged from error
        if link.warned:
            raise _not_replicated()
        return True

    async def _found_out(self, link: Link, commit_id: bytes, error: BaseException) -> bool:
        """Looks the commit up on a new connection, after the old one can surely not commit any more."""
        until = self._clock.monotonic() + self.config.hold_s
        failures = 0
        while True:
            try:
                return await self._looked_up(link.pid, commit_id)
            except UnknownOutcome:
                raise
            except (TenfoldError, *FAILURES) as again:
                failures += 1
                wait = AWAY.wait_s(failures, self._randomness)
                if self._clock.monotonic() + wait >= until:
                    raise UnknownOutcome(
                        f"The connection broke at COMMIT, and the database did not come back ({link.error(again)}).",
                        hint="Repeat the request with its Idempotency-Key to learn what became of it.",
                    ) from error
            await asyncio.sleep(wait)

    async def _looked_up(self, pid: int, commit_id: bytes) -> bool:
        fresh = await Link.open(self._pool.settings)
        limit = asyncio.get_running_loop().call_later(self.config.hold_s, fresh.abandon, context=Context())
        try:
            while await fresh.fetch(_STILL_THERE, (pid, self._pool.settings.name)):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(LOOK_AGAIN_S)
            found = await self._confirmed(fresh, commit_id)
            if fresh.warned:
                raise _not_replicated()
            return found
        finally:
            limit.cancel()
            await fresh.close()

    async def _confirmed(self, fresh: Link, commit_id: bytes) -> bool:
        try:
            return await fresh.touch(_CONFIRM, (commit_id,)) > 0
        except asyncpg.PostgresError as error:
            if sqlstate(error) != STALE_STATE:
                raise
        return bool(await fresh.fetch(FIND_COMMIT, (commit_id,)))  # fenced: nothing is written here any more


def _not_replicated() -> UnknownOutcome:
    return UnknownOutcome(
        "The commit is on the primary, and is not known to have reached a standby.",
        hint="Repeat the request with its Idempotency-Key to learn what became of it.",
    )


def commit_message(call: Call, commit_id: bytes, text: str | None, now_us: int) -> str:
    """COMMIT, with the row that proves it before it. A call without a key has an empty result, and is soon pruned."""
    bucket = bucket_of(call.keys[0]) if call.keys else HOME_BUCKET
    quoted = (text or "").replace("'", "''")
    fingerprint = call.fingerprint.hex() if call.commit_id is not None else ""
    return (
        "INSERT INTO tf_commit (id, bucket, fingerprint, result, at_us) VALUES "  # noqa: S608 - quoted above
        f"('\\x{commit_id.hex()}', {bucket}, '\\x{fingerprint}', '{quoted}', {now_us}); COMMIT"
    )


def _replayed(call: Call, done: Sequence[Any]) -> Any:
    if done[0] != call.fingerprint:
        raise other_request(call.name)
    return call.codec.decode(done[1])


def _surely_not(why: str) -> Unavailable:
    return Unavailable(
        f"The transaction was not applied: {why}.", hint="Send it again a little later.", code="TF-DB-AWAY"
    )


def _call_back(callback: Callable[[], object]) -> None:
    try:
        callback()
    except Exception as error:  # noqa: BLE001 - it is committed: its caller must not suffer
        told = {"message": "A callback of a committed transaction failed.", "exception": copy.copy(error)}
        asyncio.get_running_loop().call_exception_handler(told)
