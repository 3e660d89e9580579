"""From single requests to a trial; and a load that goes on beneath something."""

from __future__ import annotations

import asyncio

from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.randomness import SeededRandomness
from tenfold.prove.client import Target
from tenfold.prove.history import Operation, Status
from tenfold.prove.workloads.base import Answer
from tenfold.tour.loading import Loading, trial_of
from tenfold.tour.traffic import FIRST, NOTES, SHORTENER, Traffic


def operation(due_ms: float, sent_ms: float, end_ms: float, status: Status = Status.OK) -> Operation:
    due, sent, end = (round(each * 1000) for each in (due_ms, sent_ms, end_ms))
    return Operation(1, "read", "", None, due, sent, end, status)


def test_a_request_is_timed_from_when_it_was_due() -> None:
    seen = [operation(0, 1, 10) for _ in range(99)] + [operation(0, 30, 400)]
    trial = trial_of(100, 1.0, seen, 0)
    assert (trial.sent, trial.ok, trial.p50_ms, trial.p99_ms, trial.longest_ms) == (100, 100, 10.0, 10.0, 400.0)
    assert trial.lag_ms == 1.0


def test_what_failed_and_what_was_never_sent_is_not_ok() -> None:
    seen = [operation(0, 0, 5), operation(0, 0, 5, Status.FAIL), operation(0, 0, 5, Status.UNKNOWN)]
    trial = trial_of(100, 1.0, seen, late=7)
    assert (trial.sent, trial.ok) == (10, 1)


def test_a_trial_without_any_request_is_not_carried() -> None:
    assert not trial_of(100, 1.0, [], 0).carried


def test_users_write_first_and_then_read_ten_times_as_much() -> None:
    for kind, name in ((SHORTENER, "code"), (NOTES, "id")):
        traffic, chosen = Traffic(kind, "run"), SeededRandomness(3)
        for number in range(FIRST):
            request = traffic.next(1, chosen)
            assert (request.method, traffic.begun) == ("POST", False)
            answer = Answer(201, {}, f'{{"{name}": "made{number}"}}'.encode())
            traffic.observed(request, answer, Status.OK)
        assert traffic.begun
        later = [traffic.next(1, chosen) for _ in range(2000)]
        assert 140 <= sum(request.method == "POST" for request in later) <= 260
        paths = {request.path for request in later if request.method == "GET"}
        assert all(path.startswith(f"{kind.path}made") for path in paths)
        assert len(paths) > 100
        assert len({request.body for request in later if request.body}) > 140, "every write is another one"


def test_the_load_beneath_something_ends_with_it_and_is_counted() -> None:
    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            while (await reader.readline()).strip():
                pass
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answered, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        traffic = Traffic(NOTES, "run")
        traffic._made = ["x"] * FIRST
        loading = Loading(lambda: Target("127.0.0.1", port), traffic, SYSTEM_CLOCK, SeededRandomness(1))

        async def climb() -> str:
            await asyncio.sleep(0.5)
            return "there"

        result, trial = await loading.beneath(200, climb())
        assert result == "there"
        assert 0.4 < trial.seconds < 5
        assert 20 <= trial.sent <= 200 * trial.seconds + 2
        assert trial.ok >= trial.sent * 0.8  # writes have a body, which this server does not read
        server.close()

    asyncio.run(run())
