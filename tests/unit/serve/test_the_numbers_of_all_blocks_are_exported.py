from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client import CollectorRegistry, Gauge, Summary
from prometheus_client.parser import text_string_to_metric_families
from serving import FakeRuntime, call

from tenfold.blocks.database import Holding
from tenfold.blocks.metrics import Number
from tenfold.core.clock import ManualClock
from tenfold.core.gauge import GAUGE
from tenfold.core.spread import Spread
from tenfold.serve import otlp
from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.families import SAMPLES_MAX, gathered, of_numbers, of_stats
from tenfold.serve.push import Push
from tenfold.service import Tenfold

LOCAL = {"client": ("127.0.0.1", 1)}


@dataclass(frozen=True)
class One:
    name: str
    delivered: int
    oldest_s: float = field(default=0.0, metadata=GAUGE)


@dataclass(frozen=True)
class Stats:
    finished: int = 5
    running: int = field(default=2, metadata=GAUGE)
    here: bool = True
    longest_s: float = 0.25
    seen_total: int = 7
    note: str = "left out"
    nothing: None = None
    by_queue: dict[str, int] = field(default_factory=lambda: {"default": 3, 'odd"\n': 4})
    queues: dict[str, dict[str, int]] = field(default_factory=lambda: {"default": {"dead": 1}})
    by_key: dict[str, One] = field(default_factory=lambda: {"link:{code}": One("x", 9)})
    seen: int = field(default=1, metadata=GAUGE)
    took_s: Spread = field(default_factory=lambda: Spread((0.1, 0.5), (2, 1, 1), 9.5))
    subscribers: tuple[One, ...] = (One("stats", 6, 1.5), One("list", 8))


def found(stats: object) -> dict[tuple[str, str], list[tuple[object, ...]]]:
    return {
        (family.name, family.kind): [each if each.spread else each[:2] for each in family.samples]
        for family in of_stats("jobs", stats)
    }


def test_each_number_of_a_dataclass_is_a_family() -> None:
    assert found(Stats()) == {
        ("tenfold_jobs_finished", "counter"): [((), 5.0)],
        ("tenfold_jobs_running", "gauge"): [((), 2.0)],
        ("tenfold_jobs_here", "gauge"): [((), 1.0)],
        ("tenfold_jobs_longest_seconds", "counter"): [((), 0.25)],
        ("tenfold_jobs_seen", "counter"): [((), 7.0)],
        ("tenfold_jobs_seen", "gauge"): [((), 1.0)],
        ("tenfold_jobs_took_seconds", "histogram"): [((), 9.5, Spread((0.1, 0.5), (2, 1, 1), 9.5))],
        ("tenfold_jobs_by_queue", "counter"): [((("queue", "default"),), 3.0), ((("queue", 'odd"\n'),), 4.0)],
        ("tenfold_jobs_queues", "counter"): [((("queues", "default"), ("of", "dead")), 1.0)],
        ("tenfold_jobs_by_key_delivered", "counter"): [((("key", "link:{code}"),), 9.0)],
        ("tenfold_jobs_by_key_oldest_seconds", "gauge"): [((("key", "link:{code}"),), 0.0)],
        ("tenfold_jobs_subscribers_delivered", "counter"): [((("name", "stats"),), 6.0), ((("name", "list"),), 8.0)],
        ("tenfold_jobs_subscribers_oldest_seconds", "gauge"): [
            ((("name", "stats"),), 1.5), ((("name", "list"),), 0.0),
        ],
    }  # fmt: skip


@pytest.mark.parametrize("stats", [None, 5, "text", object(), Stats, {}])
def test_what_is_no_dataclass_has_no_numbers(stats: object) -> None:
    assert of_stats("jobs", stats) == []


def test_a_dict_that_grows_with_users_does_not_fill_the_page() -> None:
    @dataclass(frozen=True)
    class Grown:
        by_user: dict[str, int]

    (family,) = of_stats("x", Grown({str(number): 1 for number in range(10_000)}))
    assert len(family.samples) == SAMPLES_MAX


def test_business_numbers_keep_their_labels_and_say_what_they_are() -> None:
    labels = (("plan", "free"),)
    families = of_numbers(
        [
            Number("links", "count", "", "Links made.", labels, 3),
            Number("revenue", "sum", "eur", "", (), Decimal("-9.90")),
            Number("active", "unique", "", "", (), 7),
            Number("returning", "visits", "", "", (), 2),
        ]
    )
    assert [(each.name, each.kind, each.unit, each.samples[0].value) for each in families] == [
        ("tenfold_service_links", "counter", "", 3.0),
        ("tenfold_service_revenue_sum", "gauge", "eur", -9.9),
        ("tenfold_service_active_today", "gauge", "", 7.0),
        ("tenfold_service_returning", "counter", "", 2.0),
    ]
    assert (families[0].text, families[0].samples[0].labels) == ("Links made.", labels)


def failing() -> object:
    raise RuntimeError("no")


