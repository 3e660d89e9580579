"""The clients of connections against a small real server: nothing is sent twice, everything is recorded, and each fault
of the server is caught by the checker that is for it."""

from __future__ import annotations

import asyncio
import collections
import itertools
from dataclasses import replace

import msgspec
import pytest
from tinyprobe import AGO_US, TinyProbe

from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.randomness import SeededRandomness
from tenfold.prove.checkers import clients
from tenfold.prove.client import Target
from tenfold.prove.connections import COUNTING, KINDS, NAMES, STREAMS, Ground, Visitors, websocket
from tenfold.prove.connections import http as module
from tenfold.prove.history import Operation, Recording, Status
from tenfold.prove.judging import judge_requests
from tenfold.prove.verdict import Outcome, Verdict


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rests and slow bodies a tenth as long as in a proof; waits stay as they are asked for."""

    def quick(kind: module.Kind) -> module.Kind:
        return replace(kind, rest_s=(kind.rest_s[0] / 10, kind.rest_s[1] / 10), slow_s=kind.slow_s / 20)

    monkeypatch.setattr(module, "KINDS", tuple(quick(kind) for kind in KINDS))
    monkeypatch.setattr(module, "WAIT_S", 0.01)
    monkeypatch.setattr(module, "LATE_S", 0.01)
    monkeypatch.setattr(websocket, "REST_S", 0.01)


async def until_seen(found: list[Operation], least: int = 40) -> None:
    """Until every kind of client has recorded so many operations; fails when that takes too long."""
    async with asyncio.timeout(60):
        while min(seen(found)[name] for name in NAMES) < least:
            await asyncio.sleep(0.01)


def seen(found: list[Operation]) -> collections.Counter[str]:
    """How many operations each kind has recorded."""
    return collections.Counter(each.workload for each in found)


def visited(fault: str = "") -> tuple[list[Operation], TinyProbe]:
    """What the clients saw of a server with that fault."""

    async def work() -> tuple[list[Operation], TinyProbe]:
        found: list[Operation] = []
        async with TinyProbe(fault) as server:
            target = Target("127.0.0.1", server.port, "secret")
            now = lambda: round(SYSTEM_CLOCK.monotonic() * 1e6)  # noqa: E731
            ground = Ground(target, "run", found.append, now, SeededRandomness(1), itertools.count(1))
            visitors = Visitors(ground)
            visitors.start()
            await until_seen(found)
            assert await visitors.stop() == []
            server.fault = server.fault if fault in ("twice", "lose") else ""
            assert await visitors.final_reads() == []
        return found, server

    return asyncio.run(work())


def judged(operations: list[Operation]) -> list[Verdict]:
    recording = Recording(tuple(sorted(operations, key=lambda each: each.start_us)), ())
    return judge_requests(recording, [])


def broken(operations: list[Operation]) -> set[tuple[str, str]]:
    """(workload, anomaly) of all that is not as it should be."""
    verdicts = judged(operations)
    return {(each.workload, name) for each in verdicts for name in each.anomalies}


def test_a_good_server_is_seen_by_every_kind_and_nothing_is_amiss() -> None:
    operations, server = visited()
    assert broken(operations) == set()
    assert {each.verdict for each in judged(operations)} == {Outcome.HOLDS}
    assert set(seen(operations)) == set(NAMES)
    http = [each for each in operations if each.workload not in STREAMS]
    assert len(http) == sum("events" not in head and "socket" not in head for head in server.heads), (
        "each was sent once"
    )
    assert {each.status for each in operations} == {Status.OK}


def test_connections_are_used_as_each_kind_says() -> None:
    operations, _ = visited()
    per_request = {
        name: len({each.opened_us for each in operations if each.workload == name})
        / len([each for each in operations if each.workload == name])
        for name in ("fresh", "keep-alive")
    }
    assert per_request["fresh"] == 1
    assert per_request["keep-alive"] < 0.3
    for name in COUNTING:
        ours = [each for each in operations if each.workload == name and each.function == "increment"]
        assert {each.keyed for each in ours} == {True, False}
        assert min(each.own_us for each in ours) > 0
    assert all(each.safe for each in operations if each.workload in ("fresh", "waiting", *STREAMS))


def test_streams_that_end_properly_go_on_where_they_were() -> None:
    operations, _ = visited("leave")
    assert broken(operations) == set()
    ends = [each for each in operations if each.function == "end" and each.workload in STREAMS]
    assert {(each.workload, each.value) for each in ends} == {("websocket", 1012), ("events", 1)}
    for name in STREAMS:
        streams = collections.Counter(
            each.key for each in operations if (each.workload, each.function) == (name, "end")
        )
        assert max(streams.values()) >= 2, "one stream over several connections"


@pytest.mark.parametrize(
    ("fault", "caught"),
    [
        ("twice", {("late-write", "counted-twice"), ("slow-write", "counted-twice")}),
        ("lose", {("late-write", "not-counted"), ("slow-write", "not-counted")}),
        ("drop", {("requests of fresh", "no-answer"), ("requests of waiting", "no-answer")}),
        ("cut", {("requests of keep-alive", "no-answer")}),
        ("deaf", {("requests of fresh", "server-error"), ("requests of idle", "server-error")}),
        ("reset", {("websocket", "cut"), ("events", "cut")}),
        ("bye", {("websocket", "wrong-close")}),
        ("garble", {("websocket", "wrong-echo")}),
        ("skip", {("events", "gap")}),
        ("again", {("events", "repeat")}),
    ],
)
def test_each_fault_of_a_server_is_caught(fault: str, caught: set[tuple[str, str]]) -> None:
    operations, _ = visited(fault)
    found = broken(operations)
    assert caught <= found
    if fault in ("twice", "lose", "bye", "garble", "skip", "again"):
        assert found == caught, "and nothing else is accused"


def test_a_client_that_does_not_know_an_outcome_retires_with_its_counter() -> None:
    operations, _ = visited("drop")
    unknown = [each for each in operations if each.status is Status.UNKNOWN]
    assert unknown
    assert all(not each.begun for each in unknown)
    for each in unknown:
        later = [other for other in operations if other.process == each.process and other.sent_us >= each.end_us]
        assert later == []
        if each.workload in COUNTING:
            increments = [o for o in operations if o.key == each.key and o.function == "increment"]
            assert max(increments, key=lambda o: o.end_us) == each, "its counter is not increased any more"
    assert not any(name == "counted-twice" for _, name in broken(operations))


def test_an_answer_that_was_cut_had_begun() -> None:
    operations, _ = visited("cut")
    unknown = [each for each in operations if each.status is Status.UNKNOWN]
    assert unknown
    assert all(each.begun for each in unknown)
    assert msgspec.json.decode(msgspec.json.encode(unknown[0]), type=Operation) == unknown[0]


def test_of_a_connection_that_was_cut_counts_when_the_server_last_spoke_and_not_when_it_was_heard() -> None:
    operations, _ = visited("reset")
    assert clients.check(operations).anomalies == {}, "a client does one thing after the other"
    cut = [each for each in operations if each.function == "end" and each.status is Status.UNKNOWN]
    assert {each.workload for each in cut} == {"events", "websocket"}
    for each in cut:
        before = [one for one in operations if one.key == each.key and one.end_us <= each.end_us and one is not each]
        heard = max(before, key=lambda one: one.end_us)
        assert heard.status is Status.OK
        assert each.since_us < heard.end_us <= each.sent_us
        if each.workload == "websocket":
            assert each.since_us == heard.sent_us
        else:
            assert each.opened_us <= each.since_us <= max(heard.end_us - AGO_US, each.opened_us)


def test_where_nothing_listens_everything_is_refused_and_recorded() -> None:
    async def work() -> list[Operation]:
        async with TinyProbe() as server:
            port = server.port
        found: list[Operation] = []
        now = lambda: round(SYSTEM_CLOCK.monotonic() * 1e6)  # noqa: E731
        target = Target("127.0.0.1", port, "secret")
        visitors = Visitors(Ground(target, "run", found.append, now, SeededRandomness(1), itertools.count(1)))
        visitors.start()
        await until_seen(found, 8)
        assert await visitors.stop() == []
        return found

    operations = asyncio.run(work())
    assert {each.workload for each in operations} == set(NAMES)
    assert {each.status for each in operations} == {Status.FAIL}
    assert {name for _, name in broken(operations)} == {"refused", "not-connected"}
