"""WebSockets and event streams of a real web process: what they get, and how they end when a door closes."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from webnode import APP, Service, WebNode, service
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tenfold.core.secrets import Secrets
from tenfold.serve.websocket import REASON

LASTING = """
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route, WebSocketRoute
from tenfold.blocks.database.scope import current_scope
from tenfold.blocks.database.token import Position, Token

async def echo(websocket):
    if "writes" in websocket.query_params:
        current_scope().token = Token((("home", Position(1, 0, 0, 7)),))
    await websocket.accept()
    await websocket.send_json({
        "client": websocket.client.host, "url": str(websocket.url), "id": current_scope().request_id,
        "headers": dict(websocket.headers),
    })
    while True:
        message = await websocket.receive_text()
        if message == "slow":
            await asyncio.sleep(0.5)
        elif message == "stuck":
            await asyncio.sleep(60)
        elif message == "fail":
            raise ValueError("a secret of the service")
        await websocket.send_text(message)

async def pushes(websocket):
    await websocket.accept()
    while True:
        await websocket.send_text("news")
        await asyncio.sleep(0.01)

async def refuses(websocket):
    raise ValueError("a secret of the service")

async def away(websocket):
    raise Unavailable("The database is away.")

async def events(request):
    async def numbers():
        try:
            for number in range(int(request.headers.get("last-event-id", 0)) + 1, 10**6):
                yield f"id: {number}\\ndata: {number}\\n\\n"
                await asyncio.sleep(0.02)
        finally:
            print("the stream was closed", flush=True)
    return StreamingResponse(numbers(), media_type="text/event-stream")

inner = Starlette(routes=[
    WebSocketRoute("/echo", echo), WebSocketRoute("/pushes", pushes),
    WebSocketRoute("/refuses", refuses), WebSocketRoute("/away", away),
    Route("/events", events),
])

async def silent_events(scope, receive, send):
    if scope["type"] == "websocket" or scope["path"] != "/silent":
        return await (inner if scope["type"] == "websocket" or scope["path"] == "/events" else framework)(
            scope, receive, send)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    while (await receive())["type"] != "http.disconnect":
        pass
    await send({"type": "http.response.body", "body": b"too late", "more_body": True})
    print("it saw its client leave", flush=True)

app = TenfoldASGI(silent_events, runtime, {"/go/{code}": hot})
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path, APP + LASTING, spec="[web]\ndrain_limit = '10s'\n") as started:
        started.start().until_ready()
        yield started


@contextlib.contextmanager
def websocket(running: Service, path: str = "/echo", **more: object) -> Iterator[ClientConnection]:
    port = running.public.getsockname()[1]
    with connect(f"ws://127.0.0.1:{port}{path}", open_timeout=10, close_timeout=5, **more) as opened:  # type: ignore[arg-type]
        yield opened


def metric(running: Service, name: str) -> float:
    lines = running.get("/metrics").decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def until(condition: object, within_s: float = 8.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.01)


def test_a_websocket_is_spoken_with_and_counted(running: Service) -> None:
    headers = {"X-Forwarded-For": "1.2.3.4", "X-Request-Id": "mine"}
    with websocket(running, "/echo?a=1", additional_headers=headers) as opened:
        seen = json.loads(opened.recv(5))
        assert seen["client"] == "127.0.0.1"
        assert seen["headers"]["x-request-id"] == seen["id"] != "mine"
        assert "x-forwarded-for" not in seen["headers"]
        opened.send("hello")
        assert opened.recv(5) == "hello"
        status = running.nodes[0].ask("status")
        assert (status["websockets"], status["public_connections"]) == (1, 1)
        assert metric(running, "tenfold_websockets_open") == 1
    until(lambda: running.nodes[0].ask("status")["websockets"] == 0)
    until(lambda: metric(running, "tenfold_websockets_total") == 1)
    until(lambda: "/echo" in running.nodes[0].output.read_text())
    lines = [json.loads(line) for line in running.nodes[0].output.read_text().splitlines() if "/echo" in line]
    assert [(line["status"], line["id"]) for line in lines] == [(101, seen["id"])]
    assert "Exception" not in running.nodes[0].errors.read_text(), "a client that leaves is no error"


