"""A request that met a database on its way out is run again, and its client notices nothing but the time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from serving import Answer, FakeRuntime, call, exchange, http_scope
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from tenfold.blocks.database.scope import current_scope
from tenfold.blocks.database.token import Position, Token
from tenfold.core.clock import ManualClock
from tenfold.core.errors import Interrupted, TenfoldError, Unavailable
from tenfold.core.retry import Backoff
from tenfold.serve import replay
from tenfold.serve.asgi import LOOKED_LONG_AGO_S, TenfoldASGI
from tenfold.serve.hot import Request, Response
from tenfold.serve.replay import MAX_REPLAYS, is_passing, replayable, wait_before


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_WAITS", Backoff(first_s=0.001, limit_s=0.001))


class App:
    """A bare framework: fails `failures` times, then answers with the body that it read."""

    def __init__(self, failures: int = 1, error: Callable[[], Exception] = lambda: Interrupted("The server left.")):
        self.failures = failures
        self.error = error
        self.scopes: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.parts_before_failing = 1_000_000
        self.endpoint: Any = None
        self.begins_first = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(dict(scope))
        scope["root_path"] += "/mounted"
        if self.endpoint is not None:
            scope["endpoint"] = self.endpoint
        body, more, parts = b"", True, 0
        fails = len(self.scopes) <= self.failures
        while more and not (fails and parts >= self.parts_before_failing):
            message = await receive()
            body, more, parts = body + message["body"], message["more_body"], parts + 1
        self.bodies.append(body)
        if fails and not self.begins_first:
            raise self.error()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body, "more_body": fails})
        if fails:
            raise self.error()


@replayable
async def marked() -> None: ...


async def unmarked() -> None: ...


def ask(app: Any, method: str = "GET", **more: Any) -> tuple[Answer, TenfoldASGI]:
    wrapped = TenfoldASGI(app, FakeRuntime())
    return call(wrapped, method, "/", **more), wrapped


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_reads_are_run_again_on_the_scope_as_it_came(method: str) -> None:
    app = App(failures=2)
    answer, wrapped = ask(app, method)
    assert answer.status == 200
    assert len(app.scopes) == 3
    assert {scope["root_path"] for scope in app.scopes} == {""}
    assert wrapped.metrics.replays == 2
    assert wrapped.metrics.total() == 1
    assert b"tenfold_http_replays_total 2.0" in wrapped.metrics.exposition()


@pytest.mark.parametrize("endpoint", [None, unmarked])
def test_a_write_is_not_run_again_unless_its_author_says_so(endpoint: Any) -> None:
    app = App()
    app.endpoint = endpoint
    answer, _ = ask(app, "POST", body=b"x")
    assert answer.status == 503
    assert answer.problem["code"] == "TF-INTERRUPTED"
    assert answer.headers["retry-after"] == "1"
    assert len(app.scopes) == 1


@pytest.mark.parametrize("read", [0, 1, 2, 3])
def test_a_marked_write_reads_the_same_body_again_however_far_it_came(read: int) -> None:
    app = App(failures=2)
    app.endpoint, app.parts_before_failing = marked, read
    answer, _ = ask(app, "POST", body=[b"one ", b"two ", b"three"])
    assert answer.status == 200
    assert answer.body == b"one two three"
    assert app.bodies[-1] == b"one two three"


def test_a_body_that_is_too_large_to_keep_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenfold.serve.exchange.MAX_KEPT_BYTES", 10)
    app = App()
    app.endpoint = marked
    assert ask(app, "POST", body=[b"12345", b"67890"])[0].status == 200
    app = App()
    app.endpoint = marked
    assert ask(app, "POST", body=[b"12345", b"678901"])[0].status == 503


def test_what_has_begun_is_cut_off_and_not_run_again() -> None:
    app = App()
    app.begins_first = True
    answer, _ = ask(app)
    assert answer.aborted is not None
    assert len(app.scopes) == 1


@pytest.mark.parametrize("error", [Unavailable("Full."), TenfoldError("No."), ValueError("A bug.")])
def test_other_errors_are_not_run_again(error: Exception) -> None:
    app = App(error=lambda: error)
    assert ask(app)[0].status == (503 if isinstance(error, Unavailable) else 500)
    assert len(app.scopes) == 1


def test_it_gives_up_after_a_few_attempts() -> None:
    app = App(failures=100)
    answer, _ = ask(app)
    assert answer.status == 503
    assert len(app.scopes) == MAX_REPLAYS + 1


def test_the_wait_never_goes_beyond_the_time_that_is_left() -> None:
    random = FakeRuntime().randomness
    assert wait_before(1, 25.0, 25.0, random) is None
    assert wait_before(MAX_REPLAYS + 1, 0.0, 25.0, random) is None
    left = wait_before(1, 24.9999, 25.0, random)
    assert left is not None
    assert 0 < left <= 0.0002


def test_a_client_that_left_is_not_served_again() -> None:
    app = App()

    async def reads_on(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await app(scope, receive, send)

    async def leaves() -> Answer:
        return await exchange(TenfoldASGI(reads_on, FakeRuntime()), http_scope("GET", "/"), b"", leaves=True)

    app.parts_before_failing = 0
    asyncio.run(leaves())
    assert len(app.scopes) == 1


def test_a_hot_handler_is_run_again() -> None:
    calls: list[str] = []

    async def hot(request: Request, code: str) -> Response:
        calls.append(code)
        if len(calls) == 1:
            raise Interrupted("The server left.")
        return Response.text(code)

    answer = call(TenfoldASGI(App(), FakeRuntime(), {"/{code}": hot}), "GET", "/abc")
    assert (answer.status, answer.body, calls) == (200, b"abc", ["abc", "abc"])


def test_a_keyed_request_draws_the_same_in_each_attempt() -> None:
    drawn: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["endpoint"] = marked
        request = current_scope()
        assert request is not None
        drawn.append(request.next_ordinal("transaction"))
        assert (await receive())["body"] == b"content"
        if len(drawn) == 1:
            raise Interrupted("The server left.")
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    answer, _ = ask(app, "POST", headers=[("Idempotency-Key", "k")], body=b"content")
    assert answer.status == 201
    assert drawn == [0, 0]


class Passing(BaseHTTPMiddleware):
    """Runs the application in a task group, as much middleware does."""

    async def dispatch(self, request: Any, call_next: Any) -> Any:
        return await call_next(request)


def starlette(calls: list[bytes], **settings: Any) -> Starlette:
    @replayable
    async def create(request: StarletteRequest) -> PlainTextResponse:
        calls.append(await request.body())
        if len(calls) == 1:
            raise Interrupted("The server left.")
        return PlainTextResponse(f"made at {request.url.path}")

    app = Starlette(routes=[Mount("/v1", routes=[Route("/things", create, methods=["POST"])])], **settings)
    app.add_middleware(Passing)
    return app


def test_starlettes_own_500_is_never_seen() -> None:
    calls: list[bytes] = []
    answer = call(TenfoldASGI(starlette(calls), FakeRuntime()), "POST", "/v1/things", body=[b"a", b"b"])
    assert (answer.status, answer.body) == (200, b"made at /v1/things")
    assert calls == [b"ab", b"ab"]


def test_an_answer_that_the_service_makes_of_the_error_is_its_answer() -> None:
    calls: list[bytes] = []

    async def handled(request: Any, error: Exception) -> PlainTextResponse:
        return PlainTextResponse("we are sorry", 503)

    app = starlette(calls, exception_handlers={TenfoldError: handled})
    answer = call(TenfoldASGI(app, FakeRuntime()), "POST", "/v1/things", body=b"a")
    assert (answer.status, answer.body, len(calls)) == (503, b"we are sorry", 1)


def test_an_error_in_a_task_group_is_seen_and_a_bundle_is_not() -> None:
    passing = Interrupted("The server left.")
    assert is_passing(ExceptionGroup("one", [ExceptionGroup("inside", [passing])]))
    assert not is_passing(ExceptionGroup("two", [passing, ValueError("a bug")]))


class Looks:
    """An application that is told of maps, on a clock that stands still."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        runtime = FakeRuntime()
        runtime.clock = self.clock
        self.app = TenfoldASGI(App(failures=0), runtime)
        self.looks = 0
        self.app.watch(self._look)

    def _look(self) -> None:
        self.looks += 1

    def ask(self, *headers: tuple[str, str]) -> int:
        before = self.looks
        assert call(self.app, "GET", "/", list(headers)).status == 200
        return self.looks - before


def test_a_process_that_was_paused_looks_at_its_map_before_the_first_request() -> None:
    it = Looks()
    assert it.ask() == 0
    it.clock.advance(LOOKED_LONG_AGO_S)
    assert it.ask() == 0
    it.clock.advance(0.001)
    assert it.ask() == 1
    assert it.ask() == 0, "once is enough"
    it.clock.advance(60)
    it.app.looked()
    assert it.ask() == 0, "the watcher was there first"


def token(epoch: int) -> tuple[str, str]:
    return ("TF-Token", Token((("0", Position(epoch, 0, 0, 1)),)).encode())


def test_a_client_that_has_seen_a_newer_map_makes_it_look() -> None:
    it = Looks()
    assert it.ask(token(9)) == 0, "without a map there is nothing to look at"
    it.app._epoch = 5
    assert it.ask(token(5)) == 0
    assert it.ask(token(6)) == 1
    assert it.ask(("TF-Token", "forged")) == 0
