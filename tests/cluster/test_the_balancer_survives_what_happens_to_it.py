"""HAProxy killed, hung, or left alone; the balancer killed; odd places and full disks: with real processes."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from front_door import Door, Load, front_door
from haproxy import needs_haproxy
from keeping import alive, until
from pg_server import small_disk

from tenfold.hosts.client import left_running, stop_left
from tenfold.hosts.listener import recover_listener
from tenfold.serve.balancer.follow import PUBLIC_FD
from tenfold.serve.balancer.successor import SUCCESSOR_FD
from tenfold.topology.map import BalancerMap

pytestmark = needs_haproxy


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with front_door(tmp_path) as made:
        yield made


def test_a_killed_haproxy_is_started_again_at_once_and_only_what_it_had_begun_fails(door: Door) -> None:
    door.start("web-1", "web-2", balancers=2)
    clients = {"fresh": 4, "keep_alive": 4, "idle": 6, "slow": 2}
    kills = 5
    with Load(door.house.port, **clients) as load:
        for _ in range(kills):
            load.more(300)
            before = door.haproxy()
            os.kill(before, signal.SIGKILL)
            door.haproxy(other_than=before)
        there = time.monotonic()
        load.more(900)
    assert [each for each in load.failures if each.opened > there] == [], "nothing fails once it is there again"
    until(lambda: door.status()["restarts"] == kills, "each restart is counted")
    took_ms = door.status()["restart_ms"]
    print(f"{kills} kills: {len(load.failures)} of {load.requests} failed, the last restart took {took_ms} ms")
    assert took_ms < 1000
    # Of the clients that had a connection to it; those of the other HAProxy notice nothing.
    assert len(load.failures) <= kills * sum(clients.values())


def test_one_killed_while_the_one_before_it_still_drains_is_started_again_at_once(door: Door) -> None:
    door.start("web-1")
    before = door.haproxy()
    with door.house.connect() as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nHost: small\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        door.publish(balancer=BalancerMap(header_timeout_s=11.0))
        reloaded = door.haproxy(other_than=before)
        os.kill(reloaded, signal.SIGKILL)
        begun = time.monotonic()
        assert door.haproxy(other_than=reloaded) != before
        assert time.monotonic() - begun < 5.0
        assert before in door.haproxies(), "it waits for its client"
        assert door.who() == "web-1"


def test_connections_wait_while_the_only_haproxy_is_started_again(door: Door) -> None:
    door.start("web-1")
    with Load(door.house.port, fresh=4, keep_alive=0, idle=0, slow=0) as load:
        load.more(200)
        before = door.haproxy()
        os.kill(before, signal.SIGKILL)
        door.haproxy(other_than=before)
        load.more(200)
    assert len(load.failures) <= 4  # what each client had begun


def test_a_haproxy_that_hangs_is_killed_and_started_again(door: Door) -> None:
    door.start("web-1")
    hung = door.haproxy()
    os.kill(hung, signal.SIGSTOP)
    begun = time.monotonic()
    fresh = door.haproxy(other_than=hung)
    assert fresh != hung
    assert not alive(hung)
    assert 2.0 < time.monotonic() - begun < 8.0
    assert door.who() == "web-1"
    assert "hangs; killed" in door.house.log("balancer-1")


def test_a_killed_balancer_process_costs_nothing_and_the_next_one_takes_over(door: Door) -> None:
    door.start("web-1", "web-2")
    haproxy = door.haproxy()
    with Load(door.house.port) as load:
        for _ in range(3):
            load.more(300)
            pid = door.house.fact("balancer-1")["pid"]
            os.kill(pid, signal.SIGKILL)
            door.ready("balancer-1", other_than=pid)
            assert door.haproxy() == haproxy, "it is the same HAProxy"
        assert door.publish(nodes=door.nodes("web-1"))["acked"] == ["balancer-1"]
        load.more(300)
        until(lambda: [one["name"] for one in door.status()["servers"]] == ["web-1"], "it obeys", 20.0)
    assert not load.failures
    assert door.status()["reloads"] == 0
    # It is nobody's child now, and its end is seen nevertheless.
    os.kill(haproxy, signal.SIGKILL)
    door.haproxy(other_than=haproxy)
    assert door.who() == "web-1"


def test_both_killed_at_once_come_back_and_serve(door: Door) -> None:
    door.start("web-1")
    for _ in range(3):
        pid, haproxy = door.house.fact("balancer-1")["pid"], door.haproxy()
        os.kill(pid, signal.SIGKILL)
        os.kill(haproxy, signal.SIGKILL)
        door.ready("balancer-1", other_than=pid)
        assert door.haproxy() != haproxy
        assert door.who() == "web-1"
    assert len(door.haproxies()) == 1


def test_the_keeper_killed_costs_nothing_and_the_next_one_gets_the_socket_back(door: Door) -> None:
    door.start("web-1")
    haproxy, port = door.haproxy(), door.house.port
    with Load(port) as load:
        load.more(200)
        door.house.kill_keeper()
        load.more(200)
        door.house.start(port=1)  # it would fail on this port: it takes the old socket back
        assert door.house.port == port
        pid = door.house.fact("balancer-1")["pid"]
        os.kill(pid, signal.SIGKILL)
        door.ready("balancer-1", other_than=pid)
        load.more(200)
    assert not load.failures
    assert door.haproxy() == haproxy


def test_down_leaves_no_haproxy_also_when_the_balancer_is_dead_or_hangs(door: Door) -> None:
    door.start("web-1", balancers=2)
    pids = [door.haproxy("balancer-1"), door.haproxy("balancer-2")]
    os.kill(door.house.fact("balancer-1")["pid"], signal.SIGSTOP)
    answer = door.house.client.ask("stop", timeout_s=30.0, node="balancer-1", grace_s=0.5)
    assert answer["how"] == "killed"
    assert not alive(pids[0])
    door.house.kill_keeper()
    left = left_running(door.state)
    os.kill(left[0].process.pid, signal.SIGKILL)
    until(lambda: not alive(left[0].process.pid), "the process of balancer-2 is gone")
    assert alive(pids[1])
    assert stop_left(left_running(door.state)) == {"balancer-2": "killed"}
    assert not alive(pids[1])
    assert not left_running(door.state)


def test_a_balancer_process_that_died_in_the_middle_of_a_reload_leaves_one_haproxy(door: Door) -> None:
    door.start("web-1")
    first, pid = door.haproxy(), door.house.fact("balancer-1")["pid"]
    # As it is when the balancer dies after the new one answers and before the old one is told to leave.
    program, folder = os.readlink(f"/proc/{first}/exe"), door.state / "run" / "balancer-1"
    public = recover_listener([door.state / "run" / "balancer-1.sock"])
    assert public is not None
    os.dup2(public.fileno(), PUBLIC_FD)
    os.kill(pid, signal.SIGSTOP)
    text = next(folder.glob("haproxy-*.cfg")).read_text()
    text = text.replace("admin-1.sock", "admin-2.sock").replace(f"fd@{SUCCESSOR_FD}", "abns@another")
    (folder / "haproxy-2.cfg").write_text(text)
    argv = [program, "-db", "-f", "haproxy-2.cfg"]
    second = subprocess.Popen(argv, cwd=folder, pass_fds=[PUBLIC_FD], start_new_session=True)
    try:
        until((folder / "admin-2.sock").exists, "it listens")
        os.kill(pid, signal.SIGKILL)
        door.ready("balancer-1", other_than=pid)
        assert door.haproxy() == second.pid
        until(lambda: door.haproxies() == [second.pid], "the older one has left", 10.0)
        assert door.who() == "web-1"
    finally:
        os.close(PUBLIC_FD)
        public.close()
        second.kill()
        second.wait()


def test_a_deep_folder_is_no_obstacle(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-very-long-name-of-a-folder"] * 6)
    deep.mkdir(parents=True)
    assert len(str(deep)) > 150
    with front_door(deep) as door:
        door.start("web-1")
        assert door.who() == "web-1"
        door.web("web-2")
        assert door.publish(nodes=door.nodes("web-2"))["acked"] == ["balancer-1"]
        assert door.who() == "web-2"
        door.publish(balancer=BalancerMap(header_timeout_s=11.0))
        assert door.status()["reloads"] == 1
        assert door.house.client.shutdown(40.0) == {"balancer-1": "drained"}
        assert not door.haproxies()


@pytest.mark.root
def test_on_a_full_disk_a_change_is_refused_and_what_served_serves_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1) as disk, front_door(disk) as door:
        door.start("web-1", "web-2")
        pid, nodes = door.haproxy(), door.nodes("web-1")
        door.write(nodes=nodes)  # there is room for the map alone
        ballast = disk / "ballast"
        _fill(ballast)
        answer = door.house.client.ask("publish", epoch=door.map.epoch, limit_s=5.0)
        assert "No space left on device" in answer["missing"]["balancer-1"]
        assert {door.who() for _ in range(20)} == {"web-1", "web-2"}, "nothing of it is applied"
        assert door.status()["haproxy_pid"] == pid
        ballast.unlink()
        until(lambda: door.status()["ready"], "it tries again by itself")
        assert {door.who() for _ in range(20)} == {"web-1"}


def _fill(ballast: Path) -> None:
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))


def test_a_haproxy_whose_socket_is_gone_is_replaced_without_a_loss(door: Door) -> None:
    door.start("web-1")
    before = door.haproxy()
    with Load(door.house.port) as load:
        load.more(100)
        for path in (door.state / "run" / "balancer-1").glob("admin-*.sock"):
            path.unlink()
        door.haproxy(other_than=before)
        load.more(100)
        until(lambda: before not in door.haproxies(), "the old one ends", 20.0)
    assert not load.failures


def test_a_web_server_that_is_much_worse_than_the_others_gets_nothing_new(door: Door) -> None:
    door.web("web-3", mode="failing")
    door.start("web-1", "web-2")
    door.publish(nodes=door.nodes("web-1", "web-2", "web-3"))
    with Load(door.house.port, fresh=6, keep_alive=6, idle=0, slow=0) as load:
        until(lambda: load.failures, "it fails")
        until(lambda: _of(door, "web-3")["ejected"], "it is ejected")
        until(lambda: _of(door, "web-3")["state"].startswith("DRAIN"), "HAProxy knows")
        load.more(50)
        known = time.monotonic()
        load.more(1000)
    assert [each for each in load.failures if each.begun > known] == []
    assert not _of(door, "web-1")["ejected"]
    assert "web-3 fails much more often than the others" in door.house.log("balancer-1")


def _of(door: Door, name: str) -> dict[str, Any]:
    return next(one for one in door.status()["servers"] if one["name"] == name)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="not run: it is about HAProxy of root")
def test_root_starts_it_and_it_serves_as_somebody_who_may_do_nothing(door: Door) -> None:
    door.start("web-1")
    assert Path(f"/proc/{door.haproxy()}").stat().st_uid == pwd.getpwnam("haproxy").pw_uid
    assert {path.stat().st_mode & 0o077 for path in (door.state / "run" / "balancer-1").iterdir()} == {0}
