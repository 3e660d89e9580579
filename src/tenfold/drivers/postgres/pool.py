"""A small pool of connections: bounded, waiting in the order of arrival, no round trip between two borrowers.

Connections are opened when they are needed and kept. `renew` begins a new generation: connections of an older one are
closed as soon as nobody uses them, so that no process stays pinned to a server that is not the one any more.
"""

from __future__ import annotations

import asyncio
import collections
from contextvars import Context

from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.drivers.postgres.connection import Link, Settings

SWEEP_S = 1.0
"""How often loans are looked at."""


class Pool:
    """Connections to one server. Belongs to one loop.

    `what` names the connections in the sentence of an error. `queue` bounds how many may wait for one. Who keeps one
    for more than `limit_s` seconds loses it (a second later at most): its socket is closed, because the server may
    never answer.
    """

    def __init__(
        self,
        settings: Settings,
        size: int,
        *,
        what: str = "database",
        queue: int = 10_000,
        limit_s: float = 0.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.settings = settings
        self.size = size
        self.queue = queue
        self.limit_s = limit_s
        self.generation = 0
        self._what = what
        self._clock = clock
        self._idle: list[Link] = []
        self._used: set[Link] = set()
        self._opening = 0
        self._waiting: collections.deque[asyncio.Future[Link | None]] = collections.deque()
        self._closed = False
        self._drained: asyncio.Future[None] | None = None
        self._sweeping: asyncio.TimerHandle | None = None
        self._goodbyes: set[asyncio.Task[None]] = set()

    @property
    def used(self) -> int:
        """Connections that somebody has borrowed."""
        return len(self._used)

    @property
    def waiting(self) -> int:
        """Who waits for one."""
        return len(self._waiting)

    def take_idle(self) -> Link | None:
        """A connection that waits for work, or None: then `take` opens one or waits."""
        while self._idle:
            link = self._idle.pop()
            if link.generation == self.generation and not link.closed:
                self._lend(link)
                return link
            self._drop(link)
        return None

    def _lend(self, link: Link) -> None:
        self._used.add(link)
        if self.limit_s:
            loop = asyncio.get_running_loop()
            link.due = loop.time() + self.limit_s
            if self._sweeping is None:
                self._sweeping = loop.call_later(SWEEP_S, self._sweep, context=Context())

    def _sweep(self) -> None:
        """Abandons what is overdue; cheaper than a timer for each loan."""
        loop = asyncio.get_running_loop()
        for link in list(self._used):
            if link.due and link.due < loop.time():
                link.abandon()
        self._sweeping = loop.call_later(SWEEP_S, self._sweep, context=Context()) if self._used else None

    async def take(self, limit_s: float) -> Link:
        """A connection of one's own; `give` it back. Waits `limit_s` at most.

        `Lost` when the server does not answer; `Unavailable` when all are in use for too long, or too many wait.
        """
        until = self._clock.monotonic() + limit_s
        while True:
            if self._closed:
                raise closing()
            link = self.take_idle()
            if link is not None:
                return link
            if len(self._used) + self._opening < self.size:
                return await self._opened()
            link = await self._turn(until)
            if link is not None:
                return link

    async def fill(self, count: int) -> None:
        """Opens connections until `count` of them wait for work (`size` at most), so that nobody waits for a log-in.

        A failure ends it quietly: whoever needs one opens it, or learns why not.
        """
        while len(self._idle) < count and len(self._used) + self._opening + len(self._idle) < self.size:
            try:
                self.give(await self._opened())
            except TenfoldError:
                return

    async def _opened(self) -> Link:
        self._opening += 1
        try:
            link = await Link.open(self.settings, self.generation)
        except BaseException:
            self._opening -= 1
            self._wake()
            raise
        self._opening -= 1
        if self._closed:
            link.abandon()
            raise closing()
        self._lend(link)
        return link

    async def _turn(self, until: float) -> Link | None:
        """Waits until somebody hands a connection over, or until one may be opened."""
        if len(self._waiting) >= self.queue:
            raise self._all_in_use("TF-QUEUE-FULL")
        turn: asyncio.Future[Link | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        # A timer of our own: `asyncio.timeout` costs as much as a statement.
        left = max(until - self._clock.monotonic(), 0)
        late = asyncio.get_running_loop().call_later(left, self._too_late, turn, context=Context())
        try:
            return await turn
        except BaseException:
            self._turn_missed(turn)
            raise
        finally:
            late.cancel()

    def _too_late(self, turn: asyncio.Future[Link | None]) -> None:
        if not turn.done():
            turn.set_exception(self._all_in_use("TF-HELD-TOO-LONG"))

    def _turn_missed(self, turn: asyncio.Future[Link | None]) -> None:
        """Passes on what was handed to somebody who had left."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        if turn.cancelled() or not turn.done() or turn.exception() is not None:
            return
        link = turn.result()
        if link is None:
            self._wake()
        else:
            self.give(link)

    def _wake(self, link: Link | None = None) -> bool:
        """Hands a connection (or the right to open one) to the first who waits; False when nobody does."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                if link is not None:
                    self._lend(link)
                turn.set_result(link)
                return True
        return False

    def give(self, link: Link) -> None:
        """Takes a connection back. It is closed when it belongs to an older generation or is still in a transaction."""
        if link not in self._used:  # it was discarded or retired
            return
        if link.closed or self._closed or link.generation != self.generation or link.connection.is_in_transaction():
            self._returned(link)
            self._drop(link)
            self._wake()
        elif not self._wake(link):  # whoever waits has it now
            self._returned(link)
            self._idle.append(link)

    def _returned(self, link: Link) -> None:
        self._used.discard(link)
        if not self._used and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    async def drained(self, limit_s: float) -> None:
        """Refuses new borrowers and waits until the others have given theirs back, `limit_s` at most."""
        self.end()
        if self._used:
            self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._drained], timeout=limit_s)

    def discard(self, link: Link) -> None:
        """Takes back a connection that nobody shall use again."""
        self._returned(link)
        link.abandon()
        self._wake()

    def retire(self, link: Link) -> None:
        """Takes back a connection on which something may still run: it is closed when that has ended."""
        self._returned(link)
        self._drop(link)
        self._wake()

    def renew(self, settings: Settings | None = None) -> None:
        """Begins a new generation, with new settings when they are given."""
        self.settings = settings or self.settings
        self.generation += 1
        for link in self._idle:
            self._drop(link)
        self._idle.clear()

    def shrink(self, keep: int) -> None:
        """Closes idle connections down to `keep`."""
        while len(self._idle) > keep:
            self._drop(self._idle.pop(0))

    def _drop(self, link: Link) -> None:
        if link.closed:
            return
        if self._closed:  # nobody would wait for a goodbye any more
            link.abandon()
            return
        goodbye = asyncio.get_running_loop().create_task(link.close(), context=Context())
        self._goodbyes.add(goodbye)
        goodbye.add_done_callback(self._goodbyes.discard)

    def end(self) -> None:
        """Refuses new borrowers, those who wait included; those who have one keep it."""
        self._closed = True
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(None)

    async def close(self) -> None:
        """Closes everything, connections in use too. Safe to call twice."""
        self.end()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for link in list(self._used):
            link.abandon()
        for link in self._idle:
            link.abandon()
        self._idle.clear()
        while self._goodbyes:
            await asyncio.wait(self._goodbyes)

    def _all_in_use(self, code: str) -> Unavailable:
        return Unavailable(
            f"All {self.size} {self._what} connections are in use.", hint="Send it again a little later.", code=code
        )


def closing() -> Unavailable:
    """The error for work that comes when the database closes."""
    return Unavailable("The database is closing.", hint="Send the request again.", code="TF-CLOSING")
