"""Exactly once for effects in the database, one holder at a time, whatever dies or sleeps in between."""

from __future__ import annotations

import asyncio
from typing import Any

from events_lab import Lab, Node, run, until

from tenfold.blocks.events.policy import LEASE_S
from tenfold.core.clock import ManualClock
from tenfold.core.errors import InvalidRequest


def counting(node: Node, **options: Any) -> None:
    """A subscriber that counts each event's code in a transaction of its own."""

    async def count(batch: list[Any]) -> None:
        node.given.append(batch)
        for event in batch:
            await node.count(event.data["code"])

    node.events.subscriber("link.made", name="counter", **options)(count)


async def stuck(node: Node) -> None:
    """The process stops between what its handler commits and the move of its position."""
    reached = asyncio.Event()

    async def never(*_: object) -> bool:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    runner = node.events._runners["counter"]
    real, done = node.events.cursors._save, runner._done

    async def dies(cursor: Any) -> None:
        node.events.cursors._save = never  # type: ignore[assignment]
        await done(cursor)

    runner._done = dies  # type: ignore[method-assign]
    for code in ("a", "b", "c"):
        await node.publish(code)
    await asyncio.wait_for(reached.wait(), 20)
    node.events.cursors._save = real


async def takes_over(node: Node) -> None:
    """Time passes for this process until it has the cursor of one that is not heard of."""
    for _ in range(1_000):
        if node.events.stats().subscribers[0].here:
            return
        node.later(LEASE_S)
        await asyncio.sleep(0.02)
    raise AssertionError("it never took over")


def test_a_process_that_dies_before_its_position_moved_leaves_effects_that_are_not_repeated(lab: Lab) -> None:
    first, second = Node(ManualClock()), Node(ManualClock())
    for node in (first, second):
        counting(node, wait="20ms")

    async def work() -> None:
        async with lab.running(first):
            await until(lambda: first.events.stats().subscribers[0].here)
            await stuck(first)
            first.die()
            async with lab.running(second):
                await second.publish("d")
                await asyncio.sleep(0.05)
                assert not second.given, "the lease of the first still runs"
                await takes_over(second)
                await until(lambda: "d" in second.codes and not second.events.busy())
                assert [await second.counted(code) for code in "abcd"] == [1, 1, 1, 1]
                assert second.given[0] == first.given[0], "the same batch, of the same events"

    run(work())


def test_a_holder_that_was_paused_is_refused_when_it_wakes(lab: Lab) -> None:
    paused, second = Node(ManualClock()), Node(ManualClock())

    async def work() -> None:
        awake = asyncio.Event()

        async def sleeps(batch: list[Any]) -> None:
            paused.given.append(batch)
            await awake.wait()
            for event in batch:
                await paused.count(event.data["code"])

        paused.events.subscriber("link.made", name="counter")(sleeps)
        counting(second)
        async with lab.running(paused, second):
            await until(lambda: paused.events.stats().subscribers[0].here)
            await paused.publish("a")
            await until(lambda: paused.given)
            paused.events._tasks[-1].cancel()  # no heartbeat any more
            await takes_over(second)
            await until(lambda: second.codes == ["a"])
            await second.publish("b")
            await until(lambda: second.events.stats().subscribers[0].delivered == 2)
            position = (await second.events.subscribers())[0].position
            awake.set()
            await until(lambda: not paused.events.busy())
            await until(lambda: not paused.events.stats().subscribers[0].here)
            assert (await second.events.subscribers())[0].position == position
            assert [await second.counted(code) for code in "ab"] == [1, 1]

    run(work())


