"""Publishing and recording: nothing is lost, nothing is told that did not happen, everyone has a position."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from events_lab import Lab, Node, run, until

from tenfold.blocks.database import Transaction
from tenfold.blocks.events import recorder
from tenfold.core.clock import ManualClock
from tenfold.core.errors import ContractError, InvalidRequest, Unavailable


def test_every_subscriber_is_given_every_event_of_its_topics_in_order(lab: Lab) -> None:
    node, other = Node(), []
    node.listens("link.made", "link.gone", batch=7)

    @node.events.subscriber("link.gone", name="other")
    async def on_gone(batch: list[object]) -> None:
        other.extend(batch)

    async def work() -> None:
        async with lab.running(node):
            for n in range(50):
                await node.publish(f"c{n}", "link.made", "link.other", "link.gone")
            await until(lambda: len(node.codes) == 100 and len(other) == 50)

    run(work())
    assert node.codes == [f"c{n}" for n in range(50) for _ in range(2)]
    assert node.numbers == sorted(set(node.numbers))
    assert max(map(len, node.given)) <= 7


def test_what_was_rolled_back_is_never_told(lab: Lab) -> None:
    node = Node()
    node.listens()

    async def work() -> None:
        async with lab.running(node):
            with pytest.raises(ValueError, match="ghost"):
                await node.publish("ghost", fail=True)
            await node.publish("real")
            await until(lambda: node.codes)

    run(work())
    assert node.codes == ["real"]


def test_concurrent_publishers_lose_nothing(lab: Lab) -> None:
    node = Node()
    node.listens(batch=50)

    async def publish(writer: int) -> None:
        for n in range(40):
            await node.publish(f"w{writer}", f"topic.n{n % 3}", "link.made")

    async def work() -> None:
        async with lab.running(node):
            await asyncio.gather(*[publish(writer) for writer in range(10)])
            await until(lambda: len(node.codes) >= 400)

    run(work())
    assert sorted(node.codes) == sorted(f"w{writer}" for writer in range(10) for _ in range(40))
    assert node.numbers == sorted(node.numbers), "and their order is that of their numbers"


def test_a_new_name_begins_now_or_at_the_beginning(lab: Lab) -> None:
    before, after = Node(), Node()
    after.listens(name="new")
    old: list[str] = []

    @after.events.subscriber("link.made", name="old", start="beginning")
    async def from_the_beginning(batch: list[object]) -> None:
        old.extend(event.data["code"] for event in batch)  # type: ignore[attr-defined]

    async def work() -> None:
        async with lab.running(before):
            await before.publish("early")
        async with lab.running(after):
            await after.publish("late")
            await until(lambda: after.codes and len(old) == 2)

    run(work())
    assert after.codes == ["late"]
    assert old == ["early", "late"]


def test_a_subscriber_goes_on_where_it_was(lab: Lab) -> None:
    first, second = Node(), Node()
    first.listens()
    second.listens()

    async def work() -> None:
        async with lab.running(first):
            await first.publish("one")
            await until(lambda: first.codes)
        writer = Node()
        async with lab.running(writer):
            await writer.publish("two")
        async with lab.running(second):
            await until(lambda: second.codes)

    run(work())
    assert (first.codes, second.codes) == (["one"], ["two"])


def test_what_is_recorded_is_written_together_and_soon(lab: Lab) -> None:
    node = Node()
    node.listens(batch=5_000)

    async def work() -> None:
        async with lab.running(node):
            for n in range(2_500):
                node.events.record("link.made", {"code": f"c{n}"})
            assert node.events.stats().buffered == 2_500, "nothing waits for the database"
            await until(lambda: len(node.codes) == 2_500)
            assert node.events.stats().flushes <= 4

    run(work())
    assert node.codes == [f"c{n}" for n in range(2_500)]


def test_what_is_recorded_last_is_written_before_the_end(lab: Lab) -> None:
    node = Node()

    async def work() -> None:
        node.events.record("link.made", {"code": "before the start"})
        async with lab.running(node):
            node.events.record("link.made", {"code": "at the end"})

    run(work())
    assert lab.number(f"SELECT sum(events) FROM {lab.log}") == 2


def test_a_database_that_is_away_costs_the_oldest_and_the_log_says_so_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder, "KEPT_EVENTS", 50)
    node = Node()
    written: list[dict[str, Any]] = []

    async def work() -> None:
        async with lab.running(node):
            real, away = node.events._recorder._write, True

            async def write(rows: list[dict[str, str]]) -> None:
                if away:
                    raise Unavailable("The database is away.")
                written.extend(rows)  # type: ignore[arg-type]
                await real(rows)  # type: ignore[arg-type]

            node.events._recorder._write = write  # type: ignore[assignment]
            for n in range(1_000):
                node.events.record("link.made", n)
            await until(lambda: node.events._recorder._flushing)
            for n in range(1_000, 1_100):
                node.events.record("link.made", n)
            assert node.events.stats().dropped == 1_050
            away = False
            await until(lambda: not node.events.stats().buffered)

    with caplog.at_level(logging.ERROR, "tenfold.events"):
        run(work())
    (row,) = written
    assert [data for _, data in json.loads(row["data"])] == list(range(1_050, 1_100))
    assert [record.getMessage() for record in caplog.records] == [
        "Recorded events are dropped, the oldest first: the database does not take them, and 50 wait."
    ]


def test_what_cannot_be_an_event_is_refused_with_a_reason(lab: Lab) -> None:
    node = Node()

    @node.database.transaction()
    async def told(tx: Transaction, topic: str, data: object) -> None:
        await node.events.publish(tx, topic, data)

    @node.database.transaction()
    async def recorded(tx: Transaction) -> None:
        node.events.record("link.made", 1)

    async def work() -> None:
        async with lab.running(node):
            for topic in ("", "Link", "link made", "a..b", "link.", "x" * 101, "링크", "a\x00b"):
                with pytest.raises(ContractError, match="is not a topic") as refused:
                    await told(topic, 1)
                assert refused.value.code == "TF-EVENTS-TOPIC"
                with pytest.raises(ContractError, match="is not a topic"):
                    node.events.record(topic, 1)
            deep: list[object] = []
            for _ in range(10_000):
                deep = [deep]
            for data in (object(), {1j: 2}, "\ud800", deep):
                with pytest.raises(ContractError, match="no JSON form") as refused:
                    await told("link.made", data)
                assert refused.value.code == "TF-EVENTS-DATA"
            with pytest.raises(InvalidRequest, match="65,537 bytes") as large:
                await told("link.made", "x" * 65_535)
            assert (large.value.code, large.value.status) == ("TF-EVENTS-SIZE", 413)
            await told("link.made", "x" * 65_534)
            with pytest.raises(ContractError, match="may run again") as inside:
                await recorded()
            assert inside.value.code == "TF-EVENTS-TX"

    run(work())
    assert lab.number(f"SELECT count(*) FROM {lab.log}") == 1


def test_values_come_out_as_they_went_in(lab: Lab) -> None:
    node = Node()
    node.listens()
    data = {"code": "x", "text": "a\x00b 링크 \u2028 'quoted'", "numbers": [0, -1, 2**63, 1.5], "none": None}

    async def work() -> None:
        async with lab.running(node):
            node.events.record("link.made", data)
            await until(lambda: node.given)

    run(work())
    assert node.given[0][0].data == data


def test_a_clock_that_steps_back_changes_nothing_but_the_times(lab: Lab) -> None:
    clock = ManualClock()
    node = Node(clock)
    node.listens()

    async def work() -> None:
        async with lab.running(node):
            await node.publish("one")
            clock.step_wall(-3600)
            await node.publish("two")
            await until(lambda: len(node.codes) == 2)

    run(work())
    assert node.codes == ["one", "two"]
    first, second = (event for batch in node.given for event in batch)
    assert second.at < first.at
    assert second.seq > first.seq


def test_subscribers_that_cannot_work_are_refused_when_they_are_declared() -> None:
    events = Node().events

    async def handler(batch: list[object]) -> None: ...

    def plain(batch: list[object]) -> None: ...

    events.subscriber("link.made", name="taken")(handler)
    for topics, options, function in (
        ((), {}, handler),
        (("link.made",), {"name": "Nope"}, handler),
        (("link.made",), {"name": "taken"}, handler),
        (("link.made",), {"batch": 0}, handler),
        (("link.made",), {"batch": 5_001}, handler),
        (("link.made",), {"start": "never"}, handler),
        (("link.made",), {"park_after": 0}, handler),
        (("link.made",), {}, plain),
    ):
        with pytest.raises(ContractError) as refused:
            events.subscriber(*topics, **options)(function)  # type: ignore[arg-type]
        assert refused.value.code == "TF-EVENTS-SUBSCRIBER"