def test_a_block_whose_numbers_fail_costs_its_own_only() -> None:
    assert [each.name for each in gathered({"a": failing, "b": lambda: One("x", 1)})] == [
        "tenfold_b_delivered",
        "tenfold_b_oldest_seconds",
    ]


def served() -> TenfoldASGI:
    runtime = FakeRuntime()
    runtime.counted = {"jobs": Stats, "broken": failing}
    app = TenfoldASGI(None, runtime)
    app.metrics.observe("app", "GET", 200, 0.003)
    app.metrics.observe("app", "GET", 200, 99.0)
    return app


def test_the_page_has_the_blocks_numbers_and_is_what_prometheus_reads() -> None:
    body = call(served(), "GET", "/metrics", **LOCAL).body.decode()
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }
    assert samples["tenfold_jobs_finished_total",] == 5
    assert samples["tenfold_jobs_running",] == 2
    assert samples["tenfold_jobs_by_queue_total", 'odd"\n'] == 4
    assert (samples["tenfold_jobs_seen",], samples["tenfold_jobs_seen_total",]) == (1, 7)
    assert samples["tenfold_jobs_took_seconds_bucket", "0.5"] == 3
    assert (samples["tenfold_jobs_took_seconds_count",], samples["tenfold_jobs_took_seconds_sum",]) == (4, 9.5)
    assert samples["tenfold_http_requests_total", "GET", "app", "2xx"] == 2
    assert ("process_resident_memory_bytes",) in samples


@pytest.mark.parametrize(
    ("headers", "query", "is_otlp"),
    [
        ([], b"", False),
        ([], b"format=otlp", True),
        ([], b"a=b&format=otlp", True),
        ([], b"format=text", False),
        ([], b"format=otlp2", False),
        ([("Accept", "application/json")], b"", True),
        ([("Accept", "Application/JSON; charset=utf-8")], b"", True),
        ([("Accept", "*/*")], b"", False),
        ([("Accept", "application/openmetrics-text;version=1.0.0,text/plain")], b"", False),
        ([("Accept", "text/html,application/json")], b"", False),
    ],
)
def test_who_asks_for_json_gets_opentelemetrys(headers: list[tuple[str, str]], query: bytes, is_otlp: bool) -> None:
    answer = call(served(), "GET", "/metrics", headers, query_string=query, **LOCAL)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json" if is_otlp else "text/plain")


def test_the_json_is_refused_to_strangers_too() -> None:
    assert call(served(), "GET", "/metrics", query_string=b"format=otlp").status == 404


def parsed(body: bytes) -> Any:
    """The request as the protocol's own definition reads it; unknown fields and wrong types are errors."""
    return json_format.Parse(body, ExportMetricsServiceRequest(), ignore_unknown_fields=False)


def test_the_json_is_an_export_request_of_opentelemetry() -> None:
    body = call(served(), "GET", "/metrics", query_string=b"format=otlp", **LOCAL).body
    (resource,) = parsed(body).resource_metrics
    attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert attributes["service.name"] == "fake"
    assert attributes["service.instance.id"]
    (scope,) = resource.scope_metrics
    assert scope.scope.name == "tenfold"
    metrics = {metric.name: metric for metric in scope.metrics}
    finished = metrics["tenfold_jobs_finished"].sum
    assert finished.is_monotonic
    assert finished.aggregation_temporality == 2, "cumulative"
    assert finished.data_points[0].as_double == 5
    assert 0 < finished.data_points[0].start_time_unix_nano <= finished.data_points[0].time_unix_nano
    assert metrics["tenfold_jobs_running"].gauge.data_points[0].as_double == 2
    (durations,) = metrics["tenfold_http_request_duration_seconds"].histogram.data_points
    assert (durations.count, durations.sum) == (2, 99.003)
    assert len(durations.bucket_counts) == len(durations.explicit_bounds) + 1
    assert (sum(durations.bucket_counts), durations.bucket_counts[-1]) == (2, 1)
    assert {each.key: each.value.string_value for each in durations.attributes} == {
        "route": "app", "method": "GET", "status": "2xx",
    }  # fmt: skip
    assert "process_resident_memory_bytes" in metrics
    (took,) = metrics["tenfold_jobs_took_seconds"].histogram.data_points
    assert (list(took.bucket_counts), list(took.explicit_bounds), took.sum) == ([2, 1, 1], [0.1, 0.5], 9.5)


def test_what_waits_and_what_has_ever_waited_have_names_of_their_own_in_the_json() -> None:
    app = served()
    app.runtime.holding = Holding(now=2, total=5)  # type: ignore[misc]  # the fake's
    (resource,) = parsed(call(app, "GET", "/metrics", query_string=b"format=otlp", **LOCAL).body).resource_metrics
    names = [metric.name for metric in resource.scope_metrics[0].metrics]
    assert len(names) == len(set(names))
    metrics = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    assert metrics["tenfold_database_held"].gauge.data_points[0].as_double == 2
    assert metrics["tenfold_database_held_total"].sum.data_points[0].as_double == 5
    assert metrics["tenfold_jobs_seen_total"].sum.data_points[0].as_double == 7
    assert metrics["tenfold_jobs_finished"].sum.data_points[0].as_double == 5, "nobody else is called so"


