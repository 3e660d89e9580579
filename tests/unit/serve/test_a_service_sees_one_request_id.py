"""The service gets its request's id as a header, whoever chose it, and what a proxy said does not make it local."""

from __future__ import annotations

from typing import Any

import pytest
from serving import FakeRuntime, call, http_scope

from tenfold.core.errors import Unavailable
from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.head import RELAYED, is_forwarding
from tenfold.serve.health import is_local
from tenfold.serve.replay import replayable


async def tells(scope: Any, receive: Any, send: Any) -> None:
    found = b" ".join(value for name, value in scope["headers"] if name == b"x-request-id")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": found})


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ([], False),
        ([("accept", "*/*")], False),
        ([("X-Request-Id", "by-balancer")], True),
        ([("X-Request-Id", "not sane\x01")], False),
        ([("X-Request-Id", "")], False),
        ([("X-Request-Id", "x" * 129)], False),
    ],
)
def test_there_is_exactly_one(headers: list[tuple[str, str]], kept: bool) -> None:
    body = call(TenfoldASGI(tells, FakeRuntime()), "GET", "/", headers).body.decode()
    assert " " not in body
    assert (body == "by-balancer") if kept else (body.count("-") == 1 and body not in dict(headers).values())


def test_another_attempt_has_the_same_one() -> None:
    seen: list[list[bytes]] = []

    @replayable
    async def fails_once(scope: Any, receive: Any, send: Any) -> None:
        seen.append([value for name, value in scope["headers"] if name == b"x-request-id"])
        if len(seen) == 1:
            error = Unavailable("Away.")
            error.replayable = True
            raise error
        await tells(scope, receive, send)

    assert call(TenfoldASGI(fails_once, FakeRuntime()), "GET", "/").status == 200
    assert seen[0] == seen[1]
    assert len(seen[0]) == 1


@pytest.mark.parametrize("name", ["forwarded", "x-real-ip", "x-forwarded-for", "x-forwarded-host", "x-forwarded-new"])
def test_a_forwarded_request_is_not_local(name: str) -> None:
    assert is_forwarding(name.encode())
    assert is_local(http_scope("GET", "/", client=("127.0.0.1", 1)))
    assert not is_local(http_scope("GET", "/", [(name, "x")], client=("127.0.0.1", 1)))
    assert not is_local(http_scope("GET", "/", client=("127.0.0.1", 1), **{RELAYED: True}))
