"""The events block: what happened, told to named subscribers that each have a position of their own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from typing import Any, TypeVar

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.own.events import NAME_LIMIT
from tenfold.blocks.events import log
from tenfold.blocks.events.cursors import Cursors, ParkedEvent, Start
from tenfold.blocks.events.event import Event, check_topic, written
from tenfold.blocks.events.log import EventLog
from tenfold.blocks.events.policy import BATCH_LIMIT, BEAT_S, FORGOTTEN_S, KEEP_S, UNUSED_S, is_name, row_after
from tenfold.blocks.events.recorder import Recorder
from tenfold.blocks.events.runner import Handler, Runner, Subscription
from tenfold.blocks.events.stats import EventsStats, SubscriberState, SubscriberStats
from tenfold.core.clock import Clock
from tenfold.core.errors import ContractError, NotFound, TenfoldError
from tenfold.core.randomness import Randomness
from tenfold.core.units import parse_duration
from tenfold.topology.map import Map

__all__ = ["Event", "Events", "EventsStats", "ParkedEvent", "SubscriberState", "SubscriberStats"]

H = TypeVar("H", bound=Handler)

REPLAY = f"{log.ANNOUNCED}|replay"
CATCH_UP_S = 0.05
"""How often a process on one file with others looks whether they told something."""

LAST_S = 10.0
"""How long `stop` waits for handlers that are at work."""

SOON_S = 2.0
"""How long `start` and `stop` wait for a database that does not answer."""

TOPICS_KNOWN = 10_000
PRUNE_EVERY_S = 60.0


class Events:
    """Events of one service. `publish` never loses one, `record` is buffered for up to 100 ms."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness) -> None:
        self.clock = clock
        self.randomness = randomness
        self.delivering = False
        """Whether this process delivers to subscribers."""

        self.log = EventLog(database)
        self.cursors = Cursors(database, clock, randomness.bytes(8).hex())
        self._database = database
        self._keep_s = KEEP_S
        self._recorder = Recorder(database, clock, randomness, self._wake)
        self._runners: dict[str, Runner] = {}
        self._topics: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._published = self._pruned = 0
        self._started = False

    # -- what a service calls -----------------------------------------------------------------------------------------

    async def publish(self, tx: Transaction, topic: str, data: Any) -> None:
        """Adds an event to a transaction: it is told if the transaction commits, and only then, and never lost.

        Raises `ContractError` for a name that is not a topic or data without a JSON form, `InvalidRequest`
        TF-EVENTS-SIZE for data of more than 64 KB.
        """
        if topic not in self._topics:
            self._known(topic)
        data = written(topic, data)
        await log.add(tx, [log.row(tx.bucket, topic, self.clock.wall_us(), data)])
        tx.announce(log.NEWS)
        tx.on_commit(self._has_published)

    def record(self, topic: str, data: Any) -> None:
        """Tells an event soon: it is in the database within 100 ms, while that takes writes.

        Synchronous, a few microseconds. What waits in memory is lost when the process is killed, and the oldest of it
        when the database is away for too long (`stats().dropped`). The errors are those of `publish`; not inside a
        transaction, whose end it would not share.
        """
        if topic not in self._topics:
            self._known(topic)
        if self._database.in_transaction():
            raise ContractError(
                f"An event of {topic!r} was recorded inside a transaction's body, which may run again or roll back.",
                hint="Use `await tf.events.publish(tx, ...)`, or record it after the transaction.",
                code="TF-EVENTS-TX",
            )
        self._recorder.add(topic, written(topic, data))

    def subscriber(
        self,
        *topics: str,
        name: str | None = None,
        batch: int = 100,
        wait: str | float = 0,
        start: Start = "now",
        park_after: int | None = 5,
        timeout: str | float | None = "60s",
    ) -> Callable[[H], H]:
        """Marks `async def handler(batch: list[Event])` as a subscriber: it is given every event of the topics.

        At least once, in order of `seq`, up to `batch` at a time, by one process at a time; its transactions commit
        once for each batch. `name` (default: the function's) is its identity: under it its position is kept. `wait`:
        how long a batch that is not full waits for more. `start`: whether a new name begins with what happens from now
        on, or with the oldest event there is. `park_after`: failures after which a batch is halved, and a single
        event put aside; None tries for ever. `timeout`: after which a handler is cancelled, which is a failure; None
        waits for ever.
        """

        def mark(handler: H) -> H:
            made = _subscription(
                topics, name or _named(handler), handler, batch=batch, wait=wait, start=start, park_after=park_after,
                timeout=timeout,
            )  # fmt: skip
            if made.name in self._runners:
                raise _refused(f"There are two subscribers with the name {made.name!r}", "Give each its own name.")
            if self._started:
                raise _refused(f"The subscriber {made.name!r} came too late", "Declare it when the module is imported.")
            self._topics.update(topics)
            self._runners[made.name] = Runner(made, self)
            return handler

        return mark

    def keep(self, duration: str | float) -> None:
        """How long events are kept that all subscribers have passed; 24 hours unless you say otherwise."""
        self._keep_s = parse_duration(duration)

    async def subscribers(self) -> list[SubscriberState]:
        """All subscribers that have a cursor, those that are not used any more too."""
        counts = await self.cursors.parked_counts()
        settled, now_us = await self.log.settled(), self.clock.wall_us()
        return [
            SubscriberState(
                name=row.cursor.name,
                position=row.cursor.position,
                behind=max(settled + 1 - row_after(row.cursor.position), 0),
                attempts=row.cursor.attempts,
                error=row.cursor.error,
                parked=counts.get(row.cursor.name, 0),
                unused=row.cursor.name not in self._runners and now_us - row.seen_us > UNUSED_S * 1e6,
            )
            for row in await self.cursors.all()
        ]

    async def parked(self, subscriber: str | None = None, *, after: int = 0) -> list[ParkedEvent]:
        """About 1,000 events that a subscriber (or any) could not handle, with a `seq` above `after`.

        What several subscribers have parked of one event comes together: the last `seq` is the next `after`.
        """
        return await self.cursors.parked(subscriber, after)

    async def replay(self, subscriber: str, seq: int | None = None) -> int:
        """Gives a parked event, with those of its batch, to its subscriber again, or all of them; how many.

        `NotFound` when there is none. It happens soon, in whichever process delivers to that subscriber.
        """
        asked = await self.cursors.ask(subscriber, seq)
        if not asked:
            raise NotFound(f"The subscriber {subscriber!r} has not parked this.", code="TF-EVENTS-NONE")
        self._heard([REPLAY])
        return asked

    def stats(self) -> EventsStats:
        """The numbers of this process."""
        recorder, now_us = self._recorder, self.clock.wall_us()
        return EventsStats(
            published=self._published,
            recorded=recorder.recorded,
            buffered=recorder.buffered,
            flushes=recorder.flushes,
            dropped=recorder.dropped,
            pruned=self._pruned,
            subscribers=tuple(_stats(runner, now_us) for runner in self._runners.values()),
        )

    # -- lifecycle ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begins to write what is recorded, and to deliver, if this process works. A database that is away is tried
        again."""
        if self._started:
            return
        self._started = True
        self.log.forget()
        self._recorder.start()
        self._database.listen(log.ANNOUNCED, self._heard)
        for runner in self._runners.values():
            runner.wake = asyncio.Event()  # of this loop
        await _tried(runner.register() for runner in self._runners.values())
        work = [*(runner.run() for runner in self._runners.values()), self._prune_for_ever()]
        if self._runners:
            work += [self._catch_up_for_ever(), self._beat_for_ever()]
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(each, context=Context(), name="events") for each in work]

    async def stop(self) -> None:
        """Delivers no more, lets handlers finish for `LAST_S`, writes what was recorded. Safe to call twice."""
        if not self._started:
            return
        self._started = self.delivering = False
        await self._handlers_ended()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SOON_S)  # a handler may refuse to end
        self._tasks = []
        await _tried(runner.release() for runner in self._runners.values())  # if that fails, the leases run out
        for runner in self._runners.values():
            runner.lost()
        await self._recorder.stop()

    async def _handlers_ended(self) -> None:
        until = self.clock.monotonic() + LAST_S
        while self.busy() and self.clock.monotonic() < until:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.005)

    def adopt(self, new: Map) -> None:
        """Goes by a newer map."""
        self._wake()

    def work(self, on: bool) -> None:
        """Whether this process delivers to subscribers."""
        self.delivering = on
        self._wake()

    def busy(self) -> int:
        """Batches that subscribers of this process handle now."""
        return sum(runner.handling for runner in self._runners.values())

    # -- beside the work ----------------------------------------------------------------------------------------------

    def _known(self, topic: str) -> None:
        check_topic(topic)
        if len(self._topics) < TOPICS_KNOWN:
            self._topics.add(topic)

    def _has_published(self) -> None:
        self._published += 1
        self._wake()

    def _wake(self) -> None:
        for runner in self._runners.values():
            runner.wake.set()

    def _heard(self, texts: list[str] | None) -> None:
        if texts is None or REPLAY in texts:
            for runner in self._runners.values():
                runner.look_for_replays = True
        self._wake()

    async def _catch_up_for_ever(self) -> None:
        while True:
            await asyncio.sleep(CATCH_UP_S)
            if self.delivering:
                self._database.catch_up()

    async def _beat_for_ever(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            held = {name: runner.epoch for name, runner in self._runners.items() if runner.held}
            if held:
                with contextlib.suppress(TenfoldError):  # the next one may come through, or the lease is lost
                    for name in await self.cursors.beat(list(held.items())):
                        if self._runners[name].epoch == held[name]:
                            self._runners[name].lost()

    async def _prune_for_ever(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_EVERY_S * (0.5 + self.randomness.uniform()))
            if self.delivering:
                with contextlib.suppress(TenfoldError):
                    await self.prune()

    async def prune(self) -> int:
        """Removes rows of events that are older than is kept and that all subscribers have passed; how many. Also
        happens by itself."""
        now_us = self.clock.wall_us()
        rows = await self.cursors.all()
        positions = [row.cursor.position for row in rows if now_us - row.seen_us < FORGOTTEN_S * 1e6]
        removed = await self.log.prune(positions, now_us - round(self._keep_s * 1e6))
        self._pruned += removed
        return removed


async def _tried(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Does these together; what a database that is away keeps from being done in time is left."""
    tasks = [asyncio.ensure_future(each) for each in work]
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=SOON_S)
        for task in late:
            task.cancel()
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(error, Exception) and not isinstance(error, TenfoldError):
                raise error


