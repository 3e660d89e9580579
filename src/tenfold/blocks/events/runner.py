"""Delivering to one subscriber: take its cursor, write down a batch, run the handler, move on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from tenfold.blocks.database.scope import RequestScope, enter_scope, leave_scope
from tenfold.blocks.events import policy
from tenfold.blocks.events.cursors import Cursors, ParkedEvent, Start
from tenfold.blocks.events.event import Event
from tenfold.blocks.events.log import EventLog
from tenfold.blocks.events.policy import AGAIN, BEAT_S, LOOK_S, Cursor, Sighting
from tenfold.core.clock import Clock
from tenfold.core.errors import Conflict, TenfoldError, Unavailable, UnknownOutcome
from tenfold.core.randomness import Randomness
from tenfold.core.retry import Backoff
from tenfold.core.units import format_duration

Handler = Callable[[list[Event]], Awaitable[object]]
FINGERPRINT = b"tenfold events"
HELD_BACK = Backoff(first_s=0.003, limit_s=0.1)
"""Waits between looks while a transaction that has not ended holds events back."""

SKIPPED_S = 5.0
"""How often a position is written that only moved over events of other topics."""

MORE = 16
"""Transactions of a batch beyond those that were counted, which a process that was killed may have committed."""

logger = logging.getLogger("tenfold.events")


@dataclass(frozen=True, slots=True)
class Subscription:
    """What `@subscriber` was given."""

    name: str
    topics: tuple[str, ...]
    handler: Handler
    batch: int
    wait_s: float
    start: Start
    park_after: int | None
    timeout_s: float | None


class Home(Protocol):
    """What runners share."""

    log: EventLog
    cursors: Cursors
    clock: Clock
    randomness: Randomness
    delivering: bool


class Unfinished(Exception):
    """The handler raised `error`."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class Runner:
    """One subscriber in this process. `run` is a task from the block's start to its stop; `wake` may be set by all."""

    def __init__(self, subscription: Subscription, home: Home) -> None:
        self.subscription = subscription
        self.wake = asyncio.Event()
        self.handling = False
        self.delivered = self.failures = 0
        self.error = ""
        """Of the last failure; of the handler, or of the database."""

        self.oldest_us = 0
        """When the first event happened that waits in the batch in hand; 0 without one."""

        self.epoch = 0
        self._home = home
        self._cursor: Cursor | None = None
        self._events: list[Event] = []
        self._seen: Sighting | None = None
        self.look_for_replays = False
        self._in_a_row = 0
        self._registered = False
        self._held_back = 0
        self._trouble = 0
        self._skipped_at = 0.0

    @property
    def held(self) -> bool:
        """Whether this process has the cursor."""
        return self._cursor is not None

    def lost(self) -> None:
        """Another process has taken the cursor."""
        self._cursor, self._events, self._seen, self.oldest_us = None, [], None, 0

    async def run(self) -> None:
        """Delivers for ever."""
        while True:
            try:
                await self._turn()
                self._trouble = 0
            except Exception as error:  # a subscriber never ends: nobody else would get its cursor
                self.lost()  # what is written there is not known for sure: it is read again
                self.error = str(error)
                self._trouble += 1
                if not isinstance(error, TenfoldError):
                    logger.exception("Delivering to %s failed, and is tried again.", self.subscription.name)
                await asyncio.sleep(AGAIN.wait_s(self._trouble, self._home.randomness))

    async def register(self) -> None:
        """Makes the cursor if there is none yet."""
        subscription = self.subscription
        await self._home.cursors.register(subscription.name, subscription.topics, subscription.start)
        self._registered = True

    async def release(self) -> None:
        """Gives the cursor back. One that is cancelled in this has it still, and can do it again."""
        if self._cursor is not None:
            await self._home.cursors.release(self.subscription.name, self.epoch)
            self.lost()

    async def _turn(self) -> None:
        if not self._registered:
            await self.register()
        if not self._home.delivering:
            await self.release()
            await self._pause(None)
        elif self._cursor is None and not await self._taken():
            await self._pause(BEAT_S)
        elif await self._replayed():
            pass
        elif await self._in_hand():
            await self._pause_at_most(await self._handle())
        else:
            await self._pause(self._until_next_look())

    async def _pause(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.wake.wait()
        except TimeoutError:
            pass
        self.wake.clear()

    async def _pause_at_most(self, seconds: float) -> None:
        """Waits before a batch runs again; news of other events does not end it, the end of the work does."""
        until = self._home.clock.monotonic() + seconds
        while self._home.delivering and (left := until - self._home.clock.monotonic()) > 0:
            await self._pause(left)

    def _until_next_look(self) -> float:
        if not self._home.log.waits:
            self._held_back = 0
            return LOOK_S
        self._held_back += 1
        return HELD_BACK.longest_s(self._held_back)

    # -- the cursor ---------------------------------------------------------------------------------------------------

    async def _taken(self) -> bool:
        cursors = self._home.cursors
        row, self._seen = await cursors.take(self.subscription.name, self._seen)
        if row is None:
            return False
        self._cursor, self.epoch, self.look_for_replays = row.cursor, row.epoch, True
        if row.cursor.claimed and row.holder not in ("", cursors.me):  # somebody began it, and may have died of it
            await self._again("the process that handled it ended", counts=True)
        return True

    async def _save(self, cursor: Cursor) -> bool:
        if self._cursor is None:
            return False
        if not await self._home.cursors.save(cursor, self.epoch):
            self.lost()
            return False
        self._cursor = cursor
        return True

    # -- a batch ------------------------------------------------------------------------------------------------------

    async def _in_hand(self) -> bool:
        """Whether there is a batch to run; the next one is written down."""
        cursor = self._cursor
        if cursor is None:
            return False
        if cursor.claimed:
            if not self._events:
                self._events = await self._claimed_events(cursor)
            return True
        found = await self._next(cursor, waits=True)
        if found.claimed:
            return await self._save(found)
        if found.position > cursor.position:
            await self._skip(found)
        return False

    async def _claimed_events(self, cursor: Cursor) -> list[Event]:
        return await self._home.log.between(cursor.position, cursor.upto, cursor.topics)

    async def _next(self, cursor: Cursor, *, waits: bool) -> Cursor:
        """The cursor with the next events as its batch; or behind what has none for it. A batch that is to wait for
        more is not claimed yet unless it `waits` here."""
        subscription, log = self.subscription, self._home.log
        most = min(cursor.size or subscription.batch, subscription.batch)
        found = await log.after(cursor.position, subscription.topics, most)
        if found.events and len(found.events) < most and subscription.wait_s and not cursor.size:
            if not waits:
                self._events = []
                return cursor
            await asyncio.sleep(subscription.wait_s)
            found = await log.after(cursor.position, subscription.topics, most)
        self._events = found.events
        if found.events:
            self.oldest_us = found.events[0].at_us
            return policy.claimed(cursor, found.upto, subscription.topics)
        self.oldest_us = 0
        return policy.passed(cursor, found.upto) if found.upto > cursor.position else cursor

    async def _skip(self, cursor: Cursor) -> None:
        """Moves over events of other topics; the database hears of it now and then."""
        now = self._home.clock.monotonic()
        self.wake.set()  # a bounded read may have ended before the log did
        if now - self._skipped_at < SKIPPED_S:
            self._cursor = cursor
        elif await self._save(cursor):
            self._skipped_at = now

    async def _handle(self) -> float:
        """Runs the batch in hand; seconds to wait before it runs again."""
        cursor = self._cursor
        if cursor is None:
            return 0.0
        scope = self._scope(cursor.scope_key)
        self.handling = True
        try:
            if self._events:
                await self._called(scope, self._events)
            await self._done(cursor)
        except Unfinished as failure:
            return await self._failed(failure.error, scope.next_ordinal("transaction"))
        finally:
            self.handling = False
        return 0.0

    async def _done(self, cursor: Cursor) -> None:
        count = len(self._events)
        behind = await self._next(policy.done(cursor), waits=False)
        if await self._save(behind):
            self.delivered += count

    def _scope(self, key: str) -> RequestScope:
        return RequestScope(request_id=f"events/{self.subscription.name}", idempotency_key=key, fingerprint=FINGERPRINT)

    async def _called(self, scope: RequestScope, events: list[Event]) -> None:
        entered, limit_s = enter_scope(scope), self.subscription.timeout_s
        try:
            async with asyncio.timeout(limit_s) as timer:
                await self.subscription.handler(list(events))
        except Exception as error:
            if limit_s is not None and timer.expired():
                raise Unfinished(TimeoutError(f"it took longer than {format_duration(limit_s)}")) from error
            raise Unfinished(error) from error
        finally:
            leave_scope(entered)

    # -- failures -----------------------------------------------------------------------------------------------------

    async def _failed(self, error: Exception, drawn: int) -> float:
        self.failures += 1
        text = f"{type(error).__name__}: {error}"
        logger.warning("The subscriber %s failed: %s", self.subscription.name, text)
        await self._again(text, counts=not isinstance(error, Unavailable | UnknownOutcome), drawn=drawn)
        self._in_a_row = self._in_a_row + 1 if self._cursor is not None and self._cursor.claimed else 0
        return AGAIN.wait_s(self._in_a_row, self._home.randomness) if self._in_a_row else 0.0

    async def _again(self, error: str, *, counts: bool, drawn: int = 0) -> None:
        """Writes down that the batch in hand runs once more, or that it is cut or parked."""
        if self._cursor is None:
            return
        cursor = policy.failed(self._cursor, error, drawn, counts=counts)
        self.error = cursor.error
        if not self._events:
            self._events = await self._claimed_events(cursor)
        count = len(self._events)
        most = max(cursor.drawn, count) + MORE
        committed = count > 1 and await self._home.cursors.committed(cursor.scope_key, most)
        match policy.verdict(cursor, count, self.subscription.park_after, committed=committed):
            case "run":
                await self._save(cursor)
            case "halve":
                await self._halve(cursor, count, most)
            case "park":
                await self._park(cursor)

    async def _halve(self, cursor: Cursor, count: int, transactions: int) -> None:
        try:
            smaller = await self._home.cursors.halve(cursor, self.epoch, count, transactions)
        except Conflict:  # one of them has committed in this moment: it cannot be cut any more
            await self._save(cursor)
            return
        if smaller is None:
            self.lost()
            return
        self._cursor, self._events = smaller, []

    async def _park(self, cursor: Cursor) -> None:
        events, self._events = self._events, []
        moved = await self._home.cursors.park(cursor, self.epoch, events)
        if moved is None:
            self.lost()
            return
        self._cursor = moved
        logger.error(
            "The subscriber %s cannot handle %d events from number %d on (%s): they are put aside; see "
            "`events.parked()`.",
            self.subscription.name, len(events), cursor.position, cursor.error,
        )  # fmt: skip

    # -- replays ------------------------------------------------------------------------------------------------------

    async def _replayed(self) -> bool:
        """Runs one batch whose replay was asked for; whether there was one."""
        if not self.look_for_replays:
            return False
        parked = await self._home.cursors.asked(self.subscription.name)
        if not parked:
            self.look_for_replays = False
            return False
        await self._replay(parked)
        return True

    async def _replay(self, parked: list[ParkedEvent]) -> None:
        batch, error = parked[0].batch, None
        self.handling = True
        try:
            await self._called(self._scope(batch.replace("/", "\0")), [each.event for each in parked])
        except Unfinished as failure:
            error = policy.storable(f"{type(failure.error).__name__}: {failure.error}")
        finally:
            self.handling = False
        if not await self._home.cursors.finish(self.subscription.name, self.epoch, batch, error):
            self.lost()
        elif error is not None:
            self.error = error
