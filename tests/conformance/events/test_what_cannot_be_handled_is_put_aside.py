"""A poison event: batches are halved down to it, it is parked, the rest goes on; a replay brings it back."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from events_lab import Lab, Node, run, until

from tenfold.blocks.events import cursors, runner
from tenfold.blocks.events.policy import STREAK
from tenfold.core.errors import ContractError, NotFound, Unavailable
from tenfold.core.retry import Backoff


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries that a test can wait for."""
    monkeypatch.setattr(runner, "AGAIN", Backoff(first_s=0.001, limit_s=0.002))


class Poisoned:
    """A subscriber whose handler refuses some codes; with `alone`, each event in a transaction of its own."""

    def __init__(self, node: Node, *, alone: bool, **options: Any) -> None:
        self.node, self.alone, self.refuses = node, alone, {"poison"}
        self.sizes: list[int] = []
        node.events.subscriber("link.made", name="ill", start="beginning", **options)(self.handle)

    async def handle(self, batch: list[Any]) -> None:
        codes = [event.data["code"] for event in batch]
        self.sizes.append(len(codes))
        if not self.alone and self.refuses & set(codes):
            raise ValueError("poison")
        for code in codes:
            if code in self.refuses:
                raise ValueError("poison")
            await self.node.count(code)


async def published(lab: Lab, codes: list[str]) -> None:
    writer = Node()
    async with lab.running(writer):
        for code in codes:
            await writer.publish(code)


def test_an_error_that_no_text_column_takes_is_written_down_all_the_same(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "tenfold")  # a worker of the tests could not pass such a line on
    node = Node()

    @node.events.subscriber("link.made", name="ill", park_after=1)
    async def ill(batch: list[Any]) -> None:
        raise OSError("no such file: \udcff\0")

    async def work() -> None:
        async with lab.running(node):
            await node.publish("a")
            for _ in range(2_000):
                if parked := await node.events.parked("ill"):
                    break
                await asyncio.sleep(0.005)
            assert [each.error for each in parked] == ["OSError: no such file: ? "]

    run(work())


def test_the_batch_is_halved_and_only_the_event_is_parked(lab: Lab) -> None:
    node = Node()
    ill = Poisoned(node, alone=False, batch=16, park_after=3)
    codes = [f"c{n}" for n in range(11)] + ["poison"] + [f"c{n}" for n in range(11, 30)]

    async def work() -> None:
        await published(lab, codes)
        async with lab.running(node):
            await until(lambda: node.events.stats().subscribers[0].delivered == 30)
            counts = [await node.counted(code) for code in codes if code != "poison"]
            assert counts == [1] * 30
            (parked,) = await node.events.parked("ill")
            assert parked.event.data == {"code": "poison"}
            assert parked.error == "ValueError: poison"
            assert (await node.events.subscribers())[0].parked == 1

    run(work())
    assert ill.sizes[:4] == [16, 16, 16, 8], "tried three times, then halved"
    assert ill.sizes.count(1) >= 3
    assert ill.sizes[-1] > 1, "and later batches are whole again"


def test_a_batch_that_has_taken_effect_in_part_is_parked_whole_and_nothing_is_done_twice(lab: Lab) -> None:
    node = Node()
    ill = Poisoned(node, alone=True, batch=4, park_after=2)

    async def work() -> None:
        await published(lab, ["a", "b", "poison", "c", "d", "e"])
        async with lab.running(node):
            await until(lambda: node.events.stats().subscribers[0].delivered == 2)
            assert [parked.event.data["code"] for parked in await node.events.parked()] == ["a", "b", "poison", "c"]
            assert [await node.counted(code) for code in "abcde"] == [1, 1, 0, 1, 1]
            ill.refuses.clear()
            assert await node.events.replay("ill", (await node.events.parked())[2].event.seq) == 4
            await until_gone(node)
            codes = ["a", "b", "poison", "c", "d", "e"]
            assert [await node.counted(code) for code in codes] == [1] * 6

    run(work())


async def until_gone(node: Node) -> None:
    for _ in range(2_000):
        if not await node.events.parked():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it stays parked")


def test_a_replay_that_fails_stays_parked_with_its_new_error(lab: Lab) -> None:
    node = Node()
    ill = Poisoned(node, alone=False, batch=1, park_after=1)

    async def work() -> None:
        await published(lab, ["poison", "a"])
        async with lab.running(node):
            await until(lambda: node.events.stats().subscribers[0].delivered == 1)
            tries = len(ill.sizes)
            assert await node.events.replay("ill") == 1
            await until(lambda: len(ill.sizes) > tries)
            for _ in range(2_000):
                (parked,) = await node.events.parked(after=0)
                if not parked.asked:
                    break
                await asyncio.sleep(0.005)
            assert not parked.asked
            with pytest.raises(NotFound, match="has not parked"):
                await node.events.replay("ill", 10**6)
            with pytest.raises(NotFound, match="has not parked"):
                await node.events.replay("nobody")

    run(work())


def test_what_is_away_is_waited_for_and_nothing_is_parked(lab: Lab) -> None:
    node, tries = Node(), []

    @node.events.subscriber("link.made", name="ill", start="beginning", park_after=1)
    async def away(batch: list[Any]) -> None:
        tries.append(batch)
        if len(tries) < 20:
            raise Unavailable("The mail server is away.")

    async def work() -> None:
        await published(lab, ["a"])
        async with lab.running(node):
            await until(lambda: node.events.stats().subscribers[0].delivered == 1)
            assert not await node.events.parked()

    run(work())


