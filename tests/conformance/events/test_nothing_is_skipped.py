"""Numbers are drawn before they are committed: a reader of `number > last` would skip what commits late."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
from events_lab import Lab, Node, run, until

from tenfold.blocks.events.policy import SLOT
from tenfold.core.clock import ManualClock

INSERT = (
    "INSERT INTO tf.tf_event (seq, bucket, topic, at_us, events, data) VALUES "
    "(CASE WHEN pg_current_xact_id() IS NOT NULL THEN nextval('tf.tf_event_seq') END, 0, 'link.made', 1, 1, $1)"
)


async def elsewhere(lab: Lab) -> Any:
    """A connection of another program to the same database."""
    if not lab.kit.capabilities.parallel_writers:
        pytest.skip("there is one writer at a time")
    server = lab.config.server
    assert server is not None
    return await asyncpg.connect(
        host=server.host, port=server.port, database=server.database, user=server.user, password=server.password
    )


def test_an_event_whose_transaction_is_held_open_is_delivered_after_those_with_higher_numbers_committed(
    lab: Lab,
) -> None:
    node = Node()
    node.listens()

    async def work() -> None:
        other = await elsewhere(lab)
        try:
            async with lab.running(node):
                await node.publish("first")
                await until(lambda: node.codes == ["first"])
                held = other.transaction()
                await held.start()
                await other.execute(INSERT, '{"code": "held"}')
                for n in range(3):
                    await node.publish(f"later{n}")
                await asyncio.sleep(0.3)
                assert node.codes == ["first"], "they wait: a lower number may still appear"
                assert node.events.log.waits
                await held.commit()
                await until(lambda: len(node.codes) == 5)
        finally:
            await other.close()

    run(work())
    assert node.codes == ["first", "held", "later0", "later1", "later2"]


def test_a_transaction_that_began_first_and_publishes_last_is_in_order_and_not_skipped(lab: Lab) -> None:
    """Its id is lower, its number higher: neither of both alone would do as a position."""
    node = Node()
    node.listens()

    async def work() -> None:
        early, late = await elsewhere(lab), await elsewhere(lab)
        try:
            async with lab.running(node):
                one, two = early.transaction(), late.transaction()
                await one.start()
                await early.fetchval("SELECT pg_current_xact_id()::text")
                await two.start()
                await late.execute(INSERT, '{"code": "late"}')
                await early.execute(INSERT, '{"code": "early"}')
                await one.commit()
                await asyncio.sleep(0.2)
                assert node.codes == []
                await two.commit()
                await until(lambda: len(node.codes) == 2)
        finally:
            await early.close()
            await late.close()

    run(work())
    assert node.codes == ["late", "early"], "in the order of their numbers"


def test_many_transactions_that_end_in_any_order_lose_nothing(lab: Lab) -> None:
    node = Node()
    node.listens(batch=20)

    async def work() -> None:
        others = [await elsewhere(lab) for _ in range(4)]

        async def publish(who: int, connection: Any) -> None:
            for n in range(40):
                async with connection.transaction():
                    await connection.execute(INSERT, f'{{"code": "{who}-{n}"}}')
                    await asyncio.sleep((who * 7 + n * 3) % 5 / 1000)

        try:
            async with lab.running(node):
                await asyncio.gather(*[publish(who, connection) for who, connection in enumerate(others)])
                await until(lambda: len(node.codes) >= 160)
        finally:
            for connection in others:
                await connection.close()

    run(work())
    assert sorted(node.codes) == sorted(f"{who}-{n}" for who in range(4) for n in range(40))
    assert node.numbers == sorted(node.numbers)


def test_old_events_are_pruned_once_all_have_passed_and_the_newest_stays(lab: Lab) -> None:
    clock = ManualClock()
    node, behind = Node(clock), Node(ManualClock())
    node.listens()
    behind.listens(name="behind", start="beginning")

    async def work() -> None:
        async with lab.running(behind, works=False), lab.running(node):
            for n in range(10):
                await node.publish(f"c{n}")
            await until(lambda: node.events.stats().subscribers[0].delivered == 10)
            assert await node.events.prune() == 0, "they are not old yet"
            clock.advance(25 * 3600)
            assert await node.events.prune() == 0, "another subscriber has not had them"
            behind.events.work(True)
            await until(lambda: behind.events.stats().subscribers[0].delivered == 10)
            await node.publish("new")
            await until(lambda: node.events.stats().subscribers[0].delivered == 11)
            await until(lambda: behind.events.stats().subscribers[0].delivered == 11)
            assert await node.events.prune() == 10

    run(work())
    assert lab.number(f"SELECT count(*) FROM {lab.log}") == 1
    assert lab.number(f"SELECT seq FROM {lab.log}") == 11


def test_numbers_go_on_after_everything_old_was_pruned(lab: Lab) -> None:
    clock = ManualClock()
    node = Node(clock)
    node.listens()

    async def work() -> None:
        async with lab.running(node):
            for n in range(5):
                await node.publish(f"c{n}")
            await until(lambda: node.events.stats().subscribers[0].delivered == 5)
            clock.advance(48 * 3600)
            assert await node.events.prune() == 4
            await node.publish("after")
            await until(lambda: "after" in node.codes)

    run(work())
    assert node.numbers == [SLOT * row for row in range(1, 7)]


def test_a_subscriber_that_nobody_uses_is_listed_and_holds_nothing_back_after_a_week(lab: Lab) -> None:
    gone, clock = Node(ManualClock()), ManualClock()
    gone.listens(name="gone")
    node = Node(clock)
    node.listens()

    async def work() -> None:
        async with lab.running(gone, works=False):
            pass
        clock.advance(2 * 3600)
        async with lab.running(node):
            for n in range(5):
                await node.publish(f"c{n}")
            await until(lambda: node.events.stats().subscribers[0].delivered == 5)
            states = {state.name: state for state in await node.events.subscribers()}
            assert states["gone"].unused
            assert not states["listener"].unused
            clock.advance(6 * 24 * 3600)
            await node.events.cursors.register("listener", ("link.made",), "now")
            assert await node.events.prune() == 0
            clock.advance(24 * 3600)
            await node.events.cursors.register("listener", ("link.made",), "now")
            assert await node.events.prune() == 4

    run(work())


def test_a_log_full_of_other_topics_is_gone_through_in_reads_of_bounded_size(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenfold.blocks.events.log.WINDOW", 10)
    writer, node = Node(), Node()
    node.listens(start="beginning")

    async def work() -> None:
        async with lab.running(writer):
            for n in range(60):
                await writer.publish(f"c{n}", "other.topic")
            await writer.publish("found")
        async with lab.running(node):
            await until(lambda: node.codes == ["found"])

    run(work())