def test_a_holder_that_was_paused_while_its_batch_was_cut_can_commit_nothing_of_it(lab: Lab) -> None:
    paused, second = Node(ManualClock()), Node(ManualClock())
    refused: list[str] = []

    async def work() -> None:
        awake = asyncio.Event()

        async def sleeps(batch: list[Any]) -> None:
            paused.given.append(batch)
            await awake.wait()
            for event in batch:
                try:
                    await paused.count(event.data["code"])
                except InvalidRequest as error:  # a handler that goes on with the next one
                    refused.append(error.code)

        paused.events.subscriber("link.made", name="counter", wait="50ms")(sleeps)
        counting(second, park_after=1)  # one end of a process, and the batch is halved
        async with lab.running(paused, second):
            await until(lambda: paused.events.stats().subscribers[0].here)
            await asyncio.gather(paused.publish("a"), paused.publish("b"))
            await until(lambda: paused.given)
            assert len(paused.codes) == 2
            paused.events._tasks[-1].cancel()  # no heartbeat any more
            await takes_over(second)
            await until(lambda: second.events.stats().subscribers[0].delivered == 2)
            assert [len(batch) for batch in second.given] == [1, 1]
            awake.set()
            await until(lambda: not paused.events.busy())
            assert refused == ["TF-IDEM-1"] * 2
            assert [await second.counted(code) for code in "ab"] == [1, 1]

    run(work())


def test_a_long_handler_keeps_its_lease(lab: Lab, monkeypatch: Any) -> None:
    monkeypatch.setattr("tenfold.blocks.events.BEAT_S", 0.02)
    monkeypatch.setattr("tenfold.blocks.events.runner.BEAT_S", 0.02)
    monkeypatch.setattr("tenfold.blocks.events.policy.LEASE_S", 0.8)
    long, other = Node(), Node()
    other.listens(name="counter")

    async def work() -> None:
        async def takes_long(batch: list[Any]) -> None:
            long.given.append(batch)
            await asyncio.sleep(1.8)

        long.events.subscriber("link.made", name="counter")(takes_long)
        async with lab.running(long, other):
            await until(lambda: long.events.stats().subscribers[0].here)
            await long.publish("a")
            await until(lambda: long.given)
            await until(lambda: not long.events.busy())
            await long.publish("b")
            await until(lambda: len(long.given) == 2)

    run(work())
    assert not other.given
    assert long.codes == ["a", "b"]


def test_one_that_ends_in_order_hands_over_at_once(lab: Lab) -> None:
    first, second = Node(ManualClock()), Node(ManualClock())
    first.listens()
    second.listens()

    async def work() -> None:
        async with lab.running(second, works=False):
            async with lab.running(first):
                await first.publish("a")
                await until(lambda: first.codes)
            await second.publish("b")
            await asyncio.sleep(0.05)
            assert not second.given, "it does not deliver"
            second.events.work(True)
            await until(lambda: second.codes == ["b"])
            second.events.work(False)
            await until(lambda: not second.events.stats().subscribers[0].here)

    run(work())
    assert first.codes == ["a"]


def test_another_process_hears_of_an_event_without_waiting_for_its_turn(lab: Lab, monkeypatch: Any) -> None:
    monkeypatch.setattr("tenfold.blocks.events.runner.LOOK_S", 3600.0)
    writer, reader = Node(), Node()
    reader.listens()

    async def work() -> None:
        async with lab.running(reader), lab.running(writer, works=False):
            await until(lambda: reader.events.stats().subscribers[0].here)
            for n in range(5):
                await writer.publish(f"c{n}")
                await until(lambda n=n: f"c{n}" in reader.codes)  # type: ignore[misc]
            writer.events.record("link.made", {"code": "recorded"})
            await until(lambda: "recorded" in reader.codes)

    run(work())


def test_a_subscriber_that_fails_does_not_hold_up_others_and_tries_again(lab: Lab) -> None:
    node, failures = Node(), [3]
    node.listens(name="healthy")
    counted: list[str] = []

    @node.events.subscriber("link.made", name="ill")
    async def ill(batch: list[Any]) -> None:
        if failures[0]:
            failures[0] -= 1
            raise OSError("no route to the mail server")
        counted.extend(event.data["code"] for event in batch)

    async def work() -> None:
        async with lab.running(node):
            await node.publish("a")
            await until(lambda: node.codes == ["a"])
            await until(lambda: node.events.stats().subscribers[1].failures)
            stats = node.events.stats().subscribers[1]
            assert "no route" in stats.error
            assert stats.oldest_s > 0
            for _ in range(1_000):
                (state,) = [state for state in await node.events.subscribers() if state.name == "ill"]
                if state.error:
                    break
                await asyncio.sleep(0.005)
            assert "no route" in state.error
            await until(lambda: counted == ["a"])
            await until(lambda: not node.events.stats().subscribers[1].oldest_s)

    run(work())