def _named(handler: Handler) -> str:
    return getattr(handler, "__name__", "")


def _stats(runner: Runner, now_us: int) -> SubscriberStats:
    return SubscriberStats(
        name=runner.subscription.name,
        here=runner.held,
        delivered=runner.delivered,
        failures=runner.failures,
        oldest_s=max(now_us - runner.oldest_us, 0) / 1e6 if runner.oldest_us else 0.0,
        error=runner.error,
    )


def _subscription(
    topics: tuple[str, ...],
    name: str,
    handler: Handler,
    *,
    batch: int,
    wait: str | float,
    start: Start,
    park_after: int | None,
    timeout: str | float | None,
) -> Subscription:
    if not asyncio.iscoroutinefunction(handler):
        raise _refused(f"The subscriber {name!r} is not an async function", "Write `async def`.")
    if not is_name(name, NAME_LIMIT):
        raise _refused(f"{name!r} is not the name of a subscriber", "Use a-z, 0-9, _, dots and hyphens: name=...")
    if not topics:
        raise _refused(f"The subscriber {name!r} names no topic", "Name at least one.")
    for topic in topics:
        check_topic(topic)
    if not 1 <= batch <= BATCH_LIMIT:
        raise _refused(f"The subscriber {name!r} has a batch of {batch!r}", f"Use 1 to {BATCH_LIMIT:,}.")
    if start not in ("now", "beginning"):
        raise _refused(f"The subscriber {name!r} has start={start!r}", 'Use "now" or "beginning".')
    if park_after is not None and park_after < 1:
        raise _refused(f"The subscriber {name!r} has park_after={park_after!r}", "Use 1 or more, or None.")
    wait_s, timeout_s = parse_duration(wait), None if timeout is None else parse_duration(timeout)
    if timeout_s is not None and timeout_s <= 0:
        raise _refused(f"The subscriber {name!r} has timeout={timeout!r}", "Use more than nothing, or None.")
    topics = tuple(dict.fromkeys(topics))
    return Subscription(name, topics, handler, batch, wait_s, start, park_after, timeout_s)


def _refused(what: str, hint: str) -> ContractError:
    return ContractError(f"{what}.", hint=hint, code="TF-EVENTS-SUBSCRIBER")
