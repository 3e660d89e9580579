"""Around Starlette, FastAPI and a bare ASGI callable alike."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from serving import FakeRuntime, call
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse
from starlette.routing import Route

from tenfold.blocks.database.scope import current_scope
from tenfold.core.errors import NotFound, Unavailable
from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.hot import Request, Response


async def bare(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-from", b"framework")]})
    await send({"type": "http.response.body", "body": scope["method"].encode()})


def starlette() -> Any:
    async def endpoint(request: StarletteRequest) -> JSONResponse:
        return JSONResponse(request.method, headers={"x-from": "framework"})

    return Starlette(routes=[Route("/{rest:path}", endpoint, methods=["GET", "POST"])])


def fastapi() -> Any:
    app = FastAPI()

    @app.api_route("/{rest:path}", methods=["GET", "HEAD", "POST"])
    async def endpoint(rest: str) -> JSONResponse:
        return JSONResponse(rest, headers={"x-from": "framework"})

    return app


FRAMEWORKS = [
    pytest.param(lambda: bare, id="bare"),
    pytest.param(starlette, id="starlette"),
    pytest.param(fastapi, id="fastapi"),
]


def redirect(request: Request, code: str) -> Response | None:
    return Response.redirect(f"https://example.com/{code}", 301) if code != "unknown" else None


async def redirect_later(request: Request, code: str) -> Response | None:
    return redirect(request, code)


@pytest.mark.parametrize("handler", [redirect, redirect_later])
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_hot_route_answers_get_and_head(framework: Any, handler: Any, method: str) -> None:
    answer = call(TenfoldASGI(framework(), FakeRuntime(), {"/{code}": handler}), method, "/abc")
    assert (answer.status, answer.headers["location"]) == (301, "https://example.com/abc")
    assert "x-from" not in answer.headers


@pytest.mark.parametrize("handler", [redirect, redirect_later])
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(("method", "path"), [("GET", "/unknown"), ("POST", "/abc"), ("GET", "/two/parts")])
def test_none_other_methods_and_other_paths_go_to_the_framework(
    framework: Any, handler: Any, method: str, path: str
) -> None:
    app = TenfoldASGI(framework(), FakeRuntime(), {"/{code}": handler})
    answer = call(app, method, path)
    assert answer.headers["x-from"] == "framework"


def test_a_handler_sees_the_request_and_its_scope() -> None:
    seen: list[Any] = []

    def look(request: Request, code: str) -> Response:
        scope = current_scope()
        assert scope is not None
        seen.append((request.method, request.path, request.query_string, request.client, request.header("Accept")))
        seen.append((request.header("x-none"), request.header("x-none", "-"), request.id == scope.request_id))
        return Response.text(code)

    app = TenfoldASGI(bare, FakeRuntime(), {"/{code}": look})
    assert call(app, "GET", "/abc", [("Accept", "text/html")], query_string=b"a=1").body == b"abc"
    assert seen == [("GET", "/abc", b"a=1", ("203.0.113.9", 4711), "text/html"), (None, "-", True)]
    assert current_scope() is None, "the scope ends with its request"


def test_one_response_object_may_be_sent_again_and_again() -> None:
    kept = Response.text("same")
    app = TenfoldASGI(bare, FakeRuntime(), {"/{code}": lambda request, code: kept})
    first, second = call(app, "GET", "/a"), call(app, "GET", "/b")
    assert first.messages == second.messages


def test_errors_of_a_hot_handler_become_problems() -> None:
    def missing(request: Request, code: str) -> Response:
        raise NotFound(f"There is no link {code}.")

    async def busy(request: Request, code: str) -> Response:
        raise Unavailable("Not now.", retry_after_s=2.4)

    app = TenfoldASGI(bare, FakeRuntime(), {"/{code}": missing, "/busy/{code}": busy})
    assert call(app, "GET", "/abc").problem["detail"] == "There is no link abc."
    answer = call(app, "GET", "/busy/x")
    assert (answer.status, answer.headers["retry-after"]) == (503, "3")


@pytest.mark.parametrize("later", [False, True])
def test_a_handler_that_returns_the_frameworks_response_is_told_so(
    later: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(request: Request, code: str) -> Any:
        return JSONResponse(code)

    async def wrong_later(request: Request, code: str) -> Any:
        return JSONResponse(code)

    answer = call(TenfoldASGI(bare, FakeRuntime(), {"/{code}": wrong_later if later else wrong}), "GET", "/abc")
    assert answer.problem["code"] == "TF-CONTRACT"
    assert "hot route /{code} returned a starlette.responses.JSONResponse" in caplog.text
