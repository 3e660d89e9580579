"""The operations `numbers` and `told` of real processes over real blocks."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from webnode import WebNode, service
from workernode import a_map, worker

from tenfold.blocks.database.schema import apply_own
from tenfold.drivers.sqlite import open_writer
from tenfold.serve.told import NodeNumbers, Told

APP = """
import asyncio
from sqlalchemy import Column, bindparam, insert, select
from tenfold import Response, Retry, Tenfold, Text, sharded_by

tf = Tenfold("victim")
links = tf.table("links", Column("code", Text(16), primary_key=True), home=sharded_by("code"))
ADD, FIND = insert(links), select(links.c.code).where(links.c.code == bindparam("code"))

@tf.tasks.task(retry=Retry(max=1))
async def check(code: str) -> None:
    if code == "bad":
        raise ValueError("a secret")

@tf.database.transaction(key="code")
async def put(tx, code):
    await tx.run(ADD, code=code)
    await tf.tasks.enqueue(tx, check, code)

@tf.cache.read("link:{code}", ttl="1h")
async def find(code):
    async with tf.database.read(key=code) as db:
        return await db.scalar(FIND, code=code)

async def hot(request, code):
    return Response.text(str(await find(code)))

async def framework(scope, receive, send):
    if scope["path"] == "/fails":
        raise ValueError("a secret of the service")
    await put(scope["path"].removeprefix("/put/"))
    await send({"type": "http.response.start", "status": 201, "headers": []})
    await send({"type": "http.response.body", "body": b""})

app = tf.asgi(framework, {"/go/{code}": hot})
"""


def make_database(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with contextlib.closing(open_writer(path, create=True)) as made:
        apply_own(made, now_us=1)
        made.execute("CREATE TABLE links (code TEXT PRIMARY KEY NOT NULL, tf_bucket INTEGER NOT NULL) STRICT")


def numbers_of(node: Any) -> NodeNumbers:
    answer = node.ask("numbers")
    assert answer.pop("ok"), answer
    return msgspec.convert(answer, NodeNumbers)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.01)


def test_a_web_process_says_what_it_has_done_and_what_it_uses(tmp_path: Path) -> None:
    with service(tmp_path, APP) as running:
        make_database(Path(running.now.database.path))
        node: WebNode = running.start().until_ready()
        before = numbers_of(node)
        for path in ("/put/a", "/put/bad", "/go/a", "/go/a", "/go/a", "/fails", "/healthz", "/metrics"):
            running.get(path)
        until(lambda: (jobs := numbers_of(node).jobs) is not None and (jobs.done, jobs.failed) == (1, 1))
        after = numbers_of(node)
        assert (after.node, after.role, after.pid) == ("web-1", "web", node.process.pid)
        assert before.cpu_s < after.cpu_s < 60
        assert 10_000_000 < after.memory < 4_000_000_000
        assert after.http is not None
        assert (after.http.answered, after.http.failed, after.http.in_flight) == (6, 1, 0)
        assert sum(after.http.took.counts) == 6
        assert len(after.http.took.counts) == len(after.http.took.bounds_s) + 1
        assert after.http.took.sum_s > 0
        assert after.cache is not None
        assert (after.cache.hits, after.cache.misses, after.cache.loads, after.cache.entries) == (2, 1, 1, 1)
        assert 0.0 <= after.loop_late_s < 5.0
        database = after.database
        assert database is not None
        assert (sum(database.read_took.counts), sum(database.write_took.counts)) == (database.reads, database.writes)
        assert database.reads >= 1
        assert database.writes >= 2
        assert 0 < database.read_took.sum_s < 60
        assert (database.failed, database.held, database.held_total, database.pool) == (0, 0, 0, 0)


def test_it_tells_of_slow_and_failed_requests_where_their_time_went_and_nothing_of_clients(tmp_path: Path) -> None:
    with service(tmp_path, APP) as running:
        make_database(Path(running.now.database.path))
        node = running.start().until_ready()
        running.get("/go/secret-key")
        running.get("/go/secret-key")
        running.get("/put/secret-other")
        running.get("/fails")
        running.get("/readyz")
        answer = node.ask("told")
        slow, failed = ([msgspec.convert(each, Told) for each in answer[kind]] for kind in ("slow", "failed"))
        assert sorted((each.route, each.status) for each in slow) == [
            ("/go/{code}", 200), ("/go/{code}", 200), ("app", 201), ("app", 500),
        ]  # fmt: skip
        assert [each.took_ms for each in slow] == sorted((each.took_ms for each in slow), reverse=True)
        hit, load = sorted((each for each in slow if each.route != "app"), key=lambda each: each.spent.cache_loads)
        assert (hit.spent.cache_hits, hit.spent.database_calls, hit.spent.cache_loads) == (1, 0, 0)
        assert (load.spent.cache_hits, load.spent.database_calls, load.spent.cache_loads) == (0, 1, 1)
        assert 0 < load.spent.database_ms <= load.spent.cache_ms <= load.took_ms
        put = next(each for each in slow if each.status == 201)
        assert (put.method, put.node, put.error) == ("GET", "web-1", "")
        until(lambda: f'"id":"{put.request}"' in node.output.read_text())
        assert 0 < put.spent.database_ms <= put.took_ms
        assert [(each.status, each.error) for each in failed] == [(500, "ValueError")]
        assert "secret" not in json.dumps(answer)


def test_a_worker_says_what_it_has_done(tmp_path: Path) -> None:
    current = a_map(tmp_path)
    make_database(Path(current.database.path))
    with worker(tmp_path, APP, current) as made:
        made.until(ready=True)
        numbers = numbers_of(made)
        assert (numbers.node, numbers.role, numbers.pid, numbers.http) == ("worker-1", "worker", made.process.pid, None)
        assert numbers.jobs is not None
        assert numbers.memory > 10_000_000
