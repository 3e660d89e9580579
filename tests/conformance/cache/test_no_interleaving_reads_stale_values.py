"""P9 in one process: after a write is acknowledged, no read that begins returns what it replaced, whatever the order.

Every actor is a short script of atomic steps. A reader begins (and may take off a load, join one or hit), its load
reads the row, its load returns. A writer commits the row and then is acknowledged, which is when `invalidate` takes
effect. The tests run every order of the steps (or, for many actors, drawn orders) against the real cache.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cache_backends import BACKENDS
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.blocks.cache import MISSING, Cache
from tenfold.core.clock import ManualClock
from tenfold.core.randomness import SeededRandomness

SCRIPTS = {
    "reader": ("begin", "read row", "return"),
    "writer": ("commit", "acknowledge"),
    "rolled back": ("roll back",),
    "refresher": ("begin refresh", "read row", "return"),
}


class Race:
    """Steps of several actors, run one at a time; the cache and the asyncio tasks settle after each."""

    def __init__(self, make: Callable[..., Cache]) -> None:
        self.cache = make(ManualClock(), SeededRandomness(1))
        self.row = 0
        self.acknowledged = 0
        self.gates: dict[tuple[int, str], asyncio.Event] = {}
        self.starting = -1
        self.reads: list[tuple[asyncio.Task[Any], int]] = []
        self.taken: set[int] = set()
        self.callbacks: dict[int, list[tuple[Callable[[], None], int]]] = {}

        @self.cache.read("row:{key}", ttl=1000)
        async def find(key: str) -> int:
            actor = self.starting
            self.taken.add(actor)
            await self.gate(actor, "read row").wait()
            value = self.row
            await self.gate(actor, "return").wait()
            return value

        self.find = find

    def gate(self, actor: int, step: str) -> asyncio.Event:
        return self.gates.setdefault((actor, step), asyncio.Event())

    async def step(self, actor: int, step: str) -> None:
        match step:
            case "begin" | "begin refresh":
                self.starting = actor
                read = self.find("k") if step == "begin" else self.cache.refresh(self.find, "k")
                self.reads.append((asyncio.create_task(read), self.acknowledged))
            case "read row" | "return":
                self.gate(actor, step).set()
            case "commit":
                self.callbacks[actor] = []
                self.row += 1
                self.cache.invalidate(Tx(self.callbacks[actor], self.row), self.find, "k")
            case "acknowledge":
                for callback, version in self.callbacks[actor]:
                    callback()
                    self.acknowledged = max(self.acknowledged, version)
            case "roll back":
                self.cache.invalidate(Tx([], 0), self.find, "k")
        for _ in range(6):
            await asyncio.sleep(0)
        peeked = self.find.peek("k")
        assert peeked is MISSING or peeked >= self.acknowledged, "a stored value is older than an acknowledged write"

    async def finish(self) -> None:
        for read, acknowledged_before in self.reads:
            assert await read >= acknowledged_before, "a read returned less than a write acknowledged before it began"


class Tx:
    def __init__(self, callbacks: list[tuple[Callable[[], None], int]], version: int) -> None:
        self._callbacks, self._version = callbacks, version

    def on_commit(self, callback: Callable[[], None]) -> None:
        self._callbacks.append((callback, self._version))

    def announce(self, key: str) -> None:
        """There are no others."""


def orders(actors: tuple[str, ...]) -> Iterator[list[tuple[int, str]]]:
    """Every interleaving of the actors' scripts."""

    def further(at: tuple[int, ...]) -> Iterator[list[tuple[int, str]]]:
        if all(at[index] == len(SCRIPTS[actor]) for index, actor in enumerate(actors)):
            yield []
        for index, actor in enumerate(actors):
            if at[index] < len(SCRIPTS[actor]):
                moved = (*at[:index], at[index] + 1, *at[index + 1 :])
                for rest in further(moved):
                    yield [(index, SCRIPTS[actor][at[index]]), *rest]

    return further((0,) * len(actors))


async def play(make: Callable[..., Cache], order: list[tuple[int, str]]) -> None:
    race = Race(make)
    for actor, step in order:
        await race.step(actor, step)
    await asyncio.wait_for(race.finish(), 5)


@pytest.mark.parametrize("make", BACKENDS.values(), ids=BACKENDS)
@pytest.mark.parametrize(
    ("actors", "count"),
    [
        (("reader", "writer"), 10),
        (("reader", "writer", "writer"), 210),
        (("reader", "reader", "writer"), 560),
        (("reader", "refresher", "writer"), 560),
        (("reader", "writer", "rolled back"), 60),
        (("refresher", "writer", "writer"), 210),
    ],
)
def test_every_order_of_few_actors(make: Callable[..., Cache], actors: tuple[str, ...], count: int) -> None:
    async def body() -> None:
        played = 0
        for order in orders(actors):
            await play(make, order)
            played += 1
        assert played == count

    asyncio.run(body())


@pytest.mark.parametrize("make", BACKENDS.values(), ids=BACKENDS)
@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_drawn_orders_of_many_actors(make: Callable[..., Cache], data: st.DataObject) -> None:
    actors = data.draw(st.lists(st.sampled_from(sorted(SCRIPTS)), min_size=2, max_size=9))
    left = {index: list(SCRIPTS[actor]) for index, actor in enumerate(actors)}
    order = []
    while left:
        index = data.draw(st.sampled_from(sorted(left)))
        order.append((index, left[index].pop(0)))
        left = {index: steps for index, steps in left.items() if steps}
    asyncio.run(play(make, order))
