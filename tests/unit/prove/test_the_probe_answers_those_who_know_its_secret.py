"""The probe inside a service: what it answers, to whom, and what it refuses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tenfold import Probe, Response, Tenfold
from tenfold.core.clock import Clock, SystemClock
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.prove.probe.limits import ACCOUNTS, BALANCE, BODY_LIMIT, DRAWS
from tenfold.prove.probe.secret import probe_secret
from tenfold.testing import running

Body = Callable[[httpx.AsyncClient], Awaitable[None]]
HELLO = Response.text("the service")


async def service(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http", "a bare application speaks nothing else"
    await send({"type": "http.response.start", "status": HELLO.status, "headers": HELLO.headers})
    await send({"type": "http.response.body", "body": HELLO.body})


def probed(root: Path, body: Body, *, clock: Clock | None = None) -> None:
    """Runs `body` with a client of a service with a probe; the client knows the secret."""

    async def whole() -> None:
        tf = Tenfold("probed", clock=clock or SystemClock())
        async with running(tf.asgi(Probe(tf, service)), root / "state", root=root) as client:
            client.headers["tf-probe"] = probe_secret(root / "state", SYSTEM_RANDOMNESS)
            await body(client)

    asyncio.run(whole())


async def post(client: httpx.AsyncClient, path: str, value: Any, **headers: str) -> Any:
    answer = await client.post(f"/tf-probe/{path}", json=value, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def get(client: httpx.AsyncClient, path: str) -> Any:
    answer = await client.get(f"/tf-probe/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_without_its_secret_the_probe_is_not_there(tmp_path: Path):
    async def body(client: httpx.AsyncClient) -> None:
        secret = client.headers.pop("tf-probe")
        wrong: list[list[tuple[str, str | bytes]]] = [
            [],
            [("tf-probe", "")],
            [("tf-probe", "0" * 64)],
            [("tf-probe", secret[:-1])],
            [("tf-probe", b"\xff" * 64)],
            [("tf-probe", secret), ("tf-probe", secret)],
        ]
        for headers in wrong:
            for method, path in (("GET", "/tf-probe/"), ("POST", "/tf-probe/set/a"), ("GET", "/tf-probe/unknown")):
                answer = await client.request(method, path, headers=headers, json={"value": "x"})
                assert answer.status_code == 404, headers
                assert "TF-Node" not in answer.headers
        assert (await client.get("/tf-probe/", headers={"tf-probe": secret})).status_code == 200
        assert (await client.get("/elsewhere")).text == "the service"

    probed(tmp_path, body)


def test_sets_registers_counters_and_banks_keep_what_they_are_told(tmp_path: Path):
    async def body(client: httpx.AsyncClient) -> None:
        assert await get(client, "set/s") == {"values": []}
        for value in ("a", "b"):
            await post(client, "set/s", {"value": value})
        assert sorted((await get(client, "set/s"))["values"]) == ["a", "b"]
        assert await get(client, "register/r") == {"value": None, "version": 0}
        assert [await post(client, "register/r", {"value": value}) for value in "xy"] == [
            {"version": 1},
            {"version": 2},
        ]
        assert await get(client, "register/r") == {"value": "y", "version": 2}
        assert await get(client, "counter/c") == {"count": 0}
        await post(client, "counter/c", {"by": 2})
        assert await post(client, "counter/c", {"by": 3}) == {"count": 5}
        assert await get(client, "counter/c") == {"count": 5}
        assert await get(client, "bank/b") == {"balances": [BALANCE] * ACCOUNTS}
        await post(client, "bank/b", {"giver": 0, "taker": 7, "amount": 30})
        assert (await get(client, "bank/b"))["balances"] == [BALANCE - 30, *[BALANCE] * (ACCOUNTS - 2), BALANCE + 30]
        empty = await client.post("/tf-probe/bank/b", json={"giver": 0, "taker": 1, "amount": BALANCE})
        assert empty.status_code == 409

    probed(tmp_path, body)


def test_a_keyed_request_that_is_sent_twice_counts_once(tmp_path: Path):
    async def body(client: httpx.AsyncClient) -> None:
        answers = [await post(client, "counter/c", {"by": 1}, **{"idempotency-key": "k"}) for _ in range(3)]
        assert answers == [{"count": 1}] * 3
        drawn = [await post(client, "ids/uuid7", {"count": 4}, **{"idempotency-key": "i"}) for _ in range(2)]
        assert drawn[0] == drawn[1]

    probed(tmp_path, body)


def test_the_cache_answers_until_a_write_invalidates(tmp_path: Path):
    async def body(client: httpx.AsyncClient) -> None:
        await post(client, "register/r", {"value": "one"})
        origins = [(await get(client, "cache/r"))["from"] for _ in range(2)]
        assert origins == ["database", "cache"]
        await post(client, "register/r", {"value": "two"})
        assert await get(client, "cache/r") == {"value": "two", "version": 2, "from": "database"}

    probed(tmp_path, body)


def test_ids_of_each_kind_are_drawn_and_the_clock_of_the_process_can_be_put_off(tmp_path: Path):
    async def body(client: httpx.AsyncClient) -> None:
        for kind in ("uuid7", "snowflake", "sequence"):
            drawn = (await post(client, f"ids/{kind}", {"count": 50}))["ids"]
            assert drawn == sorted(set(drawn))
            assert len(drawn) == 50
        assert await get(client, "clock") == {"offset_s": 0.0, "node": ""}
        elsewhere = await post(client, "clock", {"offset_s": -5.5, "node": "web-9"})
        assert elsewhere == {"offset_s": 0.0, "node": ""}, "it was meant for another process"
        assert (await post(client, "clock", {"offset_s": -5.5}))["offset_s"] == -5.5
        refused = await client.post("/tf-probe/ids/snowflake", json={"count": 1})
        assert (refused.status_code, refused.json()["code"]) == (503, "TF-IDS-CLOCK")
        assert (await post(client, "clock", {"offset_s": 0}))["offset_s"] == 0.0
        await post(client, "ids/snowflake", {"count": 1})

    probed(tmp_path, body)


def test_answers_wait_when_they_are_asked_to_and_a_late_one_counts_before_it_waits(tmp_path: Path):
    async def body(client: httpx.AsyncClient) -> None:
        began = time.monotonic()
        assert await get(client, "wait/60") == {"waited_ms": 60}
        late = asyncio.create_task(post(client, "late/c", {"by": 1, "wait_ms": 300}, **{"idempotency-key": "k"}))
        while (await get(client, "counter/c"))["count"] == 0:
            await asyncio.sleep(0)
        assert not late.done(), "it has counted and has not answered yet"
        again = await post(client, "late/c", {"by": 1, "wait_ms": 300}, **{"idempotency-key": "k"})
        assert again == await late == {"count": 1}, "the same request again, as after a kill"
        assert time.monotonic() - began >= 0.36
        for path in ("wait/x", "wait/-1", "wait/9" + "9" * 30):
            assert (await client.get(f"/tf-probe/{path}")).status_code in (400, 404)

    probed(tmp_path, body)


def test_answers_name_their_node_and_carry_the_token_of_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.post("/tf-probe/register/r", json={"value": "x"})
        assert answer.headers["tf-node"] == "web-7"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["tf-token"]

    monkeypatch.setenv("TENFOLD_NODE", "web-7")
    probed(tmp_path, body)


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("set/s", b"", 400),
        ("set/s", b"[]", 400),
        ("set/s", b'{"value": 7}', 400),
        ("set/s", b'{"value": "x", "more": 1}', 400),
        ("set/s", b'{"value": "\xff"}', 400),
        ("set/s", b"[" * 4000, 400),
        ("set/s", b'{"value": ""}', 400),
        ("set/s", b'{"value": "a b"}', 400),
        ("set/s", b'{"value": "' + b"x" * 65 + b'"}', 400),
        ("set/s", b" " * (BODY_LIMIT + 1), 413),
        ("set/" + "k" * 65, b'{"value": "x"}', 404),
        ("set/%2e%2e%2fx", b'{"value": "x"}', 404),
        ("set/a/b", b'{"value": "x"}', 404),
        ("unknown/k", b"{}", 404),
        ("counter/c", b'{"by": 0}', 400),
        ("counter/c", b'{"by": 1e99}', 400),
        ("bank/b", b'{"giver": 0, "taker": 0, "amount": 1}', 400),
        ("bank/b", b'{"giver": 0, "taker": 99, "amount": 1}', 400),
        ("bank/b", b'{"giver": 0, "taker": 1, "amount": -1}', 400),
        ("ids/uuid7", b'{"count": %d}' % (DRAWS + 1), 400),
        ("ids/uuid9", b'{"count": 1}', 404),
        ("clock", b'{"offset_s": 1e9}', 400),
        ("clock", b"{}", 400),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(tmp_path: Path, path: str, content: bytes, status: int):
    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.post(f"/tf-probe/{path}", content=content)
        assert answer.status_code == status, answer.text
        assert answer.json()["detail"]
        assert await get(client, "set/s") == {"values": []}
        assert await get(client, "counter/c") == {"count": 0}
        assert await get(client, "bank/b") == {"balances": [BALANCE] * ACCOUNTS}

    probed(tmp_path, body)
