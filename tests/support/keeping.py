"""A real keeper over tiny web processes, in a folder of its own, with everything gone at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tenfold.core.files import private_dir
from tenfold.hosts import wire
from tenfold.hosts.client import KeeperClient, KeeperStart, left_running, start_keeper, wait_until_gone
from tenfold.hosts.identity import is_alive
from tenfold.hosts.leftovers import end_left_programs
from tenfold.hosts.logs import Rotation
from tenfold.hosts.records import Launch

TINYWEB = Path(__file__).with_name("tinyweb.py")
LIMIT_S = 15.0

T = TypeVar("T")


def until(look: Callable[[], T], what: str, limit_s: float = LIMIT_S) -> T:
    """What `look` finds, as soon as it is truthy."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        with contextlib.suppress(wire.NotRunning, wire.NoAnswer, ConnectionError):
            if found := look():
                return found
        time.sleep(0.005)
    raise AssertionError(f"not within {limit_s} s: {what}")


def web(
    node: str = "web-1", mode: str = "", *, grace_s: float = 5.0, restart: bool = True, mark: Path = TINYWEB
) -> Launch:
    return Launch(
        node=node,
        argv=(sys.executable, str(TINYWEB)),
        cwd=str(TINYWEB.parent),
        env={"TINY": mode, "TINY_MARK": str(mark)},
        listener=True,
        socket=True,
        map=True,
        restart=restart,
        grace_s=grace_s,
    )


class House:
    """One deployment of tiny web processes."""

    def __init__(self, state: Path) -> None:
        self.state = private_dir(state)
        private_dir(state / "logs")
        self.client = KeeperClient(state)
        self.pid = 0
        self.host, self.port = "127.0.0.1", 0

    def start(self, *first: Launch, host: str = "127.0.0.1", port: int = 0, rotation: Rotation | None = None) -> House:
        answer = start_keeper(KeeperStart(self.state, host, port, rotation or Rotation(), first))
        self.pid, self.host, self.port = answer["pid"], answer["host"], answer["port"]
        return self

    def fact(self, node: str = "web-1") -> dict[str, Any]:
        found = self.client.node(node)
        assert found is not None, f"no node {node}"
        return found

    def ready(self, node: str = "web-1", *, other_than: int | None = None) -> int:
        """The pid of a node, once it is ready."""

        def look() -> int | None:
            fact = self.fact(node)
            return fact["pid"] if fact["ready"] and fact["pid"] != other_than else None

        return until(look, f"{node} is ready")

    def log(self, node: str = "keeper") -> str:
        file = self.state / "logs" / f"{node}.log"
        return file.read_text() if file.exists() else ""

    def get(self, timeout_s: float = 10.0) -> int:
        """The pid of the web process that answers."""
        with self.connect(timeout_s) as conn:
            return ask_pid(conn)

    def connect(self, timeout_s: float = 10.0) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=timeout_s)

    def kill_keeper(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        assert wait_until_gone(self.pid, LIMIT_S)

    def end(self) -> None:
        """Whatever happened: nothing of this deployment runs afterwards."""
        with contextlib.suppress(wire.NotRunning, wire.NoAnswer):
            pid = self.client.ask("hello")["pid"]
            os.kill(pid, signal.SIGKILL)
            wait_until_gone(pid, LIMIT_S)
        for record in left_running(self.state):
            if record.process and is_alive(record.process):
                os.kill(record.process.pid, signal.SIGKILL)
                wait_until_gone(record.process.pid, LIMIT_S)
            end_left_programs(record.launch)
            if record.launch.leaves:  # one that was just being started as its parent was killed shows a moment later
                time.sleep(0.1)
                end_left_programs(record.launch)


def ask_pid(conn: socket.socket) -> int:
    conn.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = b"".join(iter(lambda: conn.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), answer
    return int(body)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def house(state: Path) -> Iterator[House]:
    made = House(state)
    try:
        yield made
    finally:
        made.end()
