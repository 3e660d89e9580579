"""A real keeper with real balancers before tiny web servers, and clients that count what fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from keeping import House, until

from tenfold.core.files import atomic_write
from tenfold.engines.haproxy.programs import choose, installed
from tenfold.hosts import wire
from tenfold.hosts.commands import output_of
from tenfold.hosts.leftovers import working_in
from tenfold.hosts.logs import Rotation
from tenfold.hosts.records import Launch
from tenfold.serve.balancer.launch import balancer_launch, folder_of
from tenfold.topology.map import Map, NodeMap, encode, map_of
from tenfold.topology.spec import parse_spec

BACK = Path(__file__).with_name("tinyback.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Door:
    """One deployment: `nodes` balancers on the keeper's socket, web servers that are made and ended at will."""

    def __init__(self, root: Path, spec: str = "") -> None:
        self.root = root
        self.house = House(root / ".tenfold")
        self.state = self.house.state
        self.map_file = self.state / "map.json"
        self.webs: dict[str, subprocess.Popen[bytes]] = {}
        self.addresses: dict[str, str] = {}
        text = f'[service]\nname = "small"\napp = "small:app"\n{spec}'
        made = map_of(parse_spec(text, "tenfold.toml"), root=str(root), state=str(self.state), previous=None)
        self.map = msgspec.structs.replace(made, public=msgspec.structs.replace(made.public, door="balancer"), nodes=())

    # The map

    def write(self, **changes: Any) -> Map:
        """Writes the next map."""
        self.map = msgspec.structs.replace(self.map, epoch=self.map.epoch + 1, **changes)
        atomic_write(self.map_file, encode(self.map))
        return self.map

    def publish(self, limit_s: float = 5.0, **changes: Any) -> dict[str, Any]:
        """Writes it and tells everybody; who acknowledged it."""
        epoch = self.write(**changes).epoch
        return self.house.client.ask("publish", timeout_s=limit_s + 5, epoch=epoch, limit_s=limit_s)

    def nodes(self, *webs: str, off: tuple[str, ...] = (), balancers: int = 1) -> tuple[NodeMap, ...]:
        made = [NodeMap(f"balancer-{number}", "balancer") for number in range(1, balancers + 1)]
        made += [NodeMap(name, "web", address=self.addresses[name]) for name in webs]
        made += [NodeMap(name, "web", address=self.addresses[name], traffic="off") for name in off]
        return tuple(made)

    # Web servers

    def web(self, *names: str, mode: str = "") -> None:
        """Starts web servers and waits until they listen; a name keeps its address."""
        for name in names:
            self.addresses.setdefault(name, f"127.0.0.1:{free_port()}")
            port = self.addresses[name].rpartition(":")[2]
            self.webs[name] = subprocess.Popen([sys.executable, str(BACK), name, port, mode])
        for name in names:
            until(lambda name=name: self._listens(name), f"{name} listens")

    def _listens(self, name: str) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", int(self.addresses[name].rpartition(":")[2])), 1).close()
            return True
        return False

    def end_web(self, name: str, number: int = signal.SIGTERM) -> None:
        self.webs[name].send_signal(number)
        self.webs.pop(name).wait(10)

    # Balancers

    def launch(self, node: str) -> Launch:
        haproxy = str(choose(installed(output_of)).path)
        launch = balancer_launch(self.map, node, map_file=self.map_file, haproxy=haproxy)
        return with_variables(launch, PYTHONPATH=os.environ.get("PYTHONPATH", ""))

    def start(self, *webs: str, balancers: int = 1, ready: bool = True, **changes: Any) -> Door:
        """Starts the web servers, the keeper and the balancers, all of them ready."""
        self.web(*webs)
        self.write(nodes=self.nodes(*webs, balancers=balancers), **changes)
        names = [f"balancer-{number}" for number in range(1, balancers + 1)]
        self.house.start(*(self.launch(name) for name in names), rotation=Rotation())
        if ready:
            for name in names:
                self.ready(name)
        return self

    def ready(self, node: str = "balancer-1", *, other_than: int | None = None) -> int:
        """The pid of the balancer's own process, once it is ready."""
        try:
            return self.house.ready(node, other_than=other_than)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.house.log()}\n{self.house.log(node)}") from None

    def status(self, node: str = "balancer-1") -> dict[str, Any]:
        return wire.call(self.state / "run" / f"{node}.sock", {"op": "status"}, 5.0)

    def haproxy(self, node: str = "balancer-1", *, other_than: int | None = None) -> int:
        """The pid of its HAProxy, once there is one (another one)."""

        def look() -> int | None:
            status = self.status(node)
            return status["haproxy_pid"] if status["haproxy_pid"] != other_than and status["ready"] else None

        try:
            return until(look, f"{node} has its HAProxy")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.house.log(node)}\n{self.status(node)}") from None

    def haproxies(self, node: str = "balancer-1") -> list[int]:
        """The pids of all that work in that balancer's folder."""
        program = str(choose(installed(output_of)).path)
        return [identity.pid for identity in working_in(program, str(folder_of(self.state, node)))]

    # Clients

    def ask(self, path: str = "/", port: int = 0, head: str = "", tls: ssl.SSLContext | None = None) -> tuple[int, str]:
        """One request on its own connection: status and body."""
        plain = socket.create_connection(("127.0.0.1", port or self.house.port), timeout=10)
        with tls.wrap_socket(plain, server_hostname="localhost") if tls else plain as conn:
            conn.sendall(f"GET {path} HTTP/1.1\r\nHost: small\r\n{head}Connection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: conn.recv(65536), b""))
        top, _, body = answer.partition(b"\r\n\r\n")
        return int(top.split()[1]), body.decode()

    def who(self) -> str:
        """The web server that answers."""
        status, body = self.ask()
        assert status == 200, body
        return body.split("\n")[0]

    def end(self) -> None:
        self.house.end()
        for process in self.webs.values():
            process.kill()
            process.wait()


def with_variables(launch: Launch, **env: str) -> Launch:
    return replace(launch, env={**launch.env, **env})


@contextlib.contextmanager
def front_door(root: Path, spec: str = "") -> Iterator[Door]:
    made = Door(root, spec)
    try:
        yield made
    finally:
        made.end()


class Failure(NamedTuple):
    """A request that failed. Whoever rests on a connection notices that it broke only with the next request."""

    what: str
    opened: float
    """Monotonic: when the connection was opened that it went over."""
    begun: float
    """Monotonic: when it was sent, or would have been."""


class Load:
    """Clients of several kinds at once; every request that has no full answer of 200 is a failure, none is repeated."""

    def __init__(
        self,
        port: int,
        *,
        fresh: int = 4,
        keep_alive: int = 4,
        idle: int = 10,
        slow: int = 2,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self.answers: Counter[str] = Counter()
        self.by: Counter[str] = Counter()
        self.failures: list[Failure] = []
        self._port = port
        self._kinds = {"fresh": fresh, "keep-alive": keep_alive, "idle": idle, "slow": slow}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    @property
    def requests(self) -> int:
        return sum(self.answers.values())

    def stop(self) -> None:
        """Each client ends after the request that it is in."""
        self._stop.set()

    def more(self, count: int, limit_s: float = 20.0) -> None:
        """Waits until that many more requests were answered."""
        goal = self.requests + count
        until(lambda: self.requests >= goal, f"{count} more requests", limit_s)

    async def _run(self) -> None:
        await asyncio.gather(
            *(self._client(kind, place) for kind, count in self._kinds.items() for place in range(count))
        )
        await asyncio.sleep(0.05)  # an encrypted connection is not closed at once

    async def _client(self, kind: str, place: int) -> None:
        conn: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        pause, opened = 0.05, 0.0
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                if conn is None:
                    opened = begun
                    conn = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls)
                again = await asyncio.wait_for(self._one(conn, kind), 15)
            except (OSError, asyncio.IncompleteReadError, ValueError, TimeoutError) as error:
                self.failures.append(Failure(f"{kind}: {error!r}", opened, begun))
                again = False
            if not again and conn is not None:
                conn[1].transport.abort()
                conn = None
            if kind == "idle":
                pause = (pause * 1.7 + place * 0.03) % 2.0
                await asyncio.sleep(pause)
            elif kind == "fresh":
                await asyncio.sleep(0.002)
        if conn is not None:
            conn[1].transport.abort()

    async def _one(self, conn: tuple[asyncio.StreamReader, asyncio.StreamWriter], kind: str) -> bool:
        reader, writer = conn
        path = "/slow" if kind == "slow" else "/"
        close = "Connection: close\r\n" if kind == "fresh" else ""
        writer.write(f"GET {path} HTTP/1.1\r\nHost: small\r\n{close}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        lower = head.lower()
        size = int(lower.partition(b"content-length:")[2].split(b"\r\n")[0])
        body = await reader.readexactly(size)
        if int(head.split()[1]) != 200:
            raise ValueError(f"{head!r} {body!r}")
        self.answers[kind] += 1
        self.by[body.split(b"\n")[0].decode()] += 1
        return b"connection: close" not in lower and kind != "fresh"
