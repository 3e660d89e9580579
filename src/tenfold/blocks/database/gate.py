"""The gate: where new transactions wait while a move passes (held, not failed).

Shut, it keeps callers in the order in which they came, a bounded number of them, each for `hold_s` at most. When it
opens they go through a few at a time, so that thousands of them do not stop the loop; who comes meanwhile goes behind
them. It knows nothing of maps or databases: whoever shuts it says why, and it is open when no reason is left.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass

from tenfold.core.clock import Clock
from tenfold.core.errors import Unavailable

AT_ONCE = 256
"""Callers let through in one turn of the loop: as many as one batch of the serial writer takes."""

SWEPT_AT = 64
"""Turns that nobody waits for any more are swept out when there are this many more of them than of callers."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What the gate of a database holds and has held."""

    now: int = 0
    """Transactions that wait."""

    total: int = 0
    """Transactions that have waited, since the process began."""

    refused: int = 0
    """Of these, how many waited too long; and those for whom there was no room."""

    longest_s: float = 0.0
    """The longest wait of one, in seconds."""

    closed: bool = False
    """Whether the gate is shut."""

    begun_anew: int = 0
    """Attempts that were refused for an old map, and begun anew."""

    backend: str = ""
    """Where work goes; empty while no database is open."""


class Gate:
    """Used on the loop's thread. A caller asks `closed` (one attribute) and, if so, awaits `passed`.

    `hold_s` is how long one caller may wait, `queue` how many may; both may be changed at any time.
    """

    def __init__(self, clock: Clock, *, hold_s: float, queue: int) -> None:
        self.hold_s = hold_s
        self.queue = queue
        self.closed = False
        """Whether a newcomer has to wait: the gate is shut, or others are still on their way through it."""
        self._clock = clock
        self._reasons: set[str] = set()
        self._ended = False
        self._turns: list[tuple[int, asyncio.Future[None]]] = []
        self._tickets = itertools.count()
        self._since: dict[int, float] = {}
        self._total = 0
        self._refused = 0
        self._longest_s = 0.0

    @property
    def holding(self) -> Holding:
        """What it holds now and has held."""
        oldest = min(self._since.values(), default=None)
        waited = 0.0 if oldest is None else self._clock.monotonic() - oldest
        return Holding(len(self._since), self._total, self._refused, max(self._longest_s, waited), bool(self._reasons))

    def shut(self, reason: str) -> None:
        """Keeps new callers, until every reason is gone."""
        self._reasons.add(reason)
        self.closed = True

    def open(self, reason: str) -> None:
        """Takes a reason away; without any left the callers go through, those that came first first."""
        if reason in self._reasons:
            self._reasons.remove(reason)
            if not self._reasons:
                self._let_through()

    def end(self) -> None:
        """Refuses whoever waits, and whoever comes: the database is closing."""
        self._ended = self.closed = True
        for _, turn in self._turns:
            if not turn.done():
                turn.set_exception(_closing())
        self._turns.clear()

    async def passed(self, since: float | None = None) -> None:
        """Returns when it is the caller's turn. `since` (monotonic) is when its waiting began, if before now.

        Raises `Unavailable`, surely nothing was done: TF-QUEUE-FULL at once, TF-HELD-TOO-LONG after `hold_s`.
        """
        now = self._clock.monotonic()
        if self._ended:
            raise _closing()
        if len(self._since) >= self.queue:
            self._refused += 1
            raise _full(len(self._since))
        ticket = next(self._tickets)
        self._since[ticket] = now
        self._total += 1
        try:
            await self._turn(ticket, (now if since is None else since) + self.hold_s)
            while self._reasons:  # it was shut again before this caller had begun
                await self._turn(ticket, (now if since is None else since) + self.hold_s)
        finally:
            self._longest_s = max(self._longest_s, self._clock.monotonic() - self._since.pop(ticket))

    async def _turn(self, ticket: int, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._turns, (ticket, turn))
        timer = loop.call_later(max(0.0, deadline - self._clock.monotonic()), self._give_up, turn)
        try:
            await turn
        finally:
            timer.cancel()
            if len(self._turns) > 2 * len(self._since) + SWEPT_AT:
                self._turns = [entry for entry in self._turns if not entry[1].done()]
                heapq.heapify(self._turns)

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            self._refused += 1
            turn.set_exception(held_too_long(self.hold_s))

    def _let_through(self) -> None:
        if self._reasons or self._ended:
            return
        left = AT_ONCE
        while self._turns and left:
            turn = heapq.heappop(self._turns)[1]
            if not turn.done():
                turn.set_result(None)
                left -= 1
        if self._turns:
            asyncio.get_running_loop().call_soon(self._let_through)
        else:
            self.closed = False


def held_too_long(hold_s: float) -> Unavailable:
    """The error of a caller for whom the gate did not open in time."""
    return Unavailable(
        f"The database is being moved or is away, and did not come within {hold_s:g} s.",
        hint="Nothing was done; send it again. `tenfold status` says what goes on.",
        code="TF-HELD-TOO-LONG",
    )


def _full(waiting: int) -> Unavailable:
    return Unavailable(
        f"{waiting:,} transactions wait already.", hint="Send it again a little later.", code="TF-QUEUE-FULL"
    )


def _closing() -> Unavailable:
    return Unavailable("The database is closing.", hint="Send the request again.", code="TF-CLOSING")
