"""A real HAProxy for tests, and web servers to stand behind it that can be killed and started again.

Without HAProxy 2.6 or newer the tests that need one are reported as not run.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from tenfold.engines.haproxy.reconcile import Place, commands
from tenfold.engines.haproxy.render import render
from tenfold.engines.haproxy.runtime import Runtime
from tenfold.engines.haproxy.servers import wanted_servers
from tenfold.topology.map import (
    BalancerMap,
    CacheMap,
    DatabaseMap,
    LogMap,
    Map,
    NodeMap,
    PublicMap,
    RouteMap,
    WebMap,
)

LEAST = (2, 6)
SECRET = "00ff00ff"
SECONDS = 20.0
_PR_SET_PDEATHSIG = 1
_T = TypeVar("_T")


def program() -> str | None:
    """The newest HAProxy here, when it is new enough."""
    for folder in (*os.environ.get("PATH", "").split(os.pathsep), "/usr/sbin", "/usr/local/sbin"):
        path = shutil.which("haproxy", path=folder)
        told = subprocess.run([path, "-v"], capture_output=True, text=True, check=False).stdout if path else ""
        version = re.search(r"version (\d+)\.(\d+)", told)
        if version and (int(version[1]), int(version[2])) >= LEAST:
            return path
    return None


PROGRAM = program()
needs_haproxy = pytest.mark.skipif(PROGRAM is None, reason="not run: there is no HAProxy 2.6 or newer here")


def _dies_with_us() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def listener(port: int = 0) -> socket.socket:
    """A listening socket on loopback, as the keeper makes them."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    made.listen(4096)
    return made


def _quiet_port() -> int:
    """A free port below those that the kernel gives to outgoing connections, so it stays free between two lives."""
    for _ in range(100):
        port = random.randrange(15_000, 30_000)
        with contextlib.suppress(OSError), contextlib.closing(listener(port)):
            return port
    raise AssertionError("no port is free")


def map_of(
    nodes: tuple[NodeMap, ...] = (),
    *,
    balancer: BalancerMap | None = None,
    routes: tuple[RouteMap, ...] = (),
    public: PublicMap | None = None,
    hold_s: float = 25.0,
    drain_limit_s: float = 30.0,
    keep_alive_s: float = 60.0,
    state: str = "/service/.tenfold",
) -> Map:
    """A map with a front door."""
    return Map(
        epoch=1,
        service="shortener",
        app="app:app",
        step=3,
        root="/service",
        state=state,
        public=public or PublicMap("127.0.0.1", 8000, 1 << 20, "balancer"),
        web=WebMap(max(1, len(nodes)), True, "loopback", drain_limit_s, keep_alive_s),
        database=DatabaseMap("sqlite", "/service/.tenfold/data/shortener.db", hold_s, 1000),
        cache=CacheMap(1000, 1 << 20),
        log=LogMap(1 << 20, 3),
        settings={},
        nodes=nodes,
        balancer=balancer or BalancerMap(),
        routes=routes,
    )


class Web:
    """One web server: `start`, `kill`, `stop` any number of times, always on the same address."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.port = _quiet_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def node(self) -> NodeMap:
        return NodeMap(self.name, "web", address=f"127.0.0.1:{self.port}")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it; it accepts as soon as this returns."""
        with contextlib.closing(listener(self.port)) as heard:
            command = [sys.executable, "-S", Path(__file__).with_name("origin.py"), str(heard.fileno())]
            self._process = subprocess.Popen(
                [*command, self.name, str(self.log)], pass_fds=[heard.fileno()], preexec_fn=_dies_with_us
            )

    def kill(self) -> None:
        """Ends it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def mark(self, word: str, present: bool = True) -> None:
        """Sets or removes one of the marks that origin.py goes by."""
        path = Path(f"{self.log}.{word}")
        path.touch() if present else path.unlink(missing_ok=True)

    def notes(self) -> list[dict[str, Any]]:
        """What it noted so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


