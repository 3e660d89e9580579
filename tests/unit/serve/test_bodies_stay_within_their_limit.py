from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi import Request as FastRequest
from serving import FakeRuntime, call
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tenfold.serve.asgi import ResponseAbortedError, TenfoldASGI
from tenfold.serve.settings import DEFAULT_BODY_LIMIT


async def reading(scope: Any, receive: Any, send: Any) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % size})


def frameworks() -> dict[str, Any]:
    async def endpoint(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    fast = FastAPI()

    @fast.post("/x")
    async def fast_endpoint(request: FastRequest) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.json())))

    return {"bare": reading, "starlette": Starlette(routes=[Route("/x", endpoint, methods=["POST"])]), "fastapi": fast}


FRAMEWORKS = ["bare", "starlette", "fastapi"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_body_that_says_it_is_too_large_is_refused_before_the_application_runs(framework: str) -> None:
    app = TenfoldASGI(frameworks()[framework], FakeRuntime())
    answer = call(app, "POST", "/x", [("Content-Length", "10000000")], [b"x" * 1000, b"x"])
    assert (answer.status, answer.problem["code"], answer.aborted) == (413, "TF-BODY", None)
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("headers", [[], [("Idempotency-Key", "k")]])
def test_a_body_without_a_length_is_counted(framework: str, headers: list[tuple[str, str]]) -> None:
    parts = [b"[" + b" " * 300_000, b" " * 300_000, b" " * 300_000, b" " * 300_000, b"]"]
    answer = call(TenfoldASGI(frameworks()[framework], FakeRuntime()), "POST", "/x", headers, parts)
    assert (answer.status, answer.problem["code"], answer.aborted) == (413, "TF-BODY", None)
    assert answer.messages[-1] == {"type": "http.response.body", "body": b""}, "the response is complete"


def test_a_body_of_just_the_limit_passes() -> None:
    answer = call(TenfoldASGI(reading, FakeRuntime()), "POST", "/x", [], b"x" * DEFAULT_BODY_LIMIT)
    assert answer.body == b"%d" % DEFAULT_BODY_LIMIT


def test_a_body_that_grows_too_large_after_the_response_began_cuts_it_off() -> None:
    async def eager(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await reading(scope, receive, send)

    answer = call(TenfoldASGI(eager, FakeRuntime()), "POST", "/x", [], [b"x" * 2_000_000, b""])
    assert isinstance(answer.aborted, ResponseAbortedError)


@pytest.mark.parametrize("value", ["-1", "1e3", "abc", "", "9" * 40, "1, 1"])
def test_a_length_that_is_no_number_is_refused(value: str) -> None:
    answer = call(TenfoldASGI(reading, FakeRuntime()), "POST", "/x", [("Content-Length", value)])
    assert (answer.status, answer.problem["code"]) == (400, "TF-REQUEST")


def test_a_client_that_leaves_in_the_middle_gets_no_answer_and_leaves_no_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for headers in ([], [("Idempotency-Key", "k")]):
        app = TenfoldASGI(frameworks()["starlette"], FakeRuntime())
        answer = call(app, "POST", "/x", headers, [b"half"], leaves=True)
        assert answer.messages == []
        assert b'status="4xx"} 1.0' in app.metrics.exposition()
    assert caplog.records == []


@pytest.mark.parametrize("path", ["/%ff", "/a%c3", "/%ed%a0%80"])
def test_a_path_that_is_not_utf8_is_refused(path: str) -> None:
    answer = call(TenfoldASGI(reading, FakeRuntime()), "GET", "/\ufffd", raw_path=path.encode())
    assert (answer.status, answer.problem["detail"]) == (400, "The path is not valid UTF-8.")


def test_a_path_in_any_script_passes() -> None:
    answer = call(TenfoldASGI(reading, FakeRuntime()), "GET", "/ж\ufffd", raw_path="/ж\ufffd".encode())
    assert answer.status == 200
