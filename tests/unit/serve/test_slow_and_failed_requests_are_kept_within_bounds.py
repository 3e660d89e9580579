"""Which requests a process remembers, for how long, and what it tells of them."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from serving import FakeRuntime, call

from tenfold.core.clock import ManualClock
from tenfold.core.errors import NotFound, Unavailable
from tenfold.hosts.wire import MAX_LINE
from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.hot import Response
from tenfold.serve.noted import FAILED, LINE_BYTES, SLICE_S, SLOWEST, Noted, fitting
from tenfold.serve.telling import Lateness, resident
from tenfold.serve.told import Spent, Told


def told(took_ms: float, request: str = "r", **more: Any) -> Told:
    return Told(request, "web-1", "app", "GET", 200, 1, took_ms, Spent(), **more)


def keep(noted: Noted, took_s: float, now: float) -> bool:
    """As the middleware does it; whether it was told at all."""
    if not (took_s > noted.above_s or now >= noted.until):
        return False
    noted.tick(now)
    if took_s > noted.above_s:
        noted.slow(told(took_s * 1000), took_s, now)
    return True


@pytest.mark.parametrize("seed", range(20))
def test_the_slowest_are_those_that_a_whole_list_would_give(seed: int) -> None:
    draw, noted, every, now = random.Random(seed), Noted(), [], 1000.0
    for _ in range(3000):
        now += draw.choice((0.0, 0.01, 0.5))
        took = draw.expovariate(10)
        every.append((now, took))
        keep(noted, took, now)
    lately = sorted((took for at, took in every if at >= now - 600), reverse=True)
    assert [each.took_ms for each in noted.slowest(now)] == [took * 1000 for took in lately[:SLOWEST]]


def test_what_is_over_is_forgotten_after_ten_minutes_even_when_nothing_comes() -> None:
    noted = Noted()
    keep(noted, 5.0, 1000.0)
    assert len(noted.slowest(1599.0)) == 1
    assert noted.slowest(1601.0) == []
    keep(noted, 0.1, 1000.0 + 3600)
    assert [each.took_ms for each in noted.slowest(4601.0)] == [100.0]


def test_nearly_all_requests_are_only_compared_and_memory_is_bounded() -> None:
    noted = Noted()
    asked = [keep(noted, 0.001 * (number % 100 + 1), 1000.0 + number * 0.01) for number in range(5000)]
    assert sum(asked) < 500
    for minute in range(40):
        for number in range(200):
            keep(noted, 1.0 + number, 2000.0 + minute * SLICE_S)
    assert sum(map(len, noted._slices)) <= 11 * SLOWEST


def test_of_the_failed_the_last_ones_are_kept() -> None:
    noted = Noted()
    for number in range(FAILED + 50):
        noted.failed(told(1.0, str(number)))
    assert [each.request for each in noted.failures()] == [str(number) for number in range(FAILED + 49, 49, -1)]


def test_an_answer_fits_into_a_line_whatever_texts_there_are() -> None:
    many = [told(1.0, "길" * 100, error="오" * 100) for _ in range(150)]
    found = {"ok": True, "slow": fitting(many), "failed": fitting(many)}
    assert 10 < len(found["slow"]) < 150  # type: ignore[arg-type]  # a list
    assert len(json.dumps(found)) < LINE_BYTES + 2048 < MAX_LINE
    assert len(fitting(many[:5])) == 5


async def framework(scope: Any, receive: Any, send: Any) -> None:
    match scope["path"]:
        case "/secret/full":
            raise Unavailable("a secret", code="TF-QUEUE-FULL")
        case "/secret/missing":
            raise NotFound("a secret")
        case "/secret/broken":
            scope["route"] = type("Route", (), {"path": "/things/{thing}"})()
            raise ValueError("a secret")
        case "/secret/events":
            start = {"status": 200, "headers": [(b"content-type", b"text/event-stream")]}
        case _:
            scope["endpoint"] = framework
            start = {"status": 201, "headers": []}
    await send({"type": "http.response.start", **start})
    await send({"type": "http.response.body", "body": b""})


def hot(request: Any, code: str) -> Response:
    return Response.text("secret")


def test_the_middleware_tells_routes_and_errors_and_never_a_path() -> None:
    runtime = FakeRuntime()
    runtime.clock = ManualClock(monotonic=5000.0)
    app = TenfoldASGI(framework, runtime, {"/go/{code}": hot})  # type: ignore[arg-type]  # the fake
    for path in ("full", "missing", "broken", "events", "made"):
        call(app, "POST", f"/secret/{path}")
    call(app, "SECRET", "/secret/made")
    call(app, "GET", "/go/secret")
    call(app, "GET", "/healthz")
    failed = [(each.route, each.method, each.status, each.error) for each in app.noted.failures()]
    assert failed == [
        ("/things/{thing}", "POST", 500, "ValueError"),
        ("app", "POST", 503, "TF-QUEUE-FULL"),
    ]
    assert app.noted.slowest(5000.0) == [], "with a clock that stands nothing took any time"


def test_slow_ones_are_told_with_their_route_streams_of_events_and_health_are_not() -> None:
    app = TenfoldASGI(framework, FakeRuntime(), {"/go/{code}": hot})  # type: ignore[arg-type]  # the fake
    for method, path in (("POST", "/secret/events"), ("SECRET", "/secret/made"), ("GET", "/go/secret")):
        call(app, method, path)
    call(app, "POST", "/secret/missing")
    call(app, "GET", "/healthz")
    slow = app.noted.slowest(app.runtime.clock.monotonic())
    assert sorted((each.route, each.method, each.status, each.error) for each in slow) == [
        ("/go/{code}", "GET", 200, ""),
        ("app", "POST", 404, NotFound.code),
        ("framework", "other", 201, ""),
    ]
    assert "secret" not in json.dumps(fitting(slow)).lower()


def test_a_loop_is_as_late_as_it_was_at_worst_in_the_last_second() -> None:
    late = Lateness(0.25)
    assert late.worst_s == 0
    late.woke(0.45)
    late.woke(0.24)
    late.woke(0.25)
    late.woke(0.3)
    assert late.worst_s == pytest.approx(0.2)
    late.woke(0.26)
    assert late.worst_s == pytest.approx(0.05)


def test_the_memory_of_a_process_is_known_where_the_system_tells_it() -> None:
    before = resident()
    kept = bytearray(64 << 20)
    kept[::4096] = b"x" * len(kept[::4096])
    assert resident() - before > 32 << 20
