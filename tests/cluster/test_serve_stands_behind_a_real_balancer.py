"""Real web processes behind a real HAProxy: what a service sees, and what its clients notice when one is replaced."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from haproxy import SECRET, Door, needs_haproxy
from keepalive import Tally, client
from webnode import APP, Service, service
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tenfold.core.secrets import Secrets
from tenfold.topology.map import Map

FRONT = """
import json, os
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

def sees(request):
    return JSONResponse({"client": request.client.host, "url": str(request.url), "headers": dict(request.headers)})

async def echo(websocket):
    await websocket.accept()
    await websocket.send_text(os.environ["TENFOLD_NODE"])
    while True:
        await websocket.send_text(await websocket.receive_text())

async def events(request):
    async def numbers():
        for number in range(int(request.headers.get("last-event-id", 0)) + 1, 10**6):
            yield f"data: {number}\\n\\n"
            await asyncio.sleep(0.02)
    return StreamingResponse(numbers(), media_type="text/event-stream")

inner = Starlette(routes=[Route("/sees", sees), Route("/events", events), WebSocketRoute("/echo", echo)])

async def front(scope, receive, send):
    to_inner = scope["type"] == "websocket" or scope["path"] in ("/sees", "/events")
    await (inner if to_inner else framework)(scope, receive, send)

