"""The control socket, the map, the exit codes: what a keeper relies on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from webnode import APP, Service, WebNode, service


def until(condition: Callable[[], bool], within_s: float = 5.0) -> float:
    """Seconds until the condition held."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s, "did not come true in time"
        time.sleep(0.005)
    return time.monotonic() - began


def test_status_says_who_and_how_it_is(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        node = running.start().until_ready()
        running.get("/go/a")
        status = node.ask("status")
        assert status | {"connections": 0, "public_connections": 0} == {
            "ok": True,
            "node": "web-1",
            "pid": node.process.pid,
            "epoch": 1,
            "ready": True,
            "reason": "",
            "draining": False,
            "requests": 1,
            "in_flight": 0,
            "connections": 0,
            "version": "",
            "traffic": "on",
            "address": "",
            "doors": {"public": True, "private": False},
            "public_connections": 0,
            "private_connections": 0,
            "jobs": 0,
            "works": True,
            "limits": "on",
            "websockets": 0,
            "backend": "",
            "gate": "open",
            "held": 0,
            "held_total": 0,
            "held_longest_ms": 0.0,
        }
        assert stat.S_IMODE(node.socket_path.stat().st_mode) == 0o600
        logged = until_logged(node)
        assert (logged["path"], logged["status"], logged["method"]) == ("/go/a", 301, "GET")


def until_logged(node: WebNode) -> dict[str, object]:
    until(lambda: node.output.read_bytes().endswith(b"\n"))
    line: dict[str, object] = json.loads(node.output.read_bytes().splitlines()[0])
    return line


def test_what_it_does_not_understand_is_answered_and_harms_nothing(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        node = running.start().until_ready()
        assert "'dance'" in node.ask("dance")["error"]["message"]
        with node.control() as control:
            control.sendall(b"not json\n[]\n")
            with control.makefile() as lines:
                assert [json.loads(lines.readline())["ok"] for _ in range(2)] == [False, False]
        with node.control() as control, contextlib.suppress(ConnectionError):
            control.sendall(b"x" * 100_000)
            assert control.recv(1) == b"", "a line without an end is cut off"
        with node.control() as slow:
            slow.sendall(b'{"op":')
            assert node.ask("status")["ok"], "one conversation does not hold up another"


def test_a_listener_is_handed_back_and_outlives_the_process(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        node = running.start().until_ready()
        running.public.close()  # the keeper is killed: only the web process has the socket now
        returned = node.listener_back()
        assert returned.getsockname()[1] == node.port
        assert returned.proto == socket.IPPROTO_TCP
        node.process.send_signal(signal.SIGKILL)
        node.process.wait()
        with returned, socket.create_connection(("127.0.0.1", node.port), timeout=20) as client:
            client.sendall(b"GET /go/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            running.start(returned).until_ready()
            assert client.recv(65536).startswith(b"HTTP/1.1 301 ")


def test_a_process_that_leaves_still_hands_the_listener_back(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        node = running.start().until_ready()
        with socket.create_connection(("127.0.0.1", node.port), timeout=10) as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: node.ask("status")["in_flight"] == 1)
            node.ask("drain")
            with node.listener_back() as returned:
                assert returned.getsockname()[1] == node.port
            assert b"GET 0" in b"".join(iter(lambda: client.recv(65536), b""))


def accepts(running: Service, size: int) -> bool:
    body = b"x" * size
    answer = running.send(b"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (size, body))
    return b"POST %d" % size in answer


def test_a_new_map_is_adopted_when_it_is_pushed(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        node = running.start().until_ready()
        assert accepts(running, 5000)
        running.write_map("[public]\nbody_limit = '2KB'\n")
        assert node.ask("map", epoch=2) == {"ok": True, "epoch": 2}
        assert not accepts(running, 5000), "the acknowledgement means that it is in force"
        assert node.ask("map", epoch=2) == {"ok": True, "epoch": 2}, "once more changes nothing"
        ahead = node.ask("map", epoch=3)
        assert ahead["ok"] is False
        assert "epoch 2, not 3" in ahead["error"]["message"]


def test_a_new_map_is_adopted_when_nobody_pushes(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        node = running.start().until_ready()
        running.write_map("[public]\nbody_limit = '2KB'\n")
        assert until(lambda: node.ask("status")["epoch"] == 2) < 1.0
        assert not accepts(running, 5000)


def test_a_damaged_map_is_reported_and_the_old_one_stays(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        node = running.start().until_ready()
        node.map_path.write_text("{")
        until(lambda: "new map is not adopted" in node.errors.read_text())
        assert node.ask("map", epoch=2)["ok"] is False
        assert node.ask("status")["epoch"] == 1
        assert b"301" in running.get("/go/a")
        running.write_map("[public]\nbody_limit = '2KB'\n")
        until(lambda: node.ask("status")["epoch"] == 2)


def fails_to_start(root: Path, app: str) -> tuple[int, dict[str, str]]:
    with service(root, app) as running:
        node = running.start()
        return node.exit_code(), node.last_error()


@pytest.mark.parametrize(
    ("app", "says"),
    [
        ("import not_installed_anywhere\n", "victim_app.py, line 1: ModuleNotFoundError"),
        ("1 / 0\n", "victim_app.py, line 1: ZeroDivisionError"),
        ("def (:\n", "victim_app.py, line 1: SyntaxError"),
        ("app = 1\n", 'app = "victim_app:app" is a builtins.int, not what tf.asgi returns.'),
        ("x = 1\n", 'has no "app"'),
    ],
)
def test_an_app_that_does_not_load_ends_with_3_and_the_reason(tmp_path: Path, app: str, says: str) -> None:
    code, error = fails_to_start(tmp_path, app)
    assert code == 3
    assert says in error["message"]
    assert error["code"] == "TF-APP"
    assert error["hint"]


@pytest.mark.parametrize(
    ("error", "code"),
    [('StorageDamaged("links.db is not a database.")', 3), ('Unavailable("Locked.")', 1), ('OSError("odd")', 1)],
)
def test_blocks_that_do_not_open_end_the_process(tmp_path: Path, error: str, code: int) -> None:
    found = fails_to_start(tmp_path, APP + f"\nruntime.open_error = {error}\n")
    assert found[0] == code
    assert error.split('"')[1] in found[1]["message"]


def test_a_map_that_is_no_map_ends_with_3(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        (tmp_path / "map.json").write_text("{}")
        node = running.start()
        assert node.exit_code() == 3
        assert str(node.map_path) in node.last_error()["message"]


def test_a_descriptor_that_is_no_listener_ends_with_3(tmp_path: Path) -> None:
    with service(tmp_path) as running, socket.socket() as not_listening:
        node = running.start(not_listening)
        assert node.exit_code() == 3
        assert "does not listen" in node.last_error()["message"]


def test_a_fatal_error_ends_the_process_at_once_with_70(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        node = running.start().until_ready()
        running.get("/go/before")
        assert running.get("/fatal") == b""
        assert node.exit_code(5) == 70
        assert "outcome of a COMMIT is unknown" in node.last_error()["message"]
        assert b"/go/before" in node.output.read_bytes(), "the access log was flushed"


def test_a_socket_path_may_be_longer_than_a_socket_address(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with service(deep) as running:
        node = running.start()
        assert b"301" in running.get("/go/a")  # it answers there by now, too
        directory = os.open(deep, os.O_PATH)
        try:
            with socket.socket(socket.AF_UNIX) as control:
                control.settimeout(10)
                control.connect(f"/proc/self/fd/{directory}/{node.socket_path.name}")
                control.sendall(b'{"op":"status"}\n')
                assert json.loads(control.recv(65536))["ok"]
        finally:
            os.close(directory)


def test_the_first_answer_comes_within_a_second_of_the_start(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        began = time.monotonic()
        running.start()
        assert b"301" in running.get("/go/a")
        # Five times the target: what the target is held to is measured by the benchmarks, on a quiet machine.
        assert time.monotonic() - began < 5.0
