"""The public and the private door of a real web process, opened and closed by maps while clients use them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from keepalive import Tally, client
from webnode import APP, Service, WebNode, service

from tenfold.core.secrets import Secrets

SEES = """
async def sees(scope, receive, send):
    if scope["path"] != "/sees":
        return await framework(scope, receive, send)
    import json
    seen = {
        "client": scope["client"][0], "scheme": scope["scheme"], "server": scope["server"],
        "headers": {name.decode(): value.decode() for name, value in scope["headers"]},
    }
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(seen).encode()})

app = TenfoldASGI(sees, runtime, {"/go/{code}": hot})
"""
BALANCER = (
    "X-Forwarded-For: 203.0.113.7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Port: 8443",
    "X-Request-Id: by-balancer",
)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path, APP + SEES, spec="[web]\ndrain_limit = '10s'\n") as started:
        yield started


def secret(running: Service) -> str:
    return Secrets(Path(running.now.state) / "secrets").ensure("door")


def push(running: Service, node: WebNode) -> dict[str, object]:
    return node.ask("map", epoch=running.now.epoch)


def with_address(running: Service, node: WebNode, name: str = "web-1") -> int:
    port = free_port()
    secret(running)
    running.set_node(name, address=f"127.0.0.1:{port}")
    assert push(running, node)["ok"]
    return port


def ask(port: int, path: str, *headers: str) -> tuple[int, bytes]:
    """Status and body of one request on a connection of its own."""
    lines = [f"GET {path} HTTP/1.1", "Host: example.com", "Connection: close", *headers, "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"chunked" in head:
        body = body.split(b"\r\n")[1]
    return int(head.split()[1]), body


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_the_acknowledgement_of_a_map_means_that_the_private_door_is_open(running: Service) -> None:
    node = running.start().until_ready()
    port = with_address(running, node)
    status = node.ask("status")
    assert status["doors"] == {"public": True, "private": True}
    assert status["address"] == f"127.0.0.1:{port}"
    assert ask(port, "/go/a", f"x-tenfold-door: {secret(running)}")[0] == 301
    running.set_node("web-1", address="")
    assert push(running, node)["ok"]
    assert refused(port)
    assert node.ask("status")["doors"] == {"public": True, "private": False}


def test_who_does_not_know_the_secret_gets_403_on_the_private_door(running: Service) -> None:
    node = running.start().until_ready()
    port = with_address(running, node)
    known = secret(running)
    wrong = (["x-tenfold-door: wrong"], ["x-tenfold-door: "], [f"X_Tenfold_Door: {known}"], [f"cookie: {known}"])
    for said in ([], *wrong, [f"x-tenfold-door: {known}"] * 2):
        for path in ("/go/a", "/readyz", "/healthz", "/metrics", "/slow", "/unknown"):
            status, body = ask(port, path, *said)
            assert status == 403
            assert json.loads(body)["detail"] == "This is a private address."
    assert node.ask("status")["requests"] == 0, "the service was not asked"


def test_a_service_sees_the_same_through_a_balancer_and_without_one(running: Service) -> None:
    node = running.start().until_ready()
    port = with_address(running, node)
    through = json.loads(ask(port, "/sees", f"x-tenfold-door: {secret(running)}", *BALANCER)[1])
    direct = json.loads(ask(node.port, "/sees", "x-tenfold-door: guess", *BALANCER)[1])
    assert (through["client"], through["scheme"], through["server"]) == ("203.0.113.7", "https", ["127.0.0.1", 8443])
    assert (direct["client"], direct["scheme"]) == ("127.0.0.1", "http"), "a client cannot say that it is another"
    assert through["headers"].pop("x-request-id") == "by-balancer"
    assert direct["headers"].pop("x-request-id") != "by-balancer"
    assert through["headers"] == direct["headers"] == {"host": "example.com", "connection": "close"}


def test_no_spelling_of_a_forwarding_header_reaches_the_service(running: Service) -> None:
    node = running.start().until_ready()
    port = with_address(running, node)
    for header in ("X_Forwarded_For: 1.2.3.4", "Forwarded: for=1.2.3.4", "X-REAL-IP: 1.2.3.4", "X-Forwarded-Any: 1"):
        for where, more in ((node.port, ""), (port, f"\r\nx-tenfold-door: {secret(running)}")):
            seen = json.loads(ask(where, "/sees", header + more)[1])
            assert seen["client"] == "127.0.0.1"
            assert set(seen["headers"]) == {"host", "connection", "x-request-id"}


def test_metrics_are_not_for_who_comes_through_a_proxy(running: Service) -> None:
    node = running.start().until_ready()
    port = with_address(running, node)
    known = f"x-tenfold-door: {secret(running)}"
    assert ask(node.port, "/metrics")[0] == 200
    assert ask(node.port, "/metrics", "X-Forwarded-For: 1.2.3.4")[0] == 404
    assert ask(port, "/metrics", known, "X-Forwarded-For: 127.0.0.1")[0] == 404
    assert ask(port, "/metrics", known)[0] == 200, "who knows the secret and speaks for nobody is on this machine"


def test_a_private_door_without_a_secret_is_not_opened_and_says_why(running: Service) -> None:
    node = running.start().until_ready()
    port = free_port()
    running.set_node("web-1", address=f"127.0.0.1:{port}")
    answer = push(running, node)
    assert "the balancers' secret is not in" in answer["error"]["message"]  # type: ignore[index]
    assert refused(port)
    assert node.ask("status")["ready"] is False
    assert ask(node.port, "/go/a")[0] == 301, "the public door is open all the same"
    secret(running)
    assert push(running, node)["ok"], "it is tried again"
    assert node.ask("status")["ready"] is True


def test_an_address_that_is_taken_is_opened_as_soon_as_it_is_free(running: Service) -> None:
    secret(running)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        running.set_node("web-1", address=address)
        node = running.start()
        deadline = time.monotonic() + 20
        while not (reason := _reason(node)).startswith("The private address") and time.monotonic() < deadline:
            time.sleep(0.02)
        assert f"{address} cannot be opened: Address already in use" in reason
        assert ask(node.port, "/go/a")[0] == 301
    node.until_ready()
    assert ask(int(address.partition(":")[2]), "/go/a", f"x-tenfold-door: {secret(running)}")[0] == 301


def _reason(node: WebNode) -> str:
    with contextlib.suppress(OSError):
        return str(node.ask("status")["reason"])
    return ""


def test_a_process_without_traffic_does_not_accept_until_the_map_says_so(running: Service) -> None:
    running.set_node("web-1", traffic="off")
    node = running.start().until_ready()
    assert node.ask("status")["doors"]["public"] is False
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as waiting:
        waiting.sendall(b"GET /go/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        waiting.settimeout(0.5)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        running.set_node("web-1", traffic="on")
        assert push(running, node)["ok"]
        waiting.settimeout(10)
        assert waiting.recv(65536).startswith(b"HTTP/1.1 301 ")


def test_a_node_that_the_map_does_not_name_accepts_nothing(running: Service) -> None:
    others = tuple(each for each in running.now.nodes if each.name != "web-1")
    running.publish(msgspec.structs.replace(running.now, nodes=others))
    node = running.start().until_ready()
    assert node.ask("status")["doors"] == {"public": False, "private": False}


def test_closing_the_public_door_leaves_the_private_one_and_the_process_alone(running: Service) -> None:
    node = running.start().until_ready()
    port = with_address(running, node)
    known = f"x-tenfold-door: {secret(running)}\r\n".encode()
    with (
        socket.create_connection(("127.0.0.1", node.port), timeout=10) as public,
        socket.create_connection(("127.0.0.1", port), timeout=10) as private,
    ):
        for connection in (public, private):
            connection.sendall(b"GET /go/a HTTP/1.1\r\nHost: x\r\n" + known + b"\r\n")
            assert b"connection: close" not in connection.recv(65536)
        running.set_door("balancer")
        assert push(running, node)["ok"]
        status = node.ask("status")
        assert (status["public_connections"], status["private_connections"]) == (1, 1)
        assert (status["draining"], status["ready"]) == (False, True), "it is not leaving"
        for connection, ends in ((public, True), (private, False)):
            connection.sendall(b"GET /go/b HTTP/1.1\r\nHost: x\r\n" + known + b"\r\n")
            assert (b"connection: close" in connection.recv(65536)) is ends
        assert public.recv(1) == b""
    with node.listener_back() as returned:
        assert returned.getsockname()[1] == node.port, "the socket itself is still there to be handed back"


def test_an_idle_private_connection_does_not_hold_a_process_that_leaves(running: Service) -> None:
    node = running.start().until_ready()
    port = with_address(running, node)
    known = f"x-tenfold-door: {secret(running)}\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as private:
        private.sendall(b"GET /go/a HTTP/1.1\r\nHost: x\r\n" + known + b"\r\n")
        private.recv(65536)
        began = time.monotonic()
        node.process.send_signal(signal.SIGTERM)
        assert private.recv(1) == b""
        assert 0.2 < time.monotonic() - began < 3.0, "a quarter of a second, on a machine that is not busy"
        assert node.exit_code() == 0


async def opening_and_closing(running: Service, node: WebNode, rounds: int) -> Tally:
    """Clients of all kinds while the door is closed and opened again; nobody else accepts in between."""
    tally, stop = Tally(), asyncio.Event()
    kinds = [("/go/a", 0.0, True)] * 4 + [("/go/b", 0.0, False)] * 4 + [("/go/c", 1.0, True)] * 40
    kinds += [("/slow", 0.0, True)] * 4 + [("/stream", 0.0, True)] * 4
    clients = [
        asyncio.create_task(client(node.port, path, tally, stop, pause_s=pause_s, keep=keep))
        for path, pause_s, keep in kinds
    ]
    for _ in range(rounds):
        for door in ("balancer", "web"):
            await asyncio.sleep(0.7)
            running.set_door(door)
            assert (await asyncio.to_thread(push, running, node))["ok"]
    stop.set()
    await asyncio.gather(*clients)
    return tally


def test_a_door_that_closes_and_opens_under_load_fails_nobody(running: Service) -> None:
    node = running.start().until_ready()
    tally = asyncio.run(opening_and_closing(running, node, 4))
    assert tally.failed == []
    assert tally.answered > 500


def test_a_process_runs_the_code_of_its_version(running: Service, tmp_path: Path) -> None:
    folder = Path(running.now.code_of("v7"))
    folder.mkdir(parents=True)
    (folder / "victim_app.py").write_text(APP.replace("example.com/", "example.com/v7/"))
    running.set_node("web-2", version="v7")
    nodes = [running.start().until_ready(), running.start().until_ready()]
    assert [node.ask("status")["version"] for node in nodes] == ["", "v7"]
    running.set_node("web-1", traffic="off")
    assert push(running, nodes[0])["ok"]
    assert b"https://example.com/v7/a" in running.get("/go/a")
