"""A client sees an RFC 9457 document, never a stack trace; the trace is in the error log under the same id."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import FastAPI
from serving import Answer, FakeRuntime, call
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from tenfold.core.errors import Conflict, ContractError, RuleBroken, TenfoldError, Unavailable
from tenfold.serve.asgi import ResponseAbortedError, TenfoldASGI
from tenfold.serve.hot import Request, Response


def raising(error: Exception) -> dict[str, Any]:
    """The same failing handler in three frameworks."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        raise error

    async def endpoint(request: StarletteRequest) -> PlainTextResponse:
        raise error

    fast = FastAPI()

    @fast.get("/x")
    async def fast_endpoint() -> None:
        raise error

    return {
        "bare": bare,
        "starlette": Starlette(routes=[Route("/x", endpoint)]),
        "starlette in debug mode": Starlette(routes=[Route("/x", endpoint)], debug=True),
        "fastapi": fast,
    }


def ask(error: Exception, framework: str) -> Answer:
    return call(TenfoldASGI(raising(error)[framework], FakeRuntime()), "GET", "/x", [("X-Request-Id", "r-1")])


FRAMEWORKS = ["bare", "starlette", "starlette in debug mode", "fastapi"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_public_error_is_told_in_full(framework: str) -> None:
    answer = ask(Conflict("The alias is taken.", hint="Choose another one."), framework)
    assert answer.status == 409
    assert answer.headers["cache-control"] == "no-store"
    assert answer.problem == {
        "type": "urn:tenfold:TF-CONFLICT",
        "title": "The write collides with what is stored",
        "status": 409,
        "code": "TF-CONFLICT",
        "detail": "The alias is taken.",
        "hint": "Choose another one.",
        "instance": "r-1",
    }


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_tables_and_rules_stay_in_the_log(framework: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tenfold.serve"):
        answer = ask(RuleBroken("NOT NULL constraint failed: secret.column."), framework)
    assert (answer.status, answer.problem["code"]) == (409, "TF-CONFLICT")
    assert answer.problem["detail"] == "What was sent cannot be stored as it is."
    assert b"secret" not in answer.body
    assert [(record.request, "secret.column" in record.getMessage()) for record in caplog.records] == [("r-1", True)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_unavailable_says_when_to_come_back(framework: str) -> None:
    answer = ask(Unavailable("Busy.", retry_after_s=0.2), framework)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("error", [ContractError("secret table"), TenfoldError("secret"), ValueError("secret")])
def test_what_is_not_public_stays_in_the_log(
    framework: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "tenfold.serve"):
        answer = ask(error, framework)
    assert answer.status == 500
    assert answer.problem["instance"] == "r-1"
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    assert [(record.request, record.exc_info[1]) for record in caplog.records] == [("r-1", error)]  # type: ignore[attr-defined,index]


def test_an_error_page_that_the_author_wrote_stays() -> None:
    async def page(request: StarletteRequest, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("our own page", 500)

    async def endpoint(request: StarletteRequest) -> PlainTextResponse:
        raise ValueError("secret")

    app = Starlette(routes=[Route("/x", endpoint)], exception_handlers={Exception: page})
    answer = call(TenfoldASGI(app, FakeRuntime()), "GET", "/x")
    assert (answer.status, answer.body) == (500, b"our own page")


def test_a_500_that_a_handler_answers_on_purpose_passes() -> None:
    async def endpoint(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse("x" * 3_000_000, 500)

    answer = call(TenfoldASGI(Starlette(routes=[Route("/x", endpoint)]), FakeRuntime()), "GET", "/x")
    assert (answer.status, len(answer.body)) == (500, 3_000_000)


def test_an_error_after_the_response_began_cuts_it_off(caplog: pytest.LogCaptureFixture) -> None:
    async def lines() -> AsyncIterator[bytes]:
        yield b"first"
        raise ValueError("broke in the middle")

    async def endpoint(request: StarletteRequest) -> StreamingResponse:
        return StreamingResponse(lines())

    answer = call(TenfoldASGI(Starlette(routes=[Route("/x", endpoint)]), FakeRuntime()), "GET", "/x")
    assert answer.status == 200
    assert isinstance(answer.aborted, ResponseAbortedError)
    assert answer.messages[-1].get("more_body") is True, "the response must not look complete"
    assert "broke in the middle" in caplog.text


def test_an_error_after_the_response_ended_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise ValueError("background task")

    async def endpoint(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse("done", background=BackgroundTask(fails))

    answer = call(TenfoldASGI(Starlette(routes=[Route("/x", endpoint)]), FakeRuntime()), "GET", "/x")
    assert (answer.status, answer.body, answer.aborted) == (200, b"done", None)
    assert "background task" in caplog.text


def test_an_application_that_answers_nothing_gives_a_problem() -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        return

    assert call(TenfoldASGI(silent, FakeRuntime()), "GET", "/x").problem["code"] == "TF-INTERNAL"


@pytest.mark.parametrize(
    "header",
    [
        (b"location", b"https://x\r\nset-cookie: a=b"),
        (b"location", b"a\nb"),
        (b"location", b"a\x00b"),
        (b"x-a\r\nx-b", b"1"),
        (b"x a", b"1"),
        (b"x:a", b"1"),
    ],
)
@pytest.mark.parametrize("by", ["hot", "framework"])
def test_a_header_that_breaks_out_of_its_line_is_never_sent(
    header: tuple[bytes, bytes], by: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 302, "headers": [header]})
        await send({"type": "http.response.body", "body": b""})

    def hot(request: Request, code: str) -> Response:
        return Response(302, [header])

    app = TenfoldASGI(bare, FakeRuntime(), {"/{code}": hot} if by == "hot" else {})
    answer = call(app, "GET", "/x")
    assert answer.status == 500
    assert answer.problem["code"] == "TF-HEADER"
    assert header not in next(iter(answer.messages))["headers"]
    assert "break out of its line" in caplog.text


def test_a_status_that_http_does_not_have_is_refused() -> None:
    app = TenfoldASGI(None, FakeRuntime(), {"/{code}": lambda request, code: Response(7)})
    assert call(app, "GET", "/x").problem["code"] == "TF-HEADER"