class Door:
    """HAProxy on a listener of ours, with the config that is rendered from a map."""

    def __init__(self, folder: Path) -> None:
        assert PROGRAM is not None, "guarded by needs_haproxy"
        self.folder = folder
        self.public = listener()
        self.port = self.public.getsockname()[1]
        self.tls: socket.socket | None = None
        self.generation = 0
        self.processes: list[subprocess.Popen[bytes]] = []
        self.log = folder / "haproxy.log"
        self.descriptors = 8192

    @property
    def pid(self) -> int:
        return self.processes[-1].pid

    @property
    def admin(self) -> str:
        return str(self.folder / f"admin-{self.generation}.sock")

    @property
    def runtime(self) -> Runtime:
        return Runtime(self.admin)

    @property
    def fds(self) -> list[int]:
        return [self.public.fileno(), *([self.tls.fileno()] if self.tls else [])]

    def write(self, current: Map) -> Path:
        """The config of that map, as a file."""
        text = render(
            msgspec.structs.replace(current, state=str(self.folder)),
            "balancer-1",
            listen_fd=self.public.fileno(),
            tls_fd=self.tls.fileno() if self.tls and current.public.tls else None,
            admin=f"admin-{self.generation}.sock",
            secret=SECRET,
            generation=self.generation,
            descriptors=self.descriptors,
            threads=2,
        )
        path = self.folder / f"haproxy-{self.generation}.cfg"
        path.write_text(text)
        return path

    def check(self, current: Map) -> str:
        """What HAProxy has against the config of that map, if anything."""
        done = subprocess.run(
            [str(PROGRAM), "-c", "-f", self.write(current)],
            capture_output=True, text=True, check=False, pass_fds=self.fds, cwd=self.folder,
        )  # fmt: skip
        return "" if done.returncode == 0 and "[WARNING]" not in done.stderr else done.stderr + done.stdout

    def start(self, current: Map) -> None:
        """A new HAProxy for that map, beside those that run; it accepts as soon as this returns."""
        self.generation += 1
        with self.log.open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    [str(PROGRAM), "-db", "-f", self.write(current)],
                    pass_fds=self.fds,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    preexec_fn=_dies_with_us,
                )
            )
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                run(self.runtime.info())
                return
            except Exception:
                if time.monotonic() > deadline or self.processes[-1].poll() is not None:
                    raise AssertionError(self.log.read_text()) from None
                time.sleep(0.02)

    def reload(self, current: Map) -> None:
        """As the balancer does: a new one, then the old one finishes what it has."""
        old = self.processes[-1]
        self.start(current)
        old.send_signal(signal.SIGUSR1)

    def follow(self, current: Map, ejected: frozenset[str] = frozenset()) -> list[str]:
        """One round of reconciliation; the commands that were carried out."""
        return run(follow(self.runtime, current, ejected))

    def check_says(self, web: Web, status: str) -> None:
        """Waits until HAProxy has that opinion of a server."""
        deadline = time.monotonic() + SECONDS
        while True:
            stats = run(self.runtime.stats())
            if any(one.name == web.name and one.backend == "web" and one.status == status for one in stats.servers):
                return
            assert time.monotonic() < deadline, stats
            time.sleep(0.05)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.public.close()
        if self.tls:
            self.tls.close()


async def follow(runtime: Runtime, current: Map, ejected: frozenset[str] = frozenset()) -> list[str]:
    """One round of reconciliation, as the balancer does it."""
    observed = await runtime.servers()
    busy = {Place(one.backend, one.name): one.current for one in (await runtime.stats()).servers}
    made = list(commands(current, wanted_servers(current, ejected), observed, busy))
    for command in made:
        await runtime.run(command)
    return made


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of `work`, on a loop of its own."""
    return asyncio.run(work)


@contextlib.contextmanager
def street(folder: Path, count: int, **settings: Any) -> Iterator[tuple[Door, list[Web], Map]]:
    """A door with `count` web servers behind it, started; all of it gone at the end."""
    folder.mkdir(exist_ok=True)
    webs = [Web(f"web-{number}", folder) for number in range(1, count + 1)]
    door = Door(folder)
    current = map_of(tuple(web.node for web in webs), **settings)
    try:
        for web in webs:
            web.start()
        door.start(current)
        yield door, webs, current
    finally:
        door.close()
        for web in webs:
            web.kill()
