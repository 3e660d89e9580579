"""A balancer that leaves answers whoever is still connected to one of its HAProxys: with real keeper and HAProxy.

Each reload leaves a HAProxy that drains and hands what still comes on to the one that took its place. That one has to
be there for it while the balancer leaves, too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from front_door import Door, Load, front_door
from haproxy import needs_haproxy
from keeping import until

from tenfold.core.secrets import DOOR, Secrets
from tenfold.hosts.listener import recover_listener
from tenfold.topology.map import BalancerMap

pytestmark = needs_haproxy

FAST_S = 4.0
"""Far below the drain's limit of 30 s, also on a busy machine."""


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with front_door(tmp_path) as made:
        yield made


class Client:
    """One connection that is kept."""

    def __init__(self, door: Door) -> None:
        self._conn = door.house.connect(FAST_S)

    def ask(self, path: str = "/head", body: bytes = b"") -> str:
        """The whole answer to one request."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        method = "POST" if body else "GET"
        self._conn.sendall(f"{method} {path} HTTP/1.1\r\nHost: small\r\n{length}\r\n".encode() + body)
        return self._conn.recv(65536).decode()

    def close(self) -> None:
        self._conn.close()


@contextlib.contextmanager
def clients(door: Door, count: int) -> Iterator[list[Client]]:
    """So many that are connected and were answered once."""
    made = [Client(door) for _ in range(count)]
    try:
        for one in made:
            assert "HTTP/1.1 200" in one.ask()
        yield made
    finally:
        for one in made:
            one.close()


def reload(door: Door, seconds: float, balancers: tuple[str, ...] = ("balancer-1",)) -> None:
    assert door.publish(balancer=BalancerMap(header_timeout_s=seconds))["acked"] == list(balancers)


@contextlib.contextmanager
def leaving(door: Door, node: str = "balancer-1") -> Iterator[Callable[[], dict[str, Any]]]:
    """The keeper stops that balancer meanwhile; gives what waits for its end and says how it went."""
    told: list[dict[str, Any]] = []
    stop = threading.Thread(target=lambda: told.append(door.house.client.ask("stop", timeout_s=60.0, node=node)))
    stop.start()

    def ended() -> dict[str, Any]:
        stop.join(60)
        return told[0]

    try:
        until(lambda: door.status(node)["draining"], "it leaves")
        time.sleep(0.3)  # so that its HAProxy has been told, too
        yield ended
    finally:
        ended()


def test_clients_of_haproxys_from_before_reloads_are_answered_while_it_leaves(door: Door) -> None:
    door.start("web-1")
    with contextlib.ExitStack() as stack:
        idle = []
        for seconds in (11.0, 12.0, 13.0):
            idle += stack.enter_context(clients(door, 2))
            reload(door, seconds)
        idle += stack.enter_context(clients(door, 2))
        door.web("web-2")
        assert door.publish(nodes=door.nodes("web-2"))["acked"] == ["balancer-1"]
        door.end_web("web-1")
        assert len(door.haproxies()) == 4
        with leaving(door) as ended:
            for one in idle[::2]:
                assert "web-2\nPOST 4" in one.ask("/", b"body")
            for one in idle[1::2]:
                answer = one.ask()
                head = answer.partition("web-2\n")[2].lower()
                assert head.count("x-forwarded-for: 127.0.0.1\r\n") == head.count("x-forwarded-for:") == 1
                assert head.count("x-request-id:") == 1
                assert f"x-tenfold-door: {Secrets(door.state / 'secrets').find(DOOR)}\r\n" in head
                assert "connection: close" in answer.lower()
            begun = time.monotonic()
            assert ended()["how"] == "drained"
            assert time.monotonic() - begun < FAST_S, "the last answer ended it"
    assert not door.haproxies()


def test_without_such_a_client_it_leaves_at_once_also_after_reloads(door: Door) -> None:
    door.start("web-1")
    for seconds in (11.0, 12.0):
        reload(door, seconds)
    begun = time.monotonic()
    assert door.house.client.ask("stop", timeout_s=60.0, node="balancer-1")["how"] == "drained"
    assert time.monotonic() - begun < FAST_S
    assert not door.haproxies()


def test_one_of_two_leaves_after_reloads_and_no_client_of_either_notices(door: Door) -> None:
    door.start("web-1", "web-2", balancers=2)
    both = ("balancer-1", "balancer-2")
    with Load(door.house.port) as load, clients(door, 12) as idle:
        load.more(200)
        reload(door, 11.0, both)
        load.more(200)
        reload(door, 12.0, both)
        with leaving(door, "balancer-2") as ended:
            load.more(200)
            for one in idle:
                assert "HTTP/1.1 200" in one.ask()
            assert ended()["how"] == "drained"
            load.more(200)
    assert not load.failures
    assert set(load.answers) == {"fresh", "keep-alive", "idle", "slow"}


def test_new_clients_come_to_the_web_server_that_took_the_door_and_old_ones_are_answered(door: Door) -> None:
    door.start("web-1")
    with clients(door, 2) as old:
        reload(door, 11.0)
        with clients(door, 2) as newer, web_process_at_the_door(door), leaving(door) as ended:
            for _ in range(8):
                assert door.ask()[1] == "the web process"
            for one in (*old, *newer):
                assert "web-1\nGET" in one.ask("/")
            assert ended()["how"] == "drained"
            assert door.ask()[1] == "the web process"


@contextlib.contextmanager
def web_process_at_the_door(door: Door) -> Iterator[None]:
    """Somebody else who accepts on the public socket."""
    public = recover_listener([door.state / "run" / "balancer-1.sock"])
    assert public is not None
    over = threading.Event()
    public.settimeout(0.1)

    def serve() -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError), public.accept()[0] as conn:
                conn.settimeout(FAST_S)
                conn.recv(65536)
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\nthe web process")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)
        public.close()


def test_a_web_server_that_is_started_again_meanwhile_is_waited_for(door: Door) -> None:
    door.start("web-1")
    with clients(door, 1) as old:
        reload(door, 11.0)
        with clients(door, 1) as newer, leaving(door) as ended:
            door.end_web("web-1", signal.SIGKILL)
            answers: list[str] = []
            asking = [threading.Thread(target=lambda one=one: answers.append(one.ask("/"))) for one in (*old, *newer)]
            for one in asking:
                one.start()
            time.sleep(0.5)
            door.web("web-1")
            for one in asking:
                one.join(10)
            assert ["web-1\nGET" in answer for answer in answers] == [True, True]
            begun = time.monotonic()
            assert ended()["how"] == "drained"
            assert time.monotonic() - begun < FAST_S, "no HAProxy keeps a connection to itself"


def test_a_haproxy_that_dies_while_it_leaves_lets_nobody_hang(door: Door) -> None:
    door.start("web-1")
    with clients(door, 1) as old:
        reload(door, 11.0)
        serving = door.haproxy()
        with leaving(door) as ended:
            os.kill(serving, signal.SIGKILL)
            until(lambda: serving not in door.haproxies(), "it is dead")
            assert "HTTP/1.1 503" in old[0].ask("/"), "nobody is there to pass it on to"
            assert ended()["how"] == "drained"


def test_a_balancer_killed_while_it_leaves_is_followed_by_one_that_serves(door: Door) -> None:
    door.start("web-1")
    with clients(door, 1) as idle:
        pid, before = door.house.fact("balancer-1")["pid"], door.haproxy()
        os.kill(pid, signal.SIGTERM)
        until(lambda: door.status()["draining"], "it leaves")
        time.sleep(0.3)
        os.kill(pid, signal.SIGKILL)
        door.ready("balancer-1", other_than=pid)
        assert door.haproxy() != before, "that one accepts nobody any more"
        assert door.who() == "web-1"
        assert "web-1\nGET" in idle[0].ask("/")
    until(lambda: before not in door.haproxies(), "the old one ends with its last client")
