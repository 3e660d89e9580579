"""A web process leaves under load, and no client notices: busy, idle, slow and connecting ones."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from keepalive import Tally, client
from webnode import Service, WebNode, service


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path, spec="[web]\ndrain_limit = '10s'\n") as started:
        started.start().until_ready()
        yield started


def leave(node: WebNode, how: str) -> None:
    if how == "SIGTERM":
        node.process.send_signal(signal.SIGTERM)
    else:
        assert node.ask("drain") == {"ok": True}


async def under_load(running: Service, changes: int, how: str) -> Tally:
    """Clients of all kinds while the process is replaced several times."""
    port = running.public.getsockname()[1]
    tally, stop = Tally(), asyncio.Event()
    kinds = (
        [("/go/a", 0.0, True)] * 4
        + [("/go/b", 0.0, False)] * 4
        + [("/go/c", 2.0, True)] * 60
        + [("/slow", 0.0, True)] * 4
        + [("/stream", 0.0, True)] * 4
    )
    clients = [
        asyncio.create_task(client(port, path, tally, stop, pause_s=pause_s, keep=keep))
        for path, pause_s, keep in kinds
    ]
    for _ in range(changes):
        old = running.nodes[-1]
        new = running.start()
        await asyncio.to_thread(new.until_ready)
        leave(old, how)
        assert await asyncio.to_thread(old.exit_code) == 0
    stop.set()
    await asyncio.gather(*clients)
    return tally


@pytest.mark.parametrize("how", ["SIGTERM", "drain"])
def test_under_load_with_a_successor_on_the_same_socket(running: Service, how: str) -> None:
    tally = asyncio.run(under_load(running, 2, how))
    assert tally.failed == []
    assert tally.answered > 500


def test_who_connects_while_nobody_accepts_waits_for_the_successor(running: Service) -> None:
    old = running.nodes[0]
    leave(old, "drain")
    assert old.exit_code() == 0
    port = running.public.getsockname()[1]
    waiting = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(20)]
    for connection in waiting:
        connection.sendall(b"GET /go/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    running.start()
    answers = [connection.recv(65536) for connection in waiting]
    assert all(answer.startswith(b"HTTP/1.1 301 ") for answer in answers)
    for connection in waiting:
        connection.close()


def test_an_idle_connection_is_still_served_and_told_that_it_ends(running: Service) -> None:
    with socket.create_connection(("127.0.0.1", running.public.getsockname()[1]), timeout=10) as idle:
        idle.sendall(b"GET /go/a HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"connection: close" not in idle.recv(65536)
        leave(running.nodes[0], "drain")
        assert running.nodes[0].ask("status")["draining"] is True
        idle.sendall(b"GET /go/b HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b"".join(iter(lambda: idle.recv(65536), b""))
    assert b"301 Moved" in answer
    assert b"connection: close" in answer
    assert running.nodes[0].exit_code() == 0


def test_a_silent_connection_does_not_hold_the_process_until_the_limit(running: Service) -> None:
    with socket.create_connection(("127.0.0.1", running.public.getsockname()[1]), timeout=10) as silent:
        silent.sendall(b"GET /go/a HTTP/1.1\r\nHost: x\r\n\r\n")
        silent.recv(65536)
        began = time.monotonic()
        leave(running.nodes[0], "SIGTERM")
        assert silent.recv(65536) == b""
        assert running.nodes[0].exit_code() == 0
    assert 4.0 < time.monotonic() - began < 8.0


def test_a_response_that_has_begun_is_finished(running: Service) -> None:
    with socket.create_connection(("127.0.0.1", running.public.getsockname()[1]), timeout=10) as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while b"begun" not in answer:
            answer += client.recv(65536)
        leave(running.nodes[0], "SIGTERM")
        while not answer.endswith(b"0\r\n\r\n"):
            received = client.recv(65536)
            assert received, "cut off"
            answer += received
    assert b", done" in answer
    assert running.nodes[0].exit_code() == 0


def test_the_limit_ends_the_wait(tmp_path: Path) -> None:
    with service(tmp_path, spec="[web]\ndrain_limit = '1s'\n") as started:
        node = started.start().until_ready()
        with socket.create_connection(("127.0.0.1", node.port), timeout=10) as unfinished:
            unfinished.sendall(b"GET /go/a HT")
            assert node.ask("drain")["ok"]
            assert node.exit_code(10) == 0
        assert "limit of 1 s has passed with 1 connections" in node.errors.read_text()


def test_asked_twice_is_asked_once_and_a_process_that_starts_can_be_asked_too(running: Service) -> None:
    second = running.start()
    deadline = time.monotonic() + 10
    while not second.socket_path.exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    leave(second, "SIGTERM")
    leave(second, "SIGTERM")
    assert second.exit_code() == 0
    assert b"301" in running.get("/go/a"), "the other one goes on"
