"""Several processes of one service that share limits through a real database, with one clock that tests move."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from blocks_lab import Opener

from tenfold.blocks.database import Database
from tenfold.blocks.limits import Decision, Limits, Rule
from tenfold.core.clock import ManualClock
from tenfold.core.randomness import SeededRandomness


@dataclass
class Process:
    """One process, with the rules of the service."""

    limits: Limits
    rules: dict[str, Rule]

    async def take(self, *names: str, key: str = "k", cost: int | None = None) -> Decision:
        charges = [(self.rules[name], key) if cost is None else (self.rules[name], key, cost) for name in names]
        return await self.limits.take(*charges)

    async def burst(self, name: str, number: int, key: str = "k") -> int:
        """So many charges at once; how many were allowed."""
        decisions = await asyncio.gather(*(self.take(name, key=key) for _ in range(number)))
        return sum(decision.allowed for decision in decisions)

    async def settle(self) -> None:
        """Gives back what lies idle, and waits until that is done."""
        shared = self.limits._sharing.shared
        shared.tidy()
        while shared._tasks:
            await asyncio.wait(set(shared._tasks))


@dataclass
class Town:
    """The processes and their clock."""

    opener: Opener
    rates: dict[str, tuple[str, int]]
    options: dict[str, str] = field(default_factory=dict)
    clock: ManualClock = field(default_factory=lambda: ManualClock(monotonic=5000.0))

    @contextlib.asynccontextmanager
    async def processes(self, number: int, among: int | None = None) -> AsyncIterator[list[Process]]:
        """So many processes, which know of `among`."""
        async with contextlib.AsyncExitStack() as stack:
            made = []
            for seed in range(number):
                database = await stack.enter_async_context(self.opener())
                made.append(await stack.enter_async_context(self.process(database, seed, among or number)))
            yield made

    @contextlib.asynccontextmanager
    async def process(self, database: Database, seed: int, among: int) -> AsyncIterator[Process]:
        """One process on an open database; it ends in order."""
        limits = Limits(database, self.clock, SeededRandomness(seed), rows_now_ns=lambda: self.clock.wall_us() * 1000)
        rules = {
            name: limits.rule(name, rate, burst=burst, **self.options)  # type: ignore[arg-type]
            for name, (rate, burst) in self.rates.items()
        }
        limits._sharing.adopt(among)
        await limits.start()
        try:
            yield Process(limits, rules)
        finally:
            await limits.stop()
