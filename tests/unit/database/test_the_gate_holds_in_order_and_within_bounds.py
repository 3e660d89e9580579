"""The gate alone: who waits, for how long, how many, and in which order they go on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest

from tenfold.blocks.database.gate import AT_ONCE, SWEPT_AT, Gate, Holding
from tenfold.core.clock import SYSTEM_CLOCK, ManualClock
from tenfold.core.errors import Unavailable


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await work()

    asyncio.run(bounded())


def a_gate(hold_s: float = 25.0, queue: int = 100_000) -> Gate:
    return Gate(SYSTEM_CLOCK, hold_s=hold_s, queue=queue)


async def settle() -> None:
    """Lets everything run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


def waiting(gate: Gate, count: int, done: list[int]) -> list[asyncio.Task[None]]:
    async def one(number: int) -> None:
        await gate.passed()
        done.append(number)

    return [asyncio.create_task(one(number)) for number in range(count)]


def code_of(task: asyncio.Task[None]) -> str:
    error = task.exception()
    assert isinstance(error, Unavailable)
    assert error.retry_after_s > 0
    return error.code


def test_an_open_gate_is_one_attribute() -> None:
    gate = a_gate()
    assert not gate.closed
    gate.open("a reason that was never given")
    assert not gate.closed


def test_who_came_first_goes_first_and_a_newcomer_goes_last() -> None:
    async def work() -> None:
        gate, done = a_gate(), list[int]()
        gate.shut("a move")
        tasks = waiting(gate, 3 * AT_ONCE, done)
        await settle()
        gate.open("a move")
        assert gate.closed, "others are on their way: a newcomer must not pass them"
        newcomer = asyncio.create_task(gate.passed())
        newcomer.add_done_callback(lambda _: done.append(-1))
        await asyncio.gather(*tasks, newcomer)
        await settle()
        assert done == [*range(3 * AT_ONCE), -1]
        assert not gate.closed

    run(work)


def test_ten_thousand_that_wait_leave_the_loop_its_turns() -> None:
    async def work() -> None:
        gate, done, seen = a_gate(), list[int](), list[int]()
        gate.shut("a move")
        tasks = waiting(gate, 10_000, done)
        await settle()
        gate.open("a move")
        while not all(task.done() for task in tasks):
            seen.append(len(done))
            await asyncio.sleep(0)
        steps = [later - earlier for earlier, later in itertools.pairwise(seen)]
        assert max(steps) <= 2 * AT_ONCE, "between any two turns of the loop only so many go through"
        assert done == list(range(10_000))

    run(work)


def test_all_reasons_must_be_gone() -> None:
    async def work() -> None:
        gate, done = a_gate(), list[int]()
        gate.shut("the map")
        gate.shut("the fence")
        gate.shut("the fence")
        tasks = waiting(gate, 1, done)
        await settle()
        gate.open("the fence")
        await settle()
        assert done == []
        gate.open("the map")
        await asyncio.gather(*tasks)

    run(work)


def test_only_so_many_may_wait_and_one_who_leaves_makes_room() -> None:
    async def work() -> None:
        gate, done = a_gate(queue=2), list[int]()
        gate.shut("a move")
        tasks = waiting(gate, 3, done)
        await settle()
        assert code_of(tasks[2]) == "TF-QUEUE-FULL"
        tasks[0].cancel()
        await settle()
        later = asyncio.create_task(gate.passed())
        await settle()
        assert not later.done()
        gate.open("a move")
        await asyncio.gather(tasks[1], later)
        assert done == [1]
        assert gate.holding == Holding(now=0, total=3, refused=1, longest_s=gate.holding.longest_s)

    run(work)


def test_nobody_waits_longer_than_the_limit() -> None:
    async def work() -> None:
        gate, done = a_gate(hold_s=0.05), list[int]()
        gate.shut("a move")
        tasks = waiting(gate, 3, done)
        await asyncio.wait(tasks)
        assert [code_of(task) for task in tasks] == ["TF-HELD-TOO-LONG"] * 3
        assert 0.05 <= gate.holding.longest_s < 5
        gate.open("a move")
        assert not gate.closed, "those who gave up are not waited for"

    run(work)


def test_time_that_was_spent_before_counts() -> None:
    async def work() -> None:
        gate = a_gate(hold_s=1000.0)
        gate.shut("a move")
        late = asyncio.create_task(gate.passed(SYSTEM_CLOCK.monotonic() - 1001.0))
        await asyncio.wait([late])
        assert code_of(late) == "TF-HELD-TOO-LONG"

    run(work)


def test_a_gate_that_shuts_again_keeps_those_who_had_not_gone_on_in_their_place() -> None:
    async def work() -> None:
        gate, done = a_gate(), list[int]()
        gate.shut("a move")
        tasks = waiting(gate, 5, done)
        await settle()
        gate.open("a move")
        gate.shut("the next move")
        await settle()
        assert done == [], "what passes a gate that is shut would begin after its acknowledgement"
        late = waiting(gate, 6, done)[5:]
        await settle()
        gate.open("the next move")
        await asyncio.gather(*tasks, *late)
        assert done[:5] == [0, 1, 2, 3, 4]

    run(work)


def test_those_who_left_do_not_fill_the_memory() -> None:
    async def work() -> None:
        gate = a_gate()
        gate.shut("a move")
        for _ in range(20):
            tasks = waiting(gate, 100, [])
            await settle()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        assert len(gate._turns) <= 2 * SWEPT_AT
        gate.end()

    run(work)


def test_the_end_refuses_all() -> None:
    async def work() -> None:
        gate, done = a_gate(), list[int]()
        gate.shut("a move")
        tasks = waiting(gate, 2, done)
        await settle()
        gate.end()
        await asyncio.wait(tasks)
        assert [code_of(task) for task in tasks] == ["TF-CLOSING"] * 2
        with pytest.raises(Unavailable):
            await gate.passed()
        gate.open("a move")
        assert gate.closed

    run(work)


def test_the_figures_say_what_waits_and_how_long() -> None:
    async def work() -> None:
        clock = ManualClock()
        gate = Gate(clock, hold_s=25.0, queue=10)
        gate.shut("a move")
        tasks = waiting(gate, 2, [])
        await settle()
        clock.advance(0.25)
        assert gate.holding == Holding(now=2, total=2, longest_s=0.25, closed=True)
        gate.open("a move")
        await asyncio.gather(*tasks)
        clock.advance(10)
        assert gate.holding == Holding(now=0, total=2, longest_s=0.25)

    run(work)
