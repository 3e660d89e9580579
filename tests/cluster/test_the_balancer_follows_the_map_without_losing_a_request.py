"""Web servers come and go, settings change and HAProxy is reloaded, under load: with real keeper, balancer, HAProxy."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from front_door import Door, Load, front_door
from haproxy import needs_haproxy
from keeping import until

from tenfold.topology.map import BalancerMap, NodeMap

pytestmark = needs_haproxy


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with front_door(tmp_path) as made:
        yield made


def names(door: Door) -> list[str]:
    return [server["name"] for server in door.status()["servers"]]


def test_web_servers_are_added_and_removed_under_load_and_no_request_fails(door: Door) -> None:
    door.start("web-1")
    pid = door.haproxy()
    with Load(door.house.port) as load:
        load.more(300)
        for _ in range(2):
            door.web("web-2", "web-3")
            assert door.publish(nodes=door.nodes("web-1", "web-2", "web-3"))["acked"] == ["balancer-1"]
            before = dict(load.by)
            load.more(600)
            assert all(load.by[name] > before.get(name, 0) for name in ("web-2", "web-3"))
            assert door.publish(nodes=door.nodes("web-1", off=("web-2", "web-3")))["acked"] == ["balancer-1"]
            load.more(50)  # what had begun has ended by then, so what follows would have been begun after the answer
            before = dict(load.by)
            load.more(600)
            assert load.by["web-2"] - before["web-2"] <= 2  # a /slow one of before
            assert door.publish(nodes=door.nodes("web-1"))["acked"] == ["balancer-1"]
            until(lambda: names(door) == ["web-1"], "the others are taken out of HAProxy", 20.0)
            door.end_web("web-2")
            door.end_web("web-3")
            load.more(300)
    assert not load.failures
    assert set(load.answers) == {"fresh", "keep-alive", "idle", "slow"}
    assert door.status()["reloads"] == 0
    assert door.haproxy() == pid, "the same HAProxy did all that"


def test_a_change_that_it_cannot_be_told_reloads_it_and_no_request_fails(door: Door) -> None:
    door.start("web-1", "web-2")
    seen = {door.haproxy()}
    with Load(door.house.port) as load:
        load.more(300)
        for seconds in (11.0, 12.0, 13.0, 14.0, 15.0):
            changed = BalancerMap(header_timeout_s=seconds)
            assert door.publish(balancer=changed)["acked"] == ["balancer-1"]
            seen.add(door.haproxy())
            load.more(300)
    assert not load.failures
    assert set(load.answers) == {"fresh", "keep-alive", "idle", "slow"}
    assert door.status()["reloads"] == 5
    assert len(seen) == 6
    until(lambda: len(door.haproxies()) == 1, "the old ones have ended", 20.0)
    folder = door.state / "run" / "balancer-1"
    until(lambda: len(list(folder.glob("haproxy-*.cfg"))) == 1, "their files are gone")


def test_two_balancers_share_the_socket_and_one_may_leave_under_load(door: Door) -> None:
    door.start("web-1", "web-2", balancers=2)
    assert door.publish(nodes=door.nodes("web-1", "web-2", balancers=2))["acked"] == ["balancer-1", "balancer-2"]
    with Load(door.house.port) as load:
        load.more(1000)
        until(lambda: door.status("balancer-1")["requests"] > 50, "the first serves")
        until(lambda: door.status("balancer-2")["requests"] > 50, "the second serves")
        told = door.status("balancer-2")
        assert (told["failed"], told["queue"]) == (0, 0)
        assert 0 < told["age_s"] < 10
        stopped = door.house.client.ask("stop", timeout_s=60.0, node="balancer-2")
        assert stopped["how"] == "drained"
        assert not door.haproxies("balancer-2")
        load.more(1000)
    assert not load.failures


def test_a_balancer_that_leaves_ends_what_it_has_begun(door: Door) -> None:
    door.start("web-1")
    with Load(door.house.port, fresh=0, keep_alive=0, idle=0, slow=6) as load:
        load.more(6)
        stopped = door.house.client.ask("stop", timeout_s=60.0, node="balancer-1")
        assert stopped["how"] == "drained"
        load.stop()
        door.house.client.spawn(door.launch("balancer-1"))
        door.ready()
    assert not load.failures


def test_a_configuration_that_is_refused_changes_nothing_and_says_why(door: Door) -> None:
    door.start("web-1")
    pid = door.haproxy()
    good = door.map.nodes
    twice = (*good, NodeMap("web-1", "web", address="127.0.0.1:1"))
    with Load(door.house.port) as load:
        answer = door.publish(nodes=twice)
        assert (
            "HAProxy refuses its new configuration; the one before stays in force." in answer["missing"]["balancer-1"]
        )
        status = door.status()
        assert not status["ready"]
        assert "HAProxy refuses" in status["reason"]
        load.more(200)
        assert door.status()["haproxy_pid"] == pid
        assert door.publish(nodes=good)["acked"] == ["balancer-1"]
        assert door.status()["ready"]
        load.more(200)
    assert not load.failures


def test_a_refused_map_does_not_keep_it_from_starting_with_the_one_before(door: Door) -> None:
    door.start("web-1")
    twice = (*door.map.nodes, NodeMap("web-1", "web", address="127.0.0.1:1"))
    door.publish(nodes=twice)
    pid = door.house.fact("balancer-1")["pid"]
    old = door.status()["haproxy_pid"]
    os.kill(pid, signal.SIGSTOP)  # so that it cannot start another before it is killed itself
    os.kill(old, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    until(lambda: door.status()["pid"] != pid and door.status()["haproxy_pid"], "it serves again")
    assert door.who() == "web-1"
    assert "HAProxy refuses" in door.status()["reason"]


def test_weights_and_settings_of_servers_are_in_the_file_before_they_are_applied(door: Door) -> None:
    door.start("web-1", "web-2")
    folder = door.state / "run" / "balancer-1"
    door.publish(balancer=msgspec.structs.replace(door.map.balancer, weights=(1, 5)))
    (config,) = folder.glob("haproxy-*.cfg")
    assert f"server web-2 {door.addresses['web-2']} weight 5" in config.read_text()
    assert config.stat().st_mode & 0o777 == 0o600
    assert {one["name"]: one["weight"] for one in door.status()["servers"]}.keys() == {"web-1", "web-2"}
    until(lambda: {one["weight"] for one in door.status()["servers"]} == {1, 5}, "HAProxy has the weights")


def test_a_client_that_does_not_leave_is_waited_for_no_longer_than_the_drain_may_take(tmp_path: Path) -> None:
    with front_door(tmp_path, '[web]\ndrain_limit = "1s"\n') as door:
        door.start("web-1")
        with door.house.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: small\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
            begun = time.monotonic()
            assert door.house.client.ask("stop", timeout_s=20.0, node="balancer-1")["how"] == "drained"
            assert 0.8 < time.monotonic() - begun < 3.0
        assert not door.haproxies()


def test_maps_that_come_faster_than_they_can_be_applied_end_in_the_newest(door: Door) -> None:
    door.start("web-1", "web-2")
    with Load(door.house.port, slow=0) as load:
        for place in range(20):
            names = ("web-1", "web-2") if place % 2 else ("web-1",)
            door.write(nodes=door.nodes(*names), balancer=BalancerMap(header_timeout_s=10.0 + place // 5))
        answer = door.publish(nodes=door.nodes("web-2"))
        assert answer["acked"] == ["balancer-1"], answer
        assert door.status()["epoch"] == door.map.epoch
        load.more(100)
        before = load.by["web-1"]
        load.more(300)
        assert load.by["web-1"] == before
    assert not load.failures


def test_a_client_that_was_silent_over_two_reloads_is_served_by_what_is_there_now(door: Door) -> None:
    door.start("web-1")
    with door.house.connect() as client:

        def ask() -> str:
            client.sendall(b"POST / HTTP/1.1\r\nHost: small\r\nContent-Length: 4\r\n\r\nbody")
            return client.recv(65536).decode()

        assert "web-1\nPOST 4" in ask()
        first = door.haproxy()
        for seconds in (11.0, 12.0):  # each reload leaves one that drains and knows web-1 alone
            door.publish(balancer=BalancerMap(header_timeout_s=seconds))
        door.web("web-2")
        assert door.publish(nodes=door.nodes("web-2"))["acked"] == ["balancer-1"]
        door.end_web("web-1")
        assert first in door.haproxies()
        answer = ask()
        assert "HTTP/1.1 200" in answer
        assert "web-2\nPOST 4" in answer
        assert "connection: close" in answer.lower()
    until(lambda: len(door.haproxies()) == 1, "the old ones have ended")