def test_when_everything_fails_it_is_not_the_events_and_parking_ends(lab: Lab) -> None:
    node = Node()
    ill = Poisoned(node, alone=False, batch=1, park_after=1)
    codes = [f"c{n}" for n in range(STREAK + 3)]
    ill.refuses = set(codes)

    async def work() -> None:
        await published(lab, codes)
        async with lab.running(node):
            await until(lambda: len(ill.sizes) > 3 * STREAK)
            assert len(await node.events.parked()) == STREAK
            ill.refuses = set()
            await until(lambda: node.events.stats().subscribers[0].delivered == 3)
            await node.events.replay("ill")
            await until_gone(node)
            assert [await node.counted(code) for code in codes] == [1] * len(codes)

    run(work())


def test_none_tries_for_ever(lab: Lab) -> None:
    node = Node()
    ill = Poisoned(node, alone=False, batch=4, park_after=None)

    async def work() -> None:
        await published(lab, ["poison", "a"])
        async with lab.running(node):
            await until(lambda: len(ill.sizes) > 30)
            assert not await node.events.parked()
            ill.refuses.clear()
            await until(lambda: node.events.stats().subscribers[0].delivered == 2)

    run(work())


def test_an_event_that_ends_its_process_each_time_is_parked(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process claims it, dies in the handler, and the next one finds the lease over."""
    monkeypatch.setattr("tenfold.blocks.events.policy.LEASE_S", 0.6)
    for module in ("tenfold.blocks.events", "tenfold.blocks.events.runner"):
        monkeypatch.setattr(f"{module}.BEAT_S", 0.2)

    async def work() -> None:
        await published(lab, ["deadly", "a"])
        for _ in range(3):
            victim = Node()
            await dies_of_it(lab, victim)
        last = Node()
        last.listens(name="ill", batch=1, park_after=3)
        async with lab.running(last):
            await until(lambda: last.codes == ["a"])
            (parked,) = await last.events.parked()
            assert parked.event.data == {"code": "deadly"}
            assert "ended" in parked.error

    run(work())


async def dies_of_it(lab: Lab, victim: Node) -> None:
    """A process that takes the cursor from one that is gone, and is killed in the handler."""
    begun: list[object] = []

    async def deadly(batch: list[Any]) -> None:
        begun.append(batch)
        await asyncio.Event().wait()

    victim.events.subscriber("link.made", name="ill", start="beginning", batch=1, park_after=3)(deadly)
    async with lab.running(victim):
        await until(lambda: begun)
        victim.die()
    # What its lease would take to run out.
    lab.kit.outside(f"UPDATE {lab.log.replace('tf_event', 'tf_cursor')} SET epoch = epoch + 1")
    release = Node()
    await release.database.start(lab.config, print)
    await release.database.stop()


def test_a_handler_that_hangs_is_a_failure_at_its_timeout_and_the_rest_goes_on(lab: Lab) -> None:
    node = Node()
    given: list[str] = []

    @node.events.subscriber("link.made", name="ill", start="beginning", batch=1, park_after=2, timeout="50ms")
    async def hangs_once(batch: list[Any]) -> None:
        given.append(batch[0].data["code"])
        if given[-1] == "poison":
            await asyncio.Event().wait()

    async def work() -> None:
        await published(lab, ["a", "poison", "b"])
        async with lab.running(node):
            await until(lambda: node.events.stats().subscribers[0].delivered == 2)
            (parked,) = await node.events.parked("ill")
            assert parked.error == "TimeoutError: it took longer than 50ms"
            assert node.events.stats().subscribers[0].failures == 2

    run(work())
    assert given == ["a", "poison", "poison", "b"]


@pytest.mark.parametrize("timeout", [0, "0s"])
def test_a_timeout_of_nothing_is_refused(timeout: Any) -> None:
    with pytest.raises(ContractError, match="TF-EVENTS-SUBSCRIBER"):
        Node().listens(timeout=timeout)


def test_no_page_of_parked_events_ends_between_the_subscribers_of_one(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node()
    for name in ("ann", "bob", "cid"):
        Refusing(node, name)

    async def work() -> None:
        await published(lab, ["a", "b", "c"])
        async with lab.running(node):
            await until(lambda: all(each.failures for each in node.events.stats().subscribers))
            for _ in range(2_000):
                if len(found := await node.events.parked()) == 9:
                    break
                await asyncio.sleep(0.005)
            assert len(found) == 9
            monkeypatch.setattr(cursors, "PAGE", 4)
            monkeypatch.setattr(cursors, "_ANY_PARKED", cursors._ANY_PARKED.limit(4))
            seen, after = [], 0
            while page := await node.events.parked(after=after):
                seen += [(each.event.seq, each.subscriber) for each in page]
                after = page[-1].event.seq
            assert seen == [(each.event.seq, each.subscriber) for each in found]

    run(work())


class Refusing:
    """A subscriber that parks each event at once."""

    def __init__(self, node: Node, name: str) -> None:
        node.events.subscriber("link.made", name=name, start="beginning", batch=1, park_after=1)(self.handle)

    async def handle(self, batch: list[Any]) -> None:
        raise ValueError("no")
