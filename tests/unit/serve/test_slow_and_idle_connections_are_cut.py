"""The protocol on a real socket pair, with the sweep's time given to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from serving import FakeRuntime
from uvicorn.server import ServerState

from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.hot import Response
from tenfold.serve.protocol import BODY_STALL_S, HEAD_LIMIT_S, WebProtocol

KEEP_ALIVE_S = 60


async def reading(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/early":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
        return
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
    if scope["path"] == "/slow":
        await scope["state"]["gate"].wait()
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Connection:
    """A client's end, and the protocol at the other one."""

    def __init__(self, client: socket.socket, protocol: WebProtocol) -> None:
        self.client = client
        self.protocol = protocol
        self.loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        """Sends, and waits until the protocol has read it all."""
        await self.loop.sock_sendall(self.client, data)
        async with asyncio.timeout(5):
            while unread(self.protocol):
                await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)

    async def receive(self) -> bytes:
        async with asyncio.timeout(5):
            return await self.loop.sock_recv(self.client, 65536)

    def later(self, seconds: float) -> None:
        """The sweep that comes `seconds` from now."""
        self.protocol.sweep(self.loop.time() + seconds)


def unread(protocol: WebProtocol) -> int:
    from tenfold.serve import protocol as module  # noqa: PLC0415

    return 0 if protocol.transport.is_closing() else module.unread(protocol.transport)


def connected(play: Callable[[Connection], Awaitable[None]]) -> TenfoldASGI:
    """Plays a conversation; returns the app for its counters."""
    app = TenfoldASGI(reading, FakeRuntime(), {"/go/{code}": lambda request, code: Response.text(code)})
    config = uvicorn.Config(
        app, http=WebProtocol, log_config=None, interface="asgi3", proxy_headers=False, timeout_keep_alive=KEEP_ALIVE_S
    )

    async def run() -> None:
        client, server = socket.socketpair()
        client.setblocking(False)
        protocol = WebProtocol(config, ServerState(), {})
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, server)
        await play(Connection(client, protocol))
        transport.close()
        await asyncio.sleep(0)
        client.close()

    asyncio.run(run())
    return app


def test_a_head_that_trickles_is_cut_after_its_limit() -> None:
    async def play(connection: Connection) -> None:
        await connection.send(b"GET / HTTP/1.1\r\n")
        connection.later(HEAD_LIMIT_S - 1)
        await connection.send(b"X-A: 1\r\n")
        connection.later(HEAD_LIMIT_S - 1)
        assert not connection.protocol.transport.is_closing()
        connection.later(HEAD_LIMIT_S + 1)
        assert (await connection.receive()).startswith(b"HTTP/1.1 408 ")
        assert await connection.receive() == b""

    assert b'refused_total{reason="head_too_slow"} 1.0' in connected(play).metrics.exposition()


def test_each_further_byte_of_a_head_buys_no_time() -> None:
    async def play(connection: Connection) -> None:
        await connection.send(b"GET / HTTP/1.1\r\n")
        began = connection.protocol._since
        await connection.send(b"X-A: 1\r\n")
        assert connection.protocol._since == began

    connected(play)


def test_the_time_of_a_head_begins_with_its_first_byte_not_with_the_connection() -> None:
    async def play(connection: Connection) -> None:
        await connection.send(b"GET /go/a HTTP/1.1\r\n\r\n")
        assert b"200 OK" in await connection.receive()
        connection.protocol._since -= 1000
        await connection.send(b"GET /go/b HT")
        connection.later(HEAD_LIMIT_S - 1)
        await connection.send(b"TP/1.1\r\n\r\n")
        assert b"200 OK" in await connection.receive()

    connected(play)


def test_a_body_that_stops_coming_is_cut_after_its_limit() -> None:
    async def play(connection: Connection) -> None:
        await connection.send(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n12")
        connection.later(BODY_STALL_S - 1)
        connection.protocol._since -= BODY_STALL_S - 2
        await connection.send(b"345")
        connection.later(BODY_STALL_S - 1)
        assert not connection.protocol.transport.is_closing(), "as long as it moves it may take its time"
        connection.later(BODY_STALL_S + 1)
        assert (await connection.receive()).startswith(b"HTTP/1.1 408 ")

    app = connected(play)
    assert b'refused_total{reason="body_stalled"} 1.0' in app.metrics.exposition()


def test_a_handler_that_takes_long_is_not_the_clients_fault() -> None:
    async def play(connection: Connection) -> None:
        gate = connection.protocol.app_state["gate"] = asyncio.Event()
        await connection.send(b"POST /slow HTTP/1.1\r\nContent-Length: 2\r\n\r\n12")
        connection.later(3600)
        gate.set()
        assert b"204 No Content" in await connection.receive()

    connected(play)


def test_the_rest_of_a_body_that_nobody_waits_for_ends_its_connection() -> None:
    async def play(connection: Connection) -> None:
        await connection.send(b"POST /early HTTP/1.1\r\nContent-Length: 10\r\n\r\n12")
        assert b"200 OK" in await connection.receive()
        connection.later(BODY_STALL_S + 1)
        assert await connection.receive() == b""

    connected(play)


def test_a_connection_that_never_says_anything_is_closed_after_the_keep_alive_time() -> None:
    async def play(connection: Connection) -> None:
        connection.later(KEEP_ALIVE_S - 1)
        assert not connection.protocol.transport.is_closing()
        connection.later(KEEP_ALIVE_S + 1)
        assert await connection.receive() == b""

    connected(play)


@pytest.mark.parametrize("close", ["timeout_keep_alive_handler", "shutdown"])
def test_an_idle_connection_with_a_request_in_its_buffer_is_not_closed(close: str) -> None:
    async def play(connection: Connection) -> None:
        await connection.send(b"GET /go/a HTTP/1.1\r\n\r\n")
        await connection.receive()
        # Written but not read yet: no turn of the loop lies between these two lines.
        connection.client.send(b"GET /go/b HTTP/1.1\r\n\r\n")
        getattr(connection.protocol, close)()
        assert not connection.protocol.transport.is_closing()
        assert (await connection.receive()).endswith(b"\r\n\r\nb")
        getattr(connection.protocol, close)()
        assert await connection.receive() == b""

    connected(play)


def test_while_draining_only_the_last_answer_of_a_pipeline_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(connection: Connection) -> None:
        monkeypatch.setattr(WebProtocol.door, "closing", True)
        await connection.send(b"GET /go/a HTTP/1.1\r\n\r\nGET /go/b HTTP/1.1\r\n\r\n")
        answers = b""
        while received := await connection.receive():
            answers += received
        assert answers.count(b"HTTP/1.1 200 OK") == 2
        assert answers.count(b"connection: close") == 1
        assert answers.index(b"connection: close") > answers.index(b"\r\n\r\na")

    connected(play)


def test_idle_time_counts_from_the_last_answer() -> None:
    async def play(connection: Connection) -> None:
        await connection.send(b"GET /go/a HTTP/1.1\r\n\r\n")
        await connection.receive()
        since = connection.protocol.idle_since()
        assert since is not None
        assert 0 <= connection.loop.time() - since < 5
        await connection.send(b"GET /go/")
        assert connection.protocol.idle_since() is None, "a request has begun"

    connected(play)