app = TenfoldASGI(front, runtime, {"/go/{code}": hot}, {"/uploads/{name}": "20MB"})
"""


class Tier:
    """Web processes of a service, and HAProxy before them."""

    def __init__(self, running: Service, folder: Path) -> None:
        self.running = running
        self.door = Door(folder)

    @property
    def current(self) -> Map:
        """The map without the nodes that have no address."""
        nodes = tuple(node for node in self.running.now.nodes if node.address)
        return msgspec.structs.replace(self.running.now, nodes=nodes)

    def start(self) -> None:
        """One more web process, at a private address."""
        with socket.create_server(("127.0.0.1", 0)) as found:
            address = f"127.0.0.1:{found.getsockname()[1]}"
        self.running.set_node(f"web-{len(self.running.nodes) + 1}", address=address)
        self.running.start().until_ready()

    def replace(self, position: int) -> int:
        """Puts a new process in the place of one, as a deployment does; the exit code of the old one."""
        self.start()
        old = self.running.nodes[position]
        self.running.set_node(f"web-{position + 1}", traffic="off")
        assert old.ask("map", epoch=self.running.now.epoch)["ok"]
        self.door.follow(self.current)
        old.process.send_signal(signal.SIGTERM)
        code = old.exit_code()
        self.running.set_node(f"web-{position + 1}", address="")
        self.door.follow(self.current)
        return code


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[Tier]:
    (tmp_path / "ha").mkdir()
    with service(tmp_path, APP + FRONT, spec="[web]\ndrain_limit = '10s'\n") as running:
        Secrets(Path(running.now.state) / "secrets").save("door", SECRET)
        running.set_door("balancer")
        made = Tier(running, tmp_path / "ha")
        try:
            for _ in range(2):
                made.start()
            made.door.start(made.current)
            yield made
        finally:
            made.door.close()


def get(port: int, path: str, *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: example.com", "Connection: close", *headers, "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")[2]


@needs_haproxy
def test_a_service_sees_its_client_and_nothing_of_the_balancer(tier: Tier) -> None:
    lies = ("X-Forwarded-For: 1.2.3.4", "Forwarded: for=1.2.3.4", "X-Forwarded-Host: evil", "X_Real_IP: 1.2.3.4")
    seen = json.loads(get(tier.door.port, "/sees", *lies, "x-tenfold-door: guess", "X-Request-Id: mine"))
    assert seen["client"] == "127.0.0.1"
    assert seen["url"] == "http://example.com/sees"
    assert seen["headers"].pop("x-request-id") not in ("", "mine")
    assert {"host": "example.com"}.items() <= seen["headers"].items()
    assert set(seen["headers"]) <= {"host", "connection"}


@needs_haproxy
def test_metrics_are_not_shown_through_a_balancer(tier: Tier) -> None:
    assert b"tenfold_http" not in get(tier.door.port, "/metrics")


def post(port: int, path: str, size: int, *headers: str) -> tuple[int, bytes]:
    """Status and body of the answer to a body of that size, all of which is sent whatever comes back."""
    lines = [f"POST {path} HTTP/1.1", "Host: example.com", f"Content-Length: {size}", *headers, "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode() + bytes(size))
        answer = http.client.HTTPResponse(connection, method="POST")
        answer.begin()
        return answer.status, answer.read()


@needs_haproxy
def test_a_balancer_leaves_it_to_the_web_servers_how_large_a_body_may_be(tier: Tier) -> None:
    port, large, key = tier.door.port, 10_000_000, "Idempotency-Key: k"
    assert post(port, "/uploads/a", large) == (200, b"POST %d" % large)
    for path, headers, code in (
        ("/elsewhere", (), "TF-BODY"),
        ("/elsewhere", (key,), "TF-BODY"),
        ("/uploads/a", (key,), "TF-BODY-KEYED"),
    ):
        for _ in range(4):
            status, body = post(port, path, large, *headers)
            assert (status, json.loads(body)["code"]) == (413, code)
    assert post(port, "/uploads/a", 1_000_000, key) == (200, b"POST 1000000")


class Lasting(threading.Thread):
    """Sockets and event streams that come again when they were ended properly, and count when they were not."""

    def __init__(self, port: int, kind: str) -> None:
        super().__init__()
        self.port, self.kind = port, kind
        self.stop = threading.Event()
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                self.echo() if self.kind == "echo" else self.events()
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 0
                self.seen[str(code)] += 1
                if code != 1012:
                    self.wrong.append(repr(closed))
            except Exception as error:
                self.wrong.append(repr(error))

    def echo(self) -> None:
        with connect(f"ws://127.0.0.1:{self.port}/echo", open_timeout=10) as opened:
            opened.recv(10)
            while not self.stop.is_set():
                opened.send("x" * 50)
                assert opened.recv(10) == "x" * 50
                self.seen["answered"] += 1

    def events(self) -> None:
        last = self.seen["event"]
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(f"GET /events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {last}\r\n\r\n".encode())
            answer = b""
            while not answer.endswith(b"0\r\n\r\n") and not self.stop.is_set():
                received = connection.recv(65536)
                assert received, "cut off"
                answer += received
        numbers = [int(line[6:]) for line in answer.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b"data: ")]
        assert numbers == list(range(last + 1, last + 1 + len(numbers)))
        self.seen["event"] = numbers[-1] if numbers else last
        self.seen["ended"] += 1


async def under_load(tier: Tier, changes: int) -> Tally:
    tally, stop, port = Tally(), asyncio.Event(), tier.door.port
    kinds = [("/go/a", 0.0, True)] * 3 + [("/go/b", 0.0, False)] * 3 + [("/go/c", 1.0, True)] * 30
    kinds += [("/slow", 0.0, True)] * 4 + [("/stream", 0.0, True)] * 4
    clients = [
        asyncio.create_task(client(port, path, tally, stop, pause_s=pause_s, keep=keep))
        for path, pause_s, keep in kinds
    ]
    for change in range(changes):
        assert await asyncio.to_thread(tier.replace, change) == 0
    stop.set()
    await asyncio.gather(*clients)
    return tally


@needs_haproxy
def test_no_client_of_any_kind_notices_that_processes_are_replaced(tier: Tier) -> None:
    lasting = [Lasting(tier.door.port, kind) for kind in ("echo", "events") for _ in range(5)]
    for each in lasting:
        each.start()
    time.sleep(0.5)
    try:
        tally = asyncio.run(under_load(tier, 3))
    finally:
        for each in lasting:
            each.stop.set()
        for each in lasting:
            each.join()
    assert tally.failed == []
    assert [wrong for each in lasting for wrong in each.wrong] == []
    assert tally.answered > 300
    assert sum(each.seen["1012"] for each in lasting) >= 5, "WebSockets moved on"
    assert sum(each.seen["ended"] for each in lasting) >= 5 + 5, "event streams moved on"
    for node in tier.running.nodes:
        assert "Traceback" not in node.errors.read_text()
