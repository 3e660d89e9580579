"""Limits that count requests by themselves, over ASGI: 429, 202, headers, and who is never counted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from serving import Answer, FakeRuntime, call, exchange, http_scope

from tenfold import Tenfold
from tenfold.blocks.limits.routes import compiled
from tenfold.core.clock import ManualClock
from tenfold.core.errors import ContractError, TenfoldError
from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.hot import Response


class Service:
    """An app behind limits, with a clock that stands, and jobs that are only listed."""

    def __init__(self, **options: Any) -> None:
        self.runtime = FakeRuntime()
        self.limits = self.runtime.limits
        self.limits._monotonic = ManualClock(monotonic=1000.0).monotonic
        self.jobs: list[tuple[str, dict[str, Any]]] = []
        self.user: str | None = None
        self.limits.who, self.limits.enqueue = self._who, self._enqueue
        self.answered: list[str] = []
        self.app = TenfoldASGI(self._app, self.runtime, options.pop("hot", None))
        if options:
            self.limits.rule("test", **options)

    async def _who(self) -> str | None:
        return self.user

    async def _enqueue(self, task: str, facts: dict[str, Any]) -> str | None:
        self.jobs.append((task, facts))
        return f"job-{len(self.jobs)}" if "refuse" not in facts["body"] else None

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.answered.append(scope["path"])
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 1000})
            return
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    def statuses(self, number: int, method: str = "GET", path: str = "/api/a", **more: Any) -> list[int]:
        return [call(self.app, method, path, **more).status for _ in range(number)]


def test_over_the_limit_there_is_a_problem_with_a_wait_and_the_headers() -> None:
    service = Service(rate="2/minute", routes=["/api/*"])
    first = call(service.app, "GET", "/api/a")
    assert first.headers["ratelimit-policy"] == '"test";q=2;w=60'
    assert first.headers["ratelimit"] == '"test";r=1;t=30'
    assert call(service.app, "GET", "/api/b").headers["ratelimit"] == '"test";r=0;t=60'
    refused = call(service.app, "GET", "/api/a")
    assert refused.status == 429
    assert refused.headers["ratelimit"] == '"test";r=0;t=30'
    assert 30 <= int(refused.headers["retry-after"]) <= 34
    assert refused.headers["cache-control"] == "no-store"
    assert refused.problem["code"] == "TF-LIMIT"
    assert service.answered == ["/api/a", "/api/b"]


def test_what_is_not_on_the_route_or_of_the_method_is_not_counted() -> None:
    service = Service(rate="1/hour", routes=["/api/*", "/login"], methods=["GET", "POST"])
    assert service.statuses(3, path="/other") == [200, 200, 200]
    assert service.statuses(3, path="/api") == [200, 200, 200]
    assert service.statuses(3, "DELETE") == [200, 200, 200]
    assert service.statuses(3, "OPTIONS") == [200, 200, 200]
    assert service.statuses(1, "HEAD") == [200], "GET is HEAD too"
    assert service.statuses(2, "POST") == [429, 429]
    assert service.statuses(1, path="/login") == [429], "one limit has one bucket for all its routes"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_health_and_metrics_are_never_limited(path: str) -> None:
    service = Service(rate="1/hour", routes=["*"])
    assert 429 not in service.statuses(3, path=path, client=("127.0.0.1", 1))
    assert service.statuses(2, path="/x", client=("127.0.0.1", 1)) == [200, 429]


def test_hot_routes_are_limited_too() -> None:
    service = Service(rate="2/hour", routes=["/{code}"], hot={"/{code}": lambda request, code: Response.text(code)})
    first = call(service.app, "GET", "/abc")
    assert (first.body, first.headers["ratelimit"]) == (b"abc", '"test";r=1;t=1800')
    assert service.statuses(2, path="/abc") == [200, 429]
    assert service.statuses(1, path="/abc/d") == [200]


def test_clients_are_counted_apart_by_what_the_key_says() -> None:
    service = Service(rate="1/hour", routes=["*"], key="user+route")
    assert service.statuses(2, client=("2001:db8::1", 1)) == [200, 429]
    assert service.statuses(1, client=("2001:db8::2", 1)) == [429], "the same network"
    service.user = "ann"
    assert service.statuses(2, client=("2001:db8::2", 1)) == [200, 429]
    assert service.statuses(1, client=("10.0.0.1", 1)) == [429], "the same user from elsewhere"
    keys = Service(rate="1/hour", routes=["*"], key="api-key")
    one, two = [("X-Api-Key", "one")], [("Authorization", "Bearer two")]
    assert keys.statuses(2, headers=one) == [200, 429]
    assert keys.statuses(2, headers=two) == [200, 429]
    assert keys.statuses(2) == [200, 429]


def test_a_repeated_keyed_request_is_charged_as_well() -> None:
    service = Service(rate="2/hour", routes=["*"])
    same: Any = {"headers": [("Idempotency-Key", "k1")], "body": b"{}"}
    assert service.statuses(3, "POST", **same) == [200, 200, 429]


def test_shadow_mode_lets_all_pass_and_tells_nobody() -> None:
    service = Service(rate="1/hour", routes=["*"], shadow=True)
    answers = [call(service.app, "GET", "/x") for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert "ratelimit" not in answers[2].headers
    assert service.limits.stats().shadowed == {"test": 2}


def test_several_limits_count_a_request_together_or_not_at_all() -> None:
    service = Service(rate="2/hour", routes=["/api/*"])
    service.limits.rule("all", "3/hour", routes=["*"])
    assert call(service.app, "GET", "/api/a").headers["ratelimit"] == '"test";r=1;t=1800, "all";r=2;t=1200'
    assert service.statuses(3) == [200, 429, 429]
    assert service.statuses(2, path="/x") == [200, 429], "what was refused did not count"


DEFER: Any = {"rate": "1/hour", "routes": ["/orders"], "methods": ["POST"], "over": "defer", "task": "later"}


def test_a_deferred_request_becomes_a_job_with_what_it_said_and_none_of_its_secrets() -> None:
    service = Service(**DEFER)
    headers = [("Content-Type", "text/plain"), ("Authorization", "Bearer x"), ("Cookie", "a=b"), ("X-Api-Key", "y")]
    service.user = "ann"
    for body in ("first", "grüße"):
        answer = call(service.app, "POST", "/orders", headers, body.encode(), query_string=b"a=1")
    assert answer.status == 202
    assert answer.body == b'{"deferred":true,"job":"job-1"}'
    assert answer.headers["ratelimit"].startswith('"test";r=0')
    ((task, facts),) = service.jobs
    assert task == "later"
    assert facts == {
        "method": "POST", "path": "/orders", "query": "a=1", "headers": {"content-type": "text/plain"},
        "body": "grüße", "encoding": "utf-8", "user": "ann", "address": "203.0.113.9",
    }  # fmt: skip
    assert call(service.app, "POST", "/orders", body=b"\xff\x00").status == 202
    assert (service.jobs[1][1]["body"], service.jobs[1][1]["encoding"]) == ("/wA=", "base64")


def test_what_cannot_become_a_job_is_refused() -> None:
    service = Service(**DEFER)
    assert service.statuses(1, "POST", "/orders") == [200]
    assert service.statuses(1, "POST", "/orders", body=b"refuse") == [429]
    assert service.statuses(1, "POST", "/orders", body=[b"x" * 40_000] * 2) == [429]
    assert service.statuses(1, "POST", "/orders", headers=[("Content-Length", "70000")], body=b"x" * 70_000) == [429]


def test_a_limit_that_refuses_bounds_what_becomes_a_job() -> None:
    service = Service(**DEFER)
    service.limits.rule("hard", "3/hour", routes=["/orders"])
    assert service.statuses(4, "POST", "/orders") == [200, 202, 202, 429]
    assert service.statuses(1, "GET", "/orders") == [429], "what became a job was counted"
    assert len(service.jobs) == 2
    assert service.limits.stats().allowed == {"test": 1, "hard": 3}


def test_a_handshake_is_counted_as_a_get() -> None:
    service = Service(rate="1/hour", routes=["/live"])

    def shake() -> list[dict[str, Any]]:
        scope = http_scope("GET", "/live", type="websocket", extensions={"websocket.http.response": {}})
        del scope["method"]
        return asyncio.run(exchange(service.app, scope)).messages

    assert shake()[0]["type"] == "websocket.accept"
    assert shake()[0]["status"] == 429
    assert service.answered == ["/live"]


def test_a_refusal_in_the_code_is_a_problem_too_even_when_the_framework_answers_itself() -> None:
    service = Service()
    rule = service.limits.rule("create", "1/hour")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await service.limits.require((rule, service.limits.address()))
        except TenfoldError:
            if scope["path"] == "/raises":
                raise
            await send({"type": "http.response.start", "status": 418, "headers": []})
            await send({"type": "http.response.body", "body": b"own"})
            return
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def ask(path: str) -> Answer:
        return call(TenfoldASGI(app, service.runtime), "POST", path)

    assert (ask("/raises").status, ask("/raises").status, ask("/own").status) == (201, 429, 418)
    assert ask("/own").headers["ratelimit"].startswith('"create";r=0')
    assert int(ask("/raises").headers["retry-after"]) >= 3600


@pytest.mark.parametrize(
    ("route", "fits", "does_not"),
    [
        ("/a/*", ["/a/", "/a/b", "/a/b/c", "/a/b\nc"], ["/a", "/ab", "/b/a/"]),
        ("*", ["/", "/a"], []),
        ("/a*", ["/a", "/ab", "/a/b"], ["/b"]),
        ("/u/{id}", ["/u/1"], ["/u/", "/u/1/2", "/u"]),
        ("/u/{id}/x.y", ["/u/1/x.y"], ["/u/1/xzy"]),
    ],
)
def test_patterns_fit_what_they_say(route: str, fits: list[str], does_not: list[str]) -> None:
    pattern = compiled(route)
    assert [path for path in (*fits, *does_not) if pattern.fullmatch(path)] == fits


def test_a_pattern_that_takes_ever_longer_on_long_paths_is_refused() -> None:
    service = Tenfold("small")
    with pytest.raises(ContractError, match=r"/a/\{x\}-\{y\}.* one between two slashes"):
        service.limits.rule("slow", "1/minute", routes=["/a/{x}-{y}/b"])
    service.limits.rule("quick", "1/minute", routes=["/a/{x}/{y}.png", "/{z}*"])
