"""The load against a small real server that can be made to stall."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.randomness import Randomness, SeededRandomness
from tenfold.prove import load as module
from tenfold.prove.client import Target
from tenfold.prove.history import Operation, Recording, Status
from tenfold.prove.load import Load, Reached
from tenfold.prove.verdict import Verdict
from tenfold.prove.workloads import Answer, Request

OK = b"HTTP/1.1 200 OK\r\ntf-token: t1\r\ntf-node: web-1\r\ncontent-length: 0\r\n\r\n"


class Plain:
    """A workload of plain keyed writes and one final read."""

    name = "plain"
    promises = ("P1",)

    def __init__(self, keyed: bool = False) -> None:
        self.keyed = keyed
        self.count = 0

    def next(self, process: int, randomness: Randomness) -> Request:
        self.count += 1
        return Request("POST", f"/{self.count}", "add", "k", self.count, {}, b"x", self.keyed)

    def observed(self, request: Request, answer: Answer | None, status: Status) -> Any:
        return request.value

    def final(self) -> list[Request]:
        return [Request("GET", "/final", "read_all", "k")]

    def check(self, recording: Recording) -> list[Verdict]:
        return []


class Server:
    """Answers every request; what `before` returns decides how."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.stall = asyncio.Event()
        self.stall.set()
        self.cut: set[bytes] = set()
        self.writers: list[asyncio.StreamWriter] = []

    async def end(self) -> None:
        for writer in self.writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                if b"content-length: 1" in head:
                    await reader.readexactly(1)
                await self.stall.wait()
                path = head.split(b" ", 2)[1]
                if path in self.cut:
                    self.cut.discard(path)
                    writer.close()
                    return
                writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def run(workload: Plain, rate: float, seconds: float, script: Any = None) -> tuple[list[Operation], Reached, Server]:
    async def work() -> tuple[list[Operation], Reached, Server]:
        server = Server()
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        target = Target("127.0.0.1", listening.sockets[0].getsockname()[1], "secret")
        found: list[Operation] = []
        load = Load(target, [workload], found.append, clock=SYSTEM_CLOCK, randomness=SeededRandomness(1))
        side = asyncio.create_task(script(server)) if script else None
        reached = await load.run(rate, seconds)
        assert await load.final_reads() == []
        await load.close()
        if side is not None:
            await side
        listening.close()
        await server.end()
        return found, reached, server

    return asyncio.run(work())


def test_every_request_is_recorded_with_who_answered_and_the_token() -> None:
    found, reached, server = run(Plain(), 200, 0.5)
    writes = [each for each in found if each.function == "add"]
    assert len(writes) == 100 == reached.sent
    assert {each.status for each in found} == {Status.OK}
    assert {each.node for each in found} == {"web-1"}
    assert found[-1].function == "read_all"
    assert any(b"tf-token: t1" in head for head in server.heads), "a client carries what it got"
    assert not any(b"tf-probe" in head for head in server.heads), "the secret goes to the probe only"


def test_a_stall_is_charged_to_all_that_was_due_in_it() -> None:
    async def stall(server: Server) -> None:
        await asyncio.sleep(0.3)
        server.stall.clear()
        await asyncio.sleep(0.5)
        server.stall.set()

    found, _, _ = run(Plain(), 100, 1.2, stall)
    held = [each for each in found if each.latency_us > 100_000]
    assert len(held) >= 30, "requests went on being sent while nothing was answered"
    assert max(each.latency_us for each in held) >= 400_000


def test_a_client_retires_after_an_unknown_outcome() -> None:
    async def cut(server: Server) -> None:
        server.cut = {b"/10", b"/20"}

    found, _, _ = run(Plain(), 100, 0.5, cut)
    unknown = [each for each in found if each.status is Status.UNKNOWN]
    assert len(unknown) == 2
    for each in unknown:
        assert not [later for later in found if later.process == each.process and later.sent_us > each.end_us]


def test_a_keyed_request_is_sent_until_its_outcome_is_known() -> None:
    async def cut(server: Server) -> None:
        server.cut = {b"/10"}

    found, _, server = run(Plain(keyed=True), 100, 0.5, cut)
    assert {each.status for each in found} == {Status.OK}
    assert [each.attempts for each in found if each.value == 10] == [2]
    assert sum(b"POST /10 " in head for head in server.heads) == 2


def test_clients_are_bounded_and_what_found_none_is_counted(monkeypatch) -> None:
    monkeypatch.setattr(module, "CLIENTS_MAX", 3)

    async def stall(server: Server) -> None:
        server.stall.clear()
        await asyncio.sleep(1.5)
        server.stall.set()

    found, reached, _ = run(Plain(), 100, 0.3, stall)
    assert len([each for each in found if each.function == "add"]) == 3
    assert reached.late == 27
