"""What a balancer costs and brings: layer 4 against layer 7, the strategies, and small machines side by side.

Servers share one core and HAProxy has the other, with wrk. Rounds over all candidates are interleaved; medians count.
The machines of the last table are processes that get 5 % of a core each; that needs root and is not run without.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.http import CONNECTIONS, create
from bench.report import median, table
from bench.servers import LOAD_CORE, Server, ours, peer, pinned, wait_until_it_answers
from tenfold.tour.caps import capped, possible

HAPROXY = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin") or ""
ROUNDS = 7
ROUND_S = 2
PART = 0.05
SIZES = (1, 2, 4, 8)
PER_MACHINE = 16
BARE = """
global
    maxconn 4000
defaults
    mode {mode}
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    {options}
listen bench
    bind 127.0.0.1:{port}
    balance {balance}
"""
HTTP = "option idle-close-on-response\n    http-reuse safe"
FULL = """    option http-buffer-request
    retry-on conn-failure empty-response response-timeout
    http-request disable-l7-retry if !METH_GET
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Request-Id %[uuid()]
    http-request deny deny_status 413 if { req.body_size gt 1048576 }
    filter compression
    compression algo gzip
    compression type text/html application/json
"""

Measured = dict[str, tuple[list[float], list[float], list[float], list[float]]]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def haproxy(name: str, config: str, port: int, folder: Path) -> Iterator[Server]:
    """A running HAProxy on the core of the load."""
    path = folder / f"{port}.cfg"
    path.write_text(config)
    command = [*pinned(LOAD_CORE), HAPROXY, "-db", "-f", str(path)]
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until_it_answers(process, port)
            yield Server(name, port, process)
        finally:
            process.terminate()
            process.wait(10)


def config(
    servers: Sequence[Server], port: int, *, mode: str = "http", balance: str = "roundrobin", full: bool = False
) -> str:
    """A small configuration over some servers."""
    text = BARE.format(mode=mode, port=port, balance=balance, options=HTTP if mode == "http" else "")
    text += FULL if full else ""
    return text + "".join(f"    server s{at} 127.0.0.1:{each.port}\n" for at, each in enumerate(servers))


def wrk(url: str, connections: int, seconds: float = ROUND_S) -> tuple[float, int, float, float, int]:
    """(requests per second, requests, p50 in ms, p99 in ms, responses that were errors)."""
    command = [*pinned(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = float(_found(r"Requests/sec:\s+([\d.]+)", text)[0])
    requests = int(_found(r"(\d+) requests in", text)[0])
    p50, p99 = (_ms(*_found(rf"{part}%\s+([\d.]+)(us|ms|s)", text)) for part in (50, 99))
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return rate, requests, p50, p99, int(errors[1]) if errors else 0


def _found(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"wrk printed no {pattern}:\n{text}")
    return match.groups()


def _ms(value: str, unit: str) -> float:
    return float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]


def rounds(targets: Sequence[tuple[Server, str]], connections: int) -> Measured:
    """Rates, p50, p99 (ms) and CPU (us a request) by name, over interleaved rounds."""
    found: Measured = {server.name: ([], [], [], []) for server, _ in targets}
    for number in range(-1, ROUNDS):
        for server, url in targets:
            before = server.cpu_s()
            rate, requests, p50, p99, errors = wrk(url, connections)
            if errors:
                raise RuntimeError(f"{server.name} answered with {errors} errors")
            if number >= 0:
                cpu_us = (server.cpu_s() - before) / requests * 1e6
                for values, value in zip(found[server.name], (rate, p50, p99, cpu_us), strict=True):
                    values.append(value)
    return found


def layers(folder: Path) -> None:
    """Layer 4 against layer 7, over one web server."""
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(ours(_room(folder, "web"), "no balancer"))
        code, targets = create(web), []
        for name, settings in (
            ("layer 4 (mode tcp)", {"mode": "tcp"}),
            ("layer 7 (mode http)", {}),
            ("layer 7, all that step 3 does", {"full": True}),
        ):
            port = free_port()
            targets.append(stack.enter_context(haproxy(name, config([web], port, **settings), port, folder)))  # type: ignore[arg-type]
        every = [(server, f"{server.url}/{code}") for server in (web, *targets)]
        many, one = rounds(every, CONNECTIONS), rounds(every, 1)
    base = median(one[web.name][1])
    rows = [
        (
            server.name,
            f"{median(many[server.name][0]):,.0f}",
            "" if server is web else f"{median(many[server.name][3]):.1f}",
            f"{median(one[server.name][1]):.3f}",
            "" if server is web else f"+{median(one[server.name][1]) - base:.3f}",
        )
        for server, _ in every
    ]
    head = ["way", f"requests/s, {CONNECTIONS} connections", "balancer us/req", "p50 ms, 1 connection", "added ms"]
    print(table("Layer 4 against layer 7: a redirect of the shortener", head, rows), flush=True)


def strategies(folder: Path) -> None:
    """Four servers of which one is ten times as slow as the others."""
    with contextlib.ExitStack() as stack:
        app = "bench.peers.waiting:app"
        waits = {"fast-1": "5", "fast-2": "5", "fast-3": "5", "slow": "50"}
        servers = [
            stack.enter_context(peer(name, app, _room(folder, name), BENCH_WAIT_MS=wait))
            for name, wait in waits.items()
        ]
        targets = []
        for name in ("roundrobin", "leastconn", "random(2)", "source"):
            port = free_port()
            text = config(servers, port, balance=name)
            targets.append(stack.enter_context(haproxy(name, text, port, folder)))
        found = rounds([(each, each.url + "/") for each in targets], CONNECTIONS)
    rows = [
        (name, f"{median(figures[0]):,.0f}", f"{median(figures[1]):.1f}", f"{median(figures[2]):.1f}")
        for name, figures in found.items()
    ]
    title = f"Strategies: three servers of 5 ms and one of 50 ms, {CONNECTIONS} connections of one client"
    print(table(title, ["strategy", "requests/s", "p50 ms", "p99 ms"], rows), flush=True)


def machines(folder: Path) -> None:
    """The same service on one, two, four and eight small machines."""
    found: dict[int, list[float]] = {size: [] for size in SIZES}
    late: dict[int, list[float]] = {size: [] for size in SIZES}
    with contextlib.ExitStack() as stack:
        servers, urls = [], {}
        for number in range(max(SIZES)):
            name = f"machine-{number}"
            servers.append(stack.enter_context(ours(_room(folder, name), name)))
        for server in servers:
            create(server, alias="bench-page")
        for size in SIZES:
            port = free_port()
            text = config(servers[:size], port, balance="leastconn", full=True)
            urls[size] = stack.enter_context(haproxy(f"{size}", text, port, folder)).url + "/bench-page"
        for server in servers:
            stack.enter_context(capped(server.name, server.process.pid, PART))
        for number in range(-1, ROUNDS):
            for size in SIZES:
                rate, _, _, p99, errors = wrk(urls[size], PER_MACHINE * size)
                if errors:
                    raise RuntimeError(f"{errors} errors at {size} machines")
                if number >= 0:
                    found[size].append(rate)
                    late[size].append(p99)
    print(table(f"Machines of {PART:.0%} of a core", *_scaled(found, late)), flush=True)


def _scaled(found: Mapping[int, list[float]], late: Mapping[int, list[float]]) -> tuple[list[str], list[list[object]]]:
    one = median(found[1])
    rows: list[list[object]] = [
        [
            size,
            f"{median(found[size]):,.0f}",
            f"{median(found[size]) / one:.2f}",
            f"{median(found[size]) / one / size:.2f}",
            f"{median(late[size]):.0f}",
        ]
        for size in SIZES
    ]
    return ["web servers", "requests/s", "times one", "of N times one", "p99 ms"], rows


def _room(folder: Path, part: str) -> Path:
    (folder / part).mkdir()
    return folder / part


def main() -> None:
    """Measures and prints."""
    if shutil.which("wrk") is None:
        sys.exit("not run: wrk is missing. On Debian or Ubuntu: apt-get install wrk")
    if not HAPROXY:
        sys.exit("not run: HAProxy is missing. On Debian or Ubuntu: apt-get install haproxy")
    for part in (layers, strategies):
        with tempfile.TemporaryDirectory() as name:
            part(Path(name))
    if not possible():
        print("Machines of a part of a core: not run (needs root and cgroups).", flush=True)
        return
    with tempfile.TemporaryDirectory() as name:
        machines(Path(name))
