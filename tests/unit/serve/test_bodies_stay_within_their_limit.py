from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi import Request as FastRequest
from serving import Answer, FakeRuntime, call, exchange, http_scope
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tenfold.core.errors import ContractError
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


# -- limits of routes -------------------------------------------------------------------------------------------------

MB = 1 << 20
LIMITS: dict[str, Any] = {"/uploads": "3MB", "/albums/{id}/photos": 2 * MB, "/small": 100}
KEY = [("Idempotency-Key", "k")]


def routed(app: Any = reading) -> TenfoldASGI:
    return TenfoldASGI(app, FakeRuntime(), body_limits=LIMITS)


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/uploads", 3 * MB),
        ("/albums/7/photos", 2 * MB),
        ("/small", 100),
        ("/uploads/", MB),
        ("/albums//photos", MB),
        ("/x", MB),
    ],
)
@pytest.mark.parametrize("said", [True, False])
def test_a_route_takes_what_its_limit_says_and_the_others_what_the_map_says(path: str, limit: int, said: bool) -> None:
    def sent(size: int) -> Any:
        head = [("Content-Length", str(size))] if said else []
        return call(routed(), "POST", path, head, [b"x" * (size // 2), b"x" * (size - size // 2)])

    assert sent(limit).body == b"%d" % limit
    refused = sent(limit + 1)
    assert (refused.status, refused.problem["code"]) == (413, "TF-BODY")
    assert f"{limit} bytes" in refused.problem["detail"]


def test_a_body_that_is_known_to_be_too_large_only_at_its_end_is_answered_at_once() -> None:
    async def asks() -> None:
        async with asyncio.timeout(2.0):  # a client that stays has nothing more to send: nobody waits for it
            answer = await exchange(routed(), http_scope("POST", "/small"), [b"x" * 50, b"x" * 51])
        assert answer.status == 413
        assert answer.messages[-1] == {"type": "http.response.body", "body": b""}

    asyncio.run(asks())


def test_a_new_map_changes_the_limit_of_the_other_routes_only() -> None:
    app = routed()
    app._settings = replace(app._settings, body_limit=10)
    assert call(app, "POST", "/x", [], b"x" * 11).status == 413
    assert call(app, "POST", "/uploads", [], b"x" * 2 * MB).body == b"%d" % (2 * MB)


@pytest.mark.parametrize("said", [True, False])
def test_a_keyed_body_is_never_read_into_memory_beyond_1_mb(said: bool) -> None:
    ran, taken = [], 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        ran.append(scope["path"])
        await reading(scope, receive, send)

    async def asks(parts: int) -> Answer:
        answer = Answer()

        async def receive() -> dict[str, Any]:
            nonlocal taken
            taken += 1
            return {"type": "http.request", "body": b"x" * (MB // 4), "more_body": taken < parts}

        async def send(message: dict[str, Any]) -> None:
            answer.messages.append(message)
            if message["type"] == "http.response.start":
                answer.taken = taken  # type: ignore[attr-defined]

        length = [("Content-Length", str(parts * (MB // 4)))] if said else []
        await routed(app)(http_scope("POST", "/uploads", [*KEY, *length]), receive, send)
        return answer

    refused = asyncio.run(asks(8))
    assert (refused.status, refused.problem["code"], ran) == (413, "TF-BODY-KEYED", [])
    assert "Idempotency-Key" in refused.problem["detail"]
    assert "without the key" in refused.problem["hint"]
    assert refused.taken == (0 if said else 5), "no more was read before it was refused"  # type: ignore[attr-defined]
    taken = 0
    assert asyncio.run(asks(4)).body == b"%d" % MB


def test_without_a_key_a_large_body_streams_through() -> None:
    assert call(routed(), "POST", "/uploads", [], [b"x" * MB] * 3).body == b"%d" % (3 * MB)
    assert call(routed(), "GET", "/uploads", KEY, [b"x" * MB] * 3).body == b"%d" % (3 * MB), "a key means nothing here"


def test_a_smaller_limit_holds_for_keyed_bodies_too() -> None:
    assert call(routed(), "POST", "/small", KEY, b"x" * 101).problem["code"] == "TF-BODY"


@pytest.mark.parametrize(
    ("template", "limit", "says"),
    [
        ("uploads", "3MB", 'The route with a body limit "uploads" does not start with "/"'),
        ("/a{b}", "3MB", "neither a literal nor one placeholder"),
        ("/{a}/{a}", "3MB", "uses a name twice"),
        ("/x", "3 apples", "3 apples"),
        ("/x", -1, "-1"),
        ("/x", True, "true"),
        ("/x", 0, 'The body limit of "/x" is 0'),
        ("/x", "2GB", 'The body limit of "/x" is 2'),
    ],
)
def test_a_limit_that_cannot_work_is_told_when_the_application_is_made(template: str, limit: Any, says: str) -> None:
    with pytest.raises(ContractError, match=re.escape(says)):
        TenfoldASGI(reading, FakeRuntime(), body_limits={template: limit})
