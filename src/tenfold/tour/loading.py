"""Sends the load of a tour: for a trial at one rate, or beneath something that is going on, as long as it goes on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from tenfold.core.clock import Clock
from tenfold.core.randomness import Randomness
from tenfold.prove.client import Target
from tenfold.prove.history import Operation, Status
from tenfold.prove.load import Load
from tenfold.prove.report import percentile
from tenfold.tour.model import Trial
from tenfold.tour.traffic import FIRST, Traffic

R = TypeVar("R")

FILL_RATE = 50.0
FILL_TURNS = 5
_LONGEST_S = 24 * 3600.0
"""Load beneath something is ended with it."""


class Loading:
    """The load of one tour. `target` says where it goes just now: an address may change with the service."""

    def __init__(self, target: Callable[[], Target], traffic: Traffic, clock: Clock, randomness: Randomness) -> None:
        self._target = target
        self._traffic = traffic
        self._clock = clock
        self._randomness = randomness

    async def trial(self, rate: float, seconds: float) -> Trial:
        """One rate for so long, and the wait for the last answers."""
        seen: list[Operation] = []
        load = self._load(seen)
        try:
            reached = await load.run(rate, seconds)
        finally:
            await load.close()
        return trial_of(rate, seconds, seen, reached.late)

    async def fill(self) -> None:
        """Writes what is read later; a few turns, because a busy machine may fail some."""
        for _ in range(FILL_TURNS):
            if not self._traffic.begun:
                await self.trial(FILL_RATE, FIRST / FILL_RATE)

    async def beneath(self, rate: float, work: Coroutine[Any, Any, R]) -> tuple[R, Trial]:
        """Sends `rate` requests a second until `work` is done; what it returned, and what became of the requests."""
        seen: list[Operation] = []
        load = self._load(seen)
        began = self._clock.monotonic()
        sending = asyncio.create_task(load.run(rate, _LONGEST_S))
        try:
            result = await work
        finally:
            seconds = self._clock.monotonic() - began
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sending
            await load.close()
        return result, trial_of(rate, seconds, seen, 0)

    def _load(self, seen: list[Operation]) -> Load:
        clock, randomness = self._clock, self._randomness
        return Load(self._target(), [self._traffic], seen.append, clock=clock, randomness=randomness)


def trial_of(rate: float, seconds: float, seen: Sequence[Operation], late: int) -> Trial:
    """What a trial came to. `late` requests were never sent, because too many waited already. Pure."""
    waits = sorted(each.latency_us for each in seen) or [0]
    lags = sorted(each.sent_us - each.start_us for each in seen) or [0]
    return Trial(
        rate=rate,
        seconds=round(seconds, 2),
        sent=len(seen) + late,
        ok=sum(each.status is Status.OK for each in seen),
        p50_ms=percentile(waits, 0.5) / 1000,
        p99_ms=percentile(waits, 0.99) / 1000,
        longest_ms=waits[-1] / 1000,
        lag_ms=percentile(lags, 0.99) / 1000,
    )
