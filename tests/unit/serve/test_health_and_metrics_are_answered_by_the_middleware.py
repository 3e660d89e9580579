from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving import FakeRuntime, call

from tenfold.blocks.database import Holding
from tenfold.core.clock import ManualClock
from tenfold.core.errors import NotFound
from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.hot import Response


def a_map(**web: Any) -> Any:
    facts = {"access_log": True, "metrics": "loopback", "drain_limit_s": 30.0, "keep_alive_s": 60.0} | web
    return SimpleNamespace(
        epoch=1,
        database=SimpleNamespace(hold_s=25.0),
        public=SimpleNamespace(body_limit=100),
        web=SimpleNamespace(**facts),
    )


LABELS = ("route", "method", "status", "le")


def samples(exposition: bytes) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(sample.labels[key] for key in LABELS if key in sample.labels)): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
    }


def test_alive_and_ready_are_two_questions() -> None:
    runtime = FakeRuntime()
    app = TenfoldASGI(None, runtime)
    assert call(app, "GET", "/healthz").status == 200
    assert call(app, "GET", "/readyz").body == b'{"ready":true}'
    runtime.not_ready = "The schema is older than this process needs."
    assert call(app, "GET", "/healthz").status == 200
    answer = call(app, "HEAD", "/readyz")
    assert (answer.status, b"schema is older" in answer.body) == (503, True)
    runtime.not_ready = ""
    app.leaving = "The process is leaving."
    assert b"leaving" in call(app, "GET", "/readyz").body


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_a_loopback_peer_reads_the_metrics(peer: str) -> None:
    assert call(TenfoldASGI(None, FakeRuntime()), "GET", "/metrics", client=(peer, 1)).status == 200


@pytest.mark.parametrize(
    ("client", "headers"),
    [
        (("203.0.113.9", 1), []),
        (("::ffff:203.0.113.9", 1), []),
        (("testclient", 1), []),
        (None, []),
        (("127.0.0.1", 1), [("X-Forwarded-For", "203.0.113.9")]),
        (("127.0.0.1", 1), [("Forwarded", "for=203.0.113.9")]),
        (("127.0.0.1", 1), [("Via", "1.1 proxy")]),
    ],
)
def test_anybody_else_does_not(client: Any, headers: list[tuple[str, str]]) -> None:
    app = TenfoldASGI(None, FakeRuntime(), {"/{code}": lambda request, code: Response.text("a link named metrics")})
    answer = call(app, "GET", "/metrics", headers, client=client)
    assert (answer.status, answer.problem["code"]) == (404, "TF-NOT-FOUND")


def test_the_map_opens_and_closes_the_metrics_without_a_restart() -> None:
    app = TenfoldASGI(None, FakeRuntime(a_map(metrics="off")))
    local = {"client": ("127.0.0.1", 1)}
    assert call(app, "GET", "/metrics", **local).status == 404
    app.adopt(a_map(metrics="public"))
    assert call(app, "GET", "/metrics").status == 200
    assert call(app, "POST", "/x", [("Content-Length", "101")]).status == 413, "the body limit came with it"


def test_requests_are_counted_by_route_class_method_and_status_class() -> None:
    def hot(request: Any, code: str) -> Response:
        if code == "none":
            raise NotFound("No.")
        return Response(301)

    async def framework(scope: Any, receive: Any, send: Any) -> None:
        assert app.metrics.in_flight == 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app = TenfoldASGI(framework, FakeRuntime(), {"/{code}": hot})
    for path in ("/a", "/b", "/none"):
        call(app, "GET", path)
    call(app, "POST", "/a")
    call(app, "BREW", "/a")
    found = samples(app.metrics.exposition())
    name = "tenfold_http_requests_total"
    assert found[name, "/{code}", "GET", "3xx"] == 2
    assert found[name, "/{code}", "GET", "4xx"] == 1
    assert found[name, "app", "POST", "2xx"] == 1
    assert found[name, "app", "other", "2xx"] == 1
    assert found["tenfold_http_request_duration_seconds_bucket", "/{code}", "GET", "3xx", "+Inf"] == 2
    assert found[("tenfold_http_in_flight",)] == 0
    assert found[("process_resident_memory_bytes",)] > 1e6, "the process's own numbers are there too"
    assert app.metrics.total() == 5


def test_what_waits_now_and_what_has_ever_waited_are_two_numbers() -> None:
    app = TenfoldASGI(None, FakeRuntime())
    app.metrics.holding = Holding(now=2, total=5)
    lines = app.metrics.exposition().decode().splitlines()
    assert {"tenfold_database_held 2.0", "tenfold_database_held_total 5.0"} <= set(lines)


def test_durations_fall_into_cumulative_buckets() -> None:
    app = TenfoldASGI(None, FakeRuntime())
    for seconds in (0.0004, 0.0005, 0.003, 99.0):
        app.metrics.observe("app", "GET", 200, seconds)
    found = samples(app.metrics.exposition())
    name = "tenfold_http_request_duration_seconds_bucket"
    bounds = ("0.0005", "0.001", "0.0025", "0.005", "30.0", "+Inf")
    assert [found[name, "app", "GET", "2xx", bound] for bound in bounds] == [2, 2, 2, 3, 3, 4]


def test_the_time_to_answer_ends_with_the_answer_not_with_background_work() -> None:
    runtime = FakeRuntime()
    clock = runtime.clock = ManualClock()

    async def framework(scope: Any, receive: Any, send: Any) -> None:
        clock.advance(2.0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        clock.advance(100.0)

    app = TenfoldASGI(framework, runtime)
    call(app, "GET", "/a")
    assert samples(app.metrics.exposition())["tenfold_http_request_duration_seconds_sum", "app", "GET", "2xx"] == 2.0
