"""Whether limits are shared, and the way there and back without losing what was charged."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging

from tenfold.blocks.limits.leasing import Ask
from tenfold.blocks.limits.policy import NS
from tenfold.blocks.limits.rows import Rows
from tenfold.blocks.limits.rules import Rules
from tenfold.blocks.limits.shared import Shared
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.core.lifecycle import Background
from tenfold.topology.map import Map

TIDY_S = 0.25
FORGET_S = 10.0
"""How often a process that is alone looks which charges of earlier ones are over."""
FORGET_S = 60.0
HANDED_OVER_MAX = 1_000
"""Keys whose charges a process hands over at most, those that have charged most."""
HANDED_OVER_NS = NS
"""What comes back sooner than this is not worth handing over."""
HAND_OVER_LIMIT_S = 2.0
CHANGE_LIMIT_S = 0.5
"""How long charges may wait while this process goes on alone; it is tried again when that does not suffice."""

log = logging.getLogger("tenfold.limits")


def processes_of(current: Map | None) -> int:
    """How many processes may charge limits: all that run the service."""
    return 1 if current is None else max(1, len(current.of_role("web")) + len(current.of_role("worker")))


class Sharing(Background):
    """Runs beside requests: gives leases back, hands charges over to the database and takes them over from there."""

    def __init__(self, rules: Rules, rows: Rows, clock: Clock) -> None:
        super().__init__()
        self.on = False
        """Whether charges go through the database now."""
        self.changing: asyncio.Future[None] | None = None
        """What new charges wait for while this process goes from sharing to its own memory."""
        self.shared = Shared(rows, clock)
        self._rules = rules
        self._rows = rows
        self._monotonic = clock.monotonic
        self._wanted = False
        self._known = False
        """Whether what was charged before this process was alone is known."""
        self._handed_over = True
        self._forgot_at = clock.monotonic()
        self._wake = asyncio.Event()

    def adopt(self, processes: int) -> None:
        """Goes by another number of processes. With several, it shares from this moment on."""
        self.shared.processes = processes
        self._wanted = processes > 1
        if self._wanted and not self.on:
            self.on, self._handed_over, self._known = True, False, False
        self._wake.set()

    async def open(self) -> None:
        """Begins; a database that is away keeps nobody waiting."""
        self._wake = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._change()
        await self.start()

    async def close(self) -> None:
        """Gives back what was not spent; or leaves to the next process what was charged here."""
        if not self.running:
            return
        await self.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER_LIMIT_S):
                await (self.shared.stop() if self.on else self._hand_over())

    async def run(self) -> None:
        while True:
            await self._change()
            if self.on:
                self.shared.tidy()
                await self._forget()
            settled = self.on == self._wanted and (self._known or self.on) and self._handed_over
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._until_next_turn(settled)):
                    await self._wake.wait()

    def _until_next_turn(self, settled: bool) -> float | None:
        now_ns = self._now_ns()
        unclaimed = [rule for rule in self._rules.by_name.values() if rule.forget_past(now_ns)]
        if not settled or self.on:
            return TIDY_S
        return FORGET_S if unclaimed else None

    async def _change(self) -> None:
        """Does what is still to do for the number of processes in force. What fails is tried again."""
        if not self._rules.by_name:
            self.on, self._known = self._wanted, not self._wanted
            return
        try:
            if self.on and not self._wanted:
                await self.shared.stop()
            if not self._wanted and not self._known:
                await self._take_over()
            if self.on and not self._handed_over:
                await self._hand_over()
        except (TenfoldError, TimeoutError) as error:
            log.debug("Charges are not handed over yet: %s", error)

    async def _take_over(self) -> None:
        """This process is alone: from now on it decides by itself, by what all of them had charged."""
        self.changing = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(CHANGE_LIMIT_S):
                while self.shared.busy:  # noqa: ASYNC110 - rare and bounded; nothing is to be told on each charge
                    await asyncio.sleep(0.001)
                owed = await self._rows.owed()
            now_ns = self._now_ns()
            for name, ns in owed.items():
                rule = self._rules.by_name.get(name.rpartition("/")[0])
                if rule is not None:
                    rule.unclaimed[name] = now_ns + ns
            self.on, self._known = self._wanted, True
        finally:
            self.changing.set_result(None)
            self.changing = None

    async def _hand_over(self) -> None:
        """What this process has charged by itself counts for all of them."""
        now_ns = self._now_ns()
        owing = [
            (ns, name, rule)
            for rule in self._rules.by_name.values()
            for name, ns in rule.owed(now_ns).items()
            if ns > HANDED_OVER_NS
        ]
        most = heapq.nlargest(HANDED_OVER_MAX, owing, key=lambda each: each[0])
        asks = (self._rows.lease(name, rule.terms, Ask(owed_ns=ns)) for ns, name, rule in most)
        for result in await asyncio.gather(*asks, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        self._handed_over = True

    async def _forget(self) -> None:
        if self._monotonic() - self._forgot_at > FORGET_S:
            self._forgot_at = self._monotonic()
            with contextlib.suppress(TenfoldError):
                await self._rows.forget()

    def _now_ns(self) -> int:
        return int(self._monotonic() * NS)