def test_numbers_that_json_has_no_word_for_and_summaries_are_said_too() -> None:
    registry = CollectorRegistry()
    for name, value in (("nan", math.nan), ("up", math.inf), ("down", -math.inf)):
        Gauge(name, "A gauge.", registry=registry).set(value)
    Summary("took", "A summary.", registry=registry).observe(2.5)
    body = otlp.request(registry.collect(), otlp.Resource("shop", "web-1", "1", 1), 2)
    json.loads(body)
    metrics = {metric.name: metric for metric in parsed(body).resource_metrics[0].scope_metrics[0].metrics}
    assert math.isnan(metrics["nan"].gauge.data_points[0].as_double)
    assert metrics["up"].gauge.data_points[0].as_double == math.inf
    assert metrics["down"].gauge.data_points[0].as_double == -math.inf
    assert (metrics["took"].summary.data_points[0].count, metrics["took"].summary.data_points[0].sum) == (1, 2.5)


def test_one_name_is_there_once_whoever_uses_it() -> None:
    app = served()
    app.runtime.counted["http"] = lambda: Http(99)  # type: ignore[attr-defined]  # the fake's
    body = call(app, "GET", "/metrics", **LOCAL).body
    assert body.count(b"# TYPE tenfold_http_in_flight ") == 1
    assert b"tenfold_http_in_flight 99.0" not in body


@dataclass(frozen=True)
class Http:
    in_flight: int = field(metadata=GAUGE)


def test_every_block_of_a_service_is_there() -> None:
    tf = Tenfold("shop", clock=ManualClock())
    for name in ("links", "flushes", "lines"):
        tf.metrics.count(name, labels=("plan",)).add(plan="free")
    names = [family.name for family in gathered(tf.collectors())]
    for block in ("cache", "tasks", "events", "sessions", "kv", "files", "metrics", "log"):
        assert any(name.startswith(f"tenfold_{block}_") for name in names), block
    assert len(names) == len(set(names))


class Collector:
    """Takes what is pushed, and answers as it is told."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}") -> None:
        self.answer = answer
        self.bodies: list[bytes] = []
        self.came = asyncio.Event()

    async def __aenter__(self) -> Collector:
        self.server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/v1/metrics"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert head.startswith("post /v1/metrics http/1.1\r\n")
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        self.bodies.append(await reader.readexactly(length))
        self.came.set()
        writer.write(self.answer)
        writer.close()


def pushed(app: TenfoldASGI, address: str, every_s: float = 0.01) -> Push:
    return Push(lambda: (address, every_s), app.numbers.otlp, app.runtime.randomness)


def test_numbers_are_pushed_and_once_more_at_the_end() -> None:
    async def run() -> None:
        async with Collector() as collector:
            push = pushed(served(), collector.address)
            await push.start()
            async with asyncio.timeout(5):
                await collector.came.wait()
                while not push.sent:
                    await asyncio.sleep(0.005)
            before = len(collector.bodies)
            await push.stop()
            assert len(collector.bodies) > before
            assert push.refused <= 1, "one may have been cut by the stop"
            assert b"tenfold_jobs_finished" in collector.bodies[-1]
            parsed(collector.bodies[-1])

    asyncio.run(run())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 503 No\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 many\r\n\r\n",
        b"x" * 100_000,
        b"\r\n",
        b"HTTP/1.1\r\n",
    ],
)
def test_a_collector_that_answers_nonsense_costs_nothing(answer: bytes) -> None:
    async def run() -> None:
        async with Collector(answer) as collector:
            push = pushed(served(), collector.address)
            await push.send(1.0)
            assert (push.sent, push.refused) == (0, 1)

    asyncio.run(run())


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/v1/metrics", "http://no.such.host.invalid/", "http://[/", "https://127.0.0.1:1/"]
)
def test_a_collector_that_is_not_there_costs_nothing(address: str) -> None:
    async def run() -> None:
        push = pushed(served(), address)
        await push.send(2.0)
        assert (push.sent, push.refused) == (0, 1)

    asyncio.run(run())


def test_a_collector_that_never_answers_is_given_up() -> None:
    async def run() -> None:
        release = asyncio.Event()

        async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.close()

        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        push = pushed(served(), f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        await push.send(0.05)
        assert push.refused == 1
        release.set()
        server.close()

    asyncio.run(run())


def test_without_an_address_nothing_is_sent() -> None:
    async def run() -> None:
        push = pushed(served(), "")
        await push.send(1.0)
        await push.start()
        await push.stop()
        assert (push.sent, push.refused) == (0, 0)

    asyncio.run(run())
