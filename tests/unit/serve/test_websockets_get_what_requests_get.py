"""The middleware around a WebSocket: its id, its scope, its errors; without a server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from serving import FakeRuntime

from tenfold.blocks.database.scope import current_scope
from tenfold.blocks.database.token import Position, Token, decode
from tenfold.core.errors import InvalidRequest, Unavailable
from tenfold.serve.asgi import TenfoldASGI
from tenfold.topology.map import map_of
from tenfold.topology.spec import parse_spec

SEEN = Token((("home", Position(1, 1, 5, 0)),))
WROTE = Token((("home", Position(1, 1, 9, 0)),))
ACCEPT = {"type": "websocket.accept"}
App = Callable[[Any, Any, Any], Awaitable[None]]


def scope_of(*headers: tuple[str, str], path: str = "/ws", extensions: bool = True) -> dict[str, Any]:
    return {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "scheme": "ws",
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "extensions": {"websocket.http.response": {}} if extensions else {},
    }


def play(
    inner: App, scope: dict[str, Any], *, runtime: FakeRuntime | None = None, look: Callable[[], object] = list
) -> tuple[list[dict[str, Any]], TenfoldASGI]:
    """What the server is told."""
    app, inbox = TenfoldASGI(inner, runtime or FakeRuntime()), [{"type": "websocket.connect"}]
    app.watch(look)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return inbox.pop(0) if inbox else {"type": "websocket.disconnect", "code": 1000}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(asyncio.wait_for(app(scope, receive, send), 10))
    return sent, app


def test_it_has_an_id_and_a_scope() -> None:
    found: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        found.extend((current_scope(), dict(scope["headers"])[b"x-request-id"]))
        await send(ACCEPT)

    play(inner, scope_of(("tf-token", SEEN.encode()), ("x-request-id", "mine")))
    request, header = found
    assert (request.request_id, request.token, header) == ("mine", SEEN, b"mine")
    play(inner, scope_of())
    assert found[2].request_id.encode() == found[3] != b""


def test_a_token_of_a_newer_map_makes_it_look() -> None:
    looked: list[int] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)

    spec = parse_spec('[service]\nname = "fake"\napp = "a:b"\n', "tenfold.toml")
    runtime = FakeRuntime(map_of(spec, root="/r", state="/s", previous=None))
    newer = Token((("home", Position(2, 1, 1, 0)),))
    for token in (SEEN, newer):
        play(inner, scope_of(("tf-token", token.encode())), runtime=runtime, look=lambda: looked.append(1))
    assert looked == [1]


@pytest.mark.parametrize("changed", [True, False])
def test_a_token_that_changed_before_it_is_accepted_goes_with_the_answer(changed: bool) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        scope_now = current_scope()
        assert scope_now is not None
        if changed:
            scope_now.token = WROTE
        await send({"type": "websocket.accept", "headers": [(b"x-own", b"1")]})

    sent, _ = play(inner, scope_of(("tf-token", SEEN.encode())))
    headers = dict(sent[0]["headers"])
    assert headers[b"x-own"] == b"1"
    assert (b"tf-token" in headers) is changed
    if changed:
        assert decode(headers[b"tf-token"].decode()) == WROTE
        assert headers[b"set-cookie"].startswith(b"tf_token=")


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("a secret"), 500), (Unavailable("Away."), 503), (InvalidRequest("No."), 400)]
)
def test_an_error_before_it_is_accepted_is_a_problem_document(error: Exception, status: int) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        raise error

    sent, app = play(inner, scope_of())
    start, body = sent
    assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
    assert msgspec.json.decode(body["body"])["status"] == status
    assert b"a secret" not in body["body"]
    assert f'tenfold_websockets_total{{status="{status // 100}xx"}} 1.0'.encode() in app.metrics.exposition()


def test_a_server_without_the_extension_is_told_to_close() -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError

    assert play(inner, scope_of(extensions=False))[0] == [{"type": "websocket.close"}]


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [(ValueError("a secret"), 1011, "TF-INTERNAL"), (Unavailable("x"), 1013, "TF-UNAVAILABLE")],
)
def test_an_error_in_the_middle_is_a_close_code(error: Exception, code: int, reason: str) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        raise error

    sent, app = play(inner, scope_of())
    assert sent[-1] == {"type": "websocket.close", "code": code, "reason": reason}
    assert app.metrics.websockets_open == 0


def test_an_application_that_returns_without_an_answer_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    sent, _ = play(inner, scope_of())
    assert sent[0]["status"] == 500
    assert "without an answer to the handshake" in caplog.text


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.accept", "headers": [(b"x-a", b"1\r\nset-cookie: a=b")]},
        {"type": "websocket.accept", "subprotocol": "chat\r\nset-cookie: a=b"},
        {"type": "websocket.http.response.start", "status": 200, "headers": [(b"x\r\n", b"1")]},
    ],
)
def test_an_answer_that_could_break_out_of_its_line_is_not_sent(message: dict[str, Any]) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send(message)

    sent, _ = play(inner, scope_of())
    assert sent[0]["status"] == 500
    assert msgspec.json.decode(sent[1]["body"])["code"] == "TF-HEADER"


class WebSocketDisconnect(Exception):
    """Named as frameworks name it."""


@pytest.mark.parametrize(("error", "logged"), [(OSError(), False), (WebSocketDisconnect(), False), (KeyError(), True)])
def test_a_client_that_left_is_no_error_a_mistake_is(
    error: Exception, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await send(ACCEPT)
        while (await receive())["type"] != "websocket.disconnect":
            pass
        raise error

    with caplog.at_level(logging.WARNING):
        sent, _ = play(inner, scope_of())
    assert sent == [{**ACCEPT, "headers": []}], "nobody is there to be told"
    assert ("failed" in caplog.text) is logged


def test_a_path_that_is_not_utf_8_is_refused() -> None:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it is not asked")

    scope = scope_of()
    scope["raw_path"] = b"/%ff"
    assert play(inner, scope)[0][0]["status"] == 400
