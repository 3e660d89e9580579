"""The client against a real socket that answers, stalls, cuts off and refuses."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

import pytest

from tenfold.prove import client as module
from tenfold.prove.client import Connection, Heard, status_of
from tenfold.prove.history import Status
from tenfold.prove.workloads import Answer, Request

GET = Request("GET", "/x", "read", "k")
POST = Request("POST", "/x", "add", "k", value=1, headers={"content-type": "application/json"}, body=b'{"value": 1}')


@pytest.mark.parametrize(
    ("answer", "sent", "status"),
    [
        (Answer(200), True, Status.OK),
        (Answer(201), True, Status.OK),
        (Answer(302), True, Status.OK),
        (Answer(400), True, Status.FAIL),
        (Answer(404), True, Status.FAIL),
        (Answer(409), True, Status.FAIL),
        (Answer(422), True, Status.FAIL),
        (Answer(429), True, Status.FAIL),
        (Answer(500), True, Status.UNKNOWN),
        (Answer(502), True, Status.UNKNOWN),
        (Answer(504), True, Status.UNKNOWN),
        (Answer(503), True, Status.UNKNOWN),
        (Answer(503, body=b"<html>"), True, Status.UNKNOWN),
        (Answer(503, body=b'{"code": "TF-CLOSING"}'), True, Status.FAIL),
        (Answer(507, body=b'{"code": "TF-DISK-FULL"}'), True, Status.FAIL),
        (Answer(599), True, Status.UNKNOWN),
        (None, True, Status.UNKNOWN),
        (None, False, Status.FAIL),
    ],
)
def test_statuses(answer: Answer | None, sent: bool, status: Status) -> None:
    assert status_of(Heard(answer, sent)) is status


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def against(serve: Serve, *requests: Request, slow_s: float = 0.0) -> list[Heard]:
    async def work() -> list[Heard]:
        writers = []

        async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await serve(reader, writer)

        server = await asyncio.start_server(kept, "127.0.0.1", 0)
        connection = Connection("127.0.0.1", server.sockets[0].getsockname()[1])
        heard = [await connection.exchange(request, {"x-more": "1"}, slow_s=slow_s) for request in requests]
        await connection.aclose()
        server.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return heard

    return asyncio.run(work())


def test_answers_are_read_whole_and_the_connection_is_used_again() -> None:
    connections = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        while head := await reader.readuntil(b"\r\n\r\n"):
            assert b"x-more: 1" in head
            writer.write(b"HTTP/1.1 200 OK\r\nTF-Token: abc\r\ncontent-length: 5\r\n\r\nhe")
            await writer.drain()
            writer.write(b"llo")

    one, two = against(serve, GET, GET)
    assert one == two == Heard(Answer(200, {"tf-token": "abc", "content-length": "5"}, b"hello"), True)
    assert len(connections) == 1


def test_a_connection_that_the_server_closes_is_opened_anew() -> None:
    connections = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    assert [heard.answer and heard.answer.status for heard in against(serve, GET, GET)] == [200, 200]
    assert len(connections) == 2


def test_an_answer_that_is_cut_in_the_middle_is_none() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nhe")
        await writer.drain()
        writer.close()

    assert against(serve, GET) == [Heard(None, True, begun=True)]


def test_a_connection_that_ends_before_the_first_byte_of_an_answer_has_not_begun_one() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    assert against(serve, GET) == [Heard(None, True, begun=False)]


def test_what_is_not_http_is_no_answer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-hello\r\n\r\n")
        await writer.drain()

    assert against(serve, GET) == [Heard(None, True, begun=True)]


def test_silence_ends_after_the_limit_with_an_unknown_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.05)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    assert against(serve, POST) == [Heard(None, True)]


def test_a_refused_connection_is_surely_not_applied() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

        async def work() -> Heard:
            return await Connection("127.0.0.1", port).exchange(GET, {})

        heard = asyncio.run(work())
    assert heard == Heard(None, False)
    assert status_of(heard) is Status.FAIL


def test_a_slow_body_arrives_whole() -> None:
    bodies = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 12" in head
        bodies.append(await reader.readexactly(12))
        writer.write(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n")

    assert against(serve, POST, slow_s=0.05)[0].answer == Answer(201, {"content-length": "0"}, b"")
    assert bodies == [POST.body]