def test_what_the_handshake_wrote_comes_back_as_a_token(running: Service) -> None:
    with websocket(running, "/echo?writes=1") as opened:
        answered = opened.response.headers  # type: ignore[union-attr]
    assert answered["tf-token"]
    assert f"tf_token={answered['tf-token']}; Path=/; HttpOnly" in answered["set-cookie"]
    with websocket(running) as opened:
        assert "tf-token" not in opened.response.headers  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("path", "status", "code"), [("/refuses", 500, "TF-INTERNAL"), ("/away", 503, "TF-UNAVAILABLE")]
)
def test_a_handshake_that_fails_is_answered_with_a_problem(running: Service, path: str, status: int, code: str) -> None:
    with pytest.raises(InvalidStatus) as refused, websocket(running, path):
        pass
    answer = refused.value.response
    assert answer.status_code == status
    assert json.loads(answer.body or b"")["code"] == code
    assert b"secret" not in (answer.body or b"")
    if status == 503:
        assert answer.headers["retry-after"]


def test_an_error_in_the_middle_closes_with_1011_and_is_logged(running: Service) -> None:
    with websocket(running) as opened:
        opened.recv(5)
        opened.send("fail")
        with pytest.raises(ConnectionClosed) as closed:
            opened.recv(5)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1011, "TF-INTERNAL")
    assert "a secret of the service" in running.nodes[0].errors.read_text()


