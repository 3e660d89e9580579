"""Redirects and durable creates over HTTP: all servers run at once, rounds of wrk are interleaved, medians count.

wrk comes from Debian's package of that name. The servers share one core, wrk has the other; `us/req` is CPU time of the
server's process per request, which neighbours on the machine disturb least.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.report import median, table
from bench.servers import LOAD_CORE, Server, ours, peer, pinned

ROUNDS = 5
ROUND_S = 2
CONNECTIONS = 32

CREATE_LUA = """
local n, who = 0, 0
function setup(thread) end
request = function()
  n = n + 1
  local body = '{"url": "https://example.com/page/' .. n .. '?round=%s"}'
  return wrk.format("POST", "/api/v1/data/shorten", {["content-type"] = "application/json"}, body)
end
done = function(summary, latency, requests)
  io.write(string.format("errors %%d\\n", summary.errors.status))
end
"""


@dataclass
class Figures:
    """What was measured of one server."""

    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    errors: int = 0


def wrk(url: str, script: Path | None = None, seconds: float = ROUND_S) -> tuple[float, int, float, int]:
    """(requests per second, requests, p99 in ms, responses that were errors)."""
    command = [*pinned(LOAD_CORE), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    command += ["-s", str(script)] if script else []
    text = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    rate = float(_found(r"Requests/sec:\s+([\d.]+)", text))
    requests = int(_found(r"(\d+) requests in", text))
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return rate, requests, float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit], int(errors[1]) if errors else 0


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"wrk printed no {pattern}:\n{text}")
    return match[1]


def rounds(
    targets: Sequence[tuple[Server, str]], script: str | None = None, folder: Path | None = None
) -> dict[str, Figures]:
    """Interleaved rounds over all targets."""
    found = {server.name: Figures() for server, _ in targets}
    for number in range(-1, ROUNDS):
        for server, url in targets:
            path = None
            if script is not None and folder is not None:
                path = folder / "create.lua"
                path.write_text(script % number)
            before = server.cpu_s()
            rate, requests, p99, errors = wrk(url, path)
            if number < 0:
                continue  # warm-up
            figures = found[server.name]
            figures.rates.append(rate)
            figures.cpu_us.append((server.cpu_s() - before) / requests * 1e6)
            figures.p99_ms.append(p99)
            figures.errors += errors
    return found


def create(server: Server, **fields: str) -> str:
    """Makes one link; its code."""
    body = json.dumps({"url": "https://example.com/some/page?with=query", **fields}).encode()
    request = urllib.request.Request(
        server.url + "/api/v1/data/shorten", data=body, headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(json.load(answer)["code"])


def show(title: str, found: dict[str, Figures], base: str) -> str:
    """The table, with ratios to the server named `base`."""
    reference = median(found[base].rates)
    rows = [
        (
            name,
            f"{median(figures.rates):,.0f}",
            f"{median(figures.rates) / reference:.2f}",
            f"{median(figures.cpu_us):.1f}",
            f"{median(figures.p99_ms):.1f}",
            figures.errors,
        )
        for name, figures in found.items()
    ]
    return table(title, ["server", "requests/s", f"of {base}", "us/req", "p99 ms", "errors"], rows)


def main() -> None:
    """Runs both workloads and prints both tables."""
    if shutil.which("wrk") is None:
        raise SystemExit("not run: wrk is missing. On Debian or Ubuntu: apt-get install wrk")
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)

        def room(part: str) -> Path:
            (folder / part).mkdir()
            return folder / part

        constant = stack.enter_context(peer("raw ASGI, constant", "bench.peers.constant:app", room("a")))
        starlette = stack.enter_context(
            ours(room("b"), "tenfold, Starlette route", "bench.peers.plain_starlette:app", BENCH_WRAPPED="1")
        )
        bare = stack.enter_context(peer("Starlette alone", "bench.peers.plain_starlette:bare", room("c")))
        fastapi = "bench.peers.fastapi_shortener:app"
        cheap = stack.enter_context(peer("FastAPI, no Depends", fastapi, room("d"), BENCH_DB=str(folder / "d.db")))
        usual = stack.enter_context(
            peer("FastAPI + Depends", fastapi, room("e"), BENCH_DB=str(folder / "e.db"), BENCH_DEPENDS="1")
        )
        tenfold = stack.enter_context(ours(room("f"), "tenfold, hot route"))
        redirects = [(server, f"{server.url}/{create(server)}") for server in (tenfold, cheap, usual)]
        redirects += [(server, f"{server.url}/abcdefg") for server in (constant, starlette, bare)]
        print(show("Redirect, warm, 32 connections", rounds(redirects), constant.name), flush=True)
        creates = [(server, server.url) for server in (tenfold, cheap, usual)]
        print(show("Durable create, 32 connections", rounds(creates, CREATE_LUA, folder), usual.name), flush=True)