def test_a_message_beyond_the_body_limit_closes_with_1009(running: Service) -> None:
    with websocket(running, max_size=None) as opened:
        opened.recv(5)
        opened.send("x" * 1_000_000)
        assert len(opened.recv(5)) == 1_000_000
        opened.send("x" * 2_000_000)
        with pytest.raises(ConnectionClosed) as closed:
            opened.recv(5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


@pytest.mark.parametrize("head", [b"X-Long: %s\r\n" % (b"x" * 9000), b"Sec-WebSocket-Version: 12\r\n"])
def test_a_handshake_that_is_not_understood_is_answered_and_ends(running: Service, head: bytes) -> None:
    answer = running.send(
        b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + head + b"\r\n"
    )
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 431"))
    until(lambda: running.nodes[0].ask("status")["websockets"] == 0)


def close_public(running: Service, how: str) -> None:
    node = running.nodes[0]
    if how == "SIGTERM":
        node.process.send_signal(signal.SIGTERM)
    else:
        running.set_door("balancer")
        assert node.ask("map", epoch=running.now.epoch)["ok"]


@pytest.mark.parametrize("how", ["SIGTERM", "the map"])
def test_a_websocket_is_closed_with_1012_when_its_door_closes(running: Service, how: str) -> None:
    with websocket(running) as idle, websocket(running) as busy, websocket(running) as stuck:
        for opened in (idle, busy, stuck):
            opened.recv(5)
        busy.send("slow")
        stuck.send("stuck")
        time.sleep(0.1)
        began = time.monotonic()
        close_public(running, how)
        assert busy.recv(5) == "slow", "what its application was at is still answered"
        for opened in (idle, busy, stuck):
            with pytest.raises(ConnectionClosed) as closed:
                opened.recv(6)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        assert time.monotonic() - began < 5.0
    if how == "SIGTERM":
        assert running.nodes[0].exit_code() == 0
    else:
        until(lambda: running.nodes[0].ask("status")["public_connections"] == 0)
        assert running.nodes[0].ask("status")["ready"] is True


@pytest.mark.parametrize("who", ["server", "client"])
def test_the_end_of_a_socket_that_only_pushes_is_no_error(running: Service, who: str) -> None:
    node = running.nodes[0]
    with websocket(running, "/pushes") as opened:
        assert opened.recv(5) == "news"
        if who == "server":
            close_public(running, "the map")
            with pytest.raises(ConnectionClosed) as closed:
                list(iter(lambda: opened.recv(5), None))
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
    until(lambda: node.ask("status")["websockets"] == 0)
    until(lambda: "/pushes" in node.output.read_text())
    assert "Traceback" not in node.errors.read_text()


def test_the_server_waits_for_the_answer_to_its_close_frame(running: Service) -> None:
    node = running.nodes[0]
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as raw:
        raw.sendall(
            b"GET /pushes HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        received = raw.recv(65536)
        # Nobody reads these: a connection that is closed at once would be reset by the kernel.
        raw.sendall((b"\x81\xfe" + (5000).to_bytes(2, "big") + bytes(4) + b"x" * 5000) * 20)
        close_public(running, "the map")
        frame = b"\x88" + bytes([2 + len(REASON)]) + (1012).to_bytes(2, "big") + REASON.encode()
        while frame not in received:
            received += raw.recv(65536)
        time.sleep(0.2)  # the application pushes on, for it has not asked
        until(lambda: "/pushes" in node.output.read_text())
        raw.sendall(b"\x88\x82" + bytes(4) + (1012).to_bytes(2, "big"))
        received += b"".join(iter(lambda: raw.recv(65536), b""))
    assert received.endswith(frame), "nothing comes behind a close frame"
    assert "Traceback" not in node.errors.read_text()


def echoing(running: Service, stop: threading.Event, tally: dict[str, list[str]]) -> None:
    """Echoes on one socket after another; only an answer or a close frame with 1012 is right."""
    sent = 0
    while not stop.is_set():
        try:
            with websocket(running) as opened:
                opened.recv(10)
                while not stop.is_set():
                    sent += 1
                    opened.send(str(sent))
                    assert opened.recv(10) == str(sent)
                    tally["answered"].append("")
        except ConnectionClosed as closed:
            tally["closed" if closed.rcvd is not None and closed.rcvd.code == 1012 else "failed"].append(repr(closed))
        except Exception as error:
            tally["failed"].append(repr(error))


def test_busy_websockets_move_to_the_successor_and_none_is_cut(running: Service) -> None:
    stop, tally = threading.Event(), {"answered": [], "closed": [], "failed": []}
    threads = [threading.Thread(target=echoing, args=(running, stop, tally)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        old = running.nodes[-1]
        running.start().until_ready()
        old.process.send_signal(signal.SIGTERM)
        assert old.exit_code() == 0
    stop.set()
    for thread in threads:
        thread.join()
    assert tally["failed"] == []
    assert len(tally["closed"]) >= 12, "each one that the old process had was told to come again"
    assert len(tally["answered"]) > 100
    assert "Exception" not in running.nodes[0].errors.read_text()


def read_events(port: int, last: int) -> tuple[list[int], bool]:
    """The numbers of one event stream, and whether it ended properly."""
    request = f"GET /events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {last}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    numbers = [int(line[6:]) for line in answer.split(b"\n") if line.startswith(b"data: ")]
    return numbers, answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("how", ["SIGTERM", "the map"])
def test_an_event_stream_ends_properly_and_goes_on_elsewhere(running: Service, how: str) -> None:
    node, found = running.nodes[0], []
    reader = threading.Thread(target=lambda: found.append(read_events(node.port, 0)))
    reader.start()
    until(lambda: node.ask("status")["in_flight"] == 1)
    time.sleep(0.3)
    successor: WebNode = running.start().until_ready()
    close_public(running, how)
    reader.join(10)
    numbers, properly = found[0]
    assert properly, "with its last chunk, not cut off"
    assert numbers == list(range(1, len(numbers) + 1))
    until(lambda: "the stream was closed" in node.output.read_text())
    assert "Exception" not in node.errors.read_text()
    if how == "SIGTERM":
        assert node.exit_code() == 0
        threading.Timer(0.5, successor.process.send_signal, [signal.SIGTERM]).start()
        further, properly = read_events(node.port, numbers[-1])
        assert (further[0], properly) == (numbers[-1] + 1, True)


def test_an_event_stream_that_has_said_nothing_yet_ends_too(running: Service) -> None:
    node = running.nodes[0]
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as connection:
        connection.sendall(b"GET /silent HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"text/event-stream" in connection.recv(65536)
        close_public(running, "the map")
        assert connection.recv(65536) == b"0\r\n\r\n"
        assert connection.recv(1) == b""
    until(lambda: "it saw its client leave" in node.output.read_text())
    assert "Exception" not in node.errors.read_text()


def test_a_websocket_through_the_private_door_knows_its_client(running: Service) -> None:
    node = running.nodes[0]
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    known = Secrets(Path(running.now.state) / "secrets").ensure("door")
    running.set_node("web-1", address=f"127.0.0.1:{port}")
    assert node.ask("map", epoch=running.now.epoch)["ok"]
    url = f"ws://127.0.0.1:{port}/echo"
    with pytest.raises(InvalidStatus) as refused, connect(url):
        pass
    assert refused.value.response.status_code == 403
    said = {
        "x-tenfold-door": known,
        "X-Forwarded-For": "203.0.113.7",
        "X-Forwarded-Proto": "https",
        "X-Request-Id": "b1",
    }
    with connect(url, additional_headers=said) as opened:
        seen = json.loads(opened.recv(5))
        assert (seen["client"], seen["id"]) == ("203.0.113.7", "b1")
        assert seen["url"].startswith("wss://")
        assert {"x-tenfold-door", "x-forwarded-for"}.isdisjoint(seen["headers"])
        assert node.ask("status")["private_connections"] == 1
