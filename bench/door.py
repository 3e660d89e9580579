"""What clients notice of step 3: 2,000 requests a second over fresh, busy and idle connections while the shortener
climbs to two balancers and comes back, is scaled, and is deployed anew. Told are the requests under way during each
command: how many failed, how long the longest of them took, and how long the command itself took.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench.http import create
from bench.load import Answer, Load, told
from bench.moves import tenfold
from bench.report import median, table
from bench.servers import ROOT, Server

RATE = int(os.environ.get("BENCH_RATE", "2000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "20"))
WEB = 4
QUIET_S = 1.5
SPEC = '[service]\nname = "shortener"\napp = "shortener.app:app"\n[public]\nport = 0\n[web]\naccess_log = false\n'

Span = tuple[str, float, float]


def get(port: int, code: str) -> bytes:
    """A redirect."""
    return f"GET /{code} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode()


def edited(folder: Path, number: int) -> None:
    """Another version of the service's code."""
    module = folder / "shortener" / "__init__.py"
    kept = [line for line in module.read_text().splitlines() if not line.startswith("# bench")]
    module.write_text("\n".join([*kept, f"# bench {number}", ""]))


async def commanded(folder: Path, port: int, code: str, rounds: int) -> tuple[list[Answer], list[Span]]:
    """All commands under load; the answers, and when each command ran."""
    load, spans = Load(port, RATE, (get(port, code),)), []
    sending = asyncio.create_task(load.run())

    async def run(name: str, *words: str) -> None:
        await asyncio.sleep(QUIET_S)
        began = time.time()
        await asyncio.to_thread(tenfold, folder, *words, "--yes")
        spans.append((name, began, time.time()))
        found = told(load.answers, *spans[-1][1:])
        took = f"{spans[-1][2] - began:.1f} s, longest {found.longest_s * 1000:.0f} ms, {found.failed} failed"
        print(f"{name}: {took} {found.errors or ''}", file=sys.stderr, flush=True)

    try:
        for _ in range(rounds):
            await run("climb 3", "climb", "--only", "load-balancer")
            await run("descend", "descend", "1")
        await run("climb 3", "climb", "--only", "load-balancer")
        await run(f"scale web={WEB}", "scale", f"web={WEB}")
        for number in range(rounds):
            edited(folder, number)
            await run(f"deploy at {WEB}", "deploy")
        await run("rollback", "rollback")
        await run("descend", "descend", "1")
    finally:
        load.leave()
        await sending
    return load.answers, spans


def shown(answers: list[Answer], spans: Sequence[Span]) -> str:
    """The table."""
    rows = []
    for name in dict.fromkeys(name for name, _, _ in spans):
        runs = [(begin, end) for each, begin, end in spans if each == name]
        found = [told(answers, begin, end) for begin, end in runs]
        rows.append(
            (
                name,
                len(runs),
                f"{sum(each.requests for each in found):,}",
                sum(each.failed for each in found),
                f"{max(each.longest_s for each in found) * 1000:.0f}",
                f"{median([each.p99_s for each in found]) * 1000:.1f}",
                f"{median([end - begin for begin, end in runs]):.1f}",
            )
        )
    whole = told(answers)
    rows.append(("all the time", "", f"{whole.requests:,}", whole.failed, f"{whole.longest_s * 1000:.0f}", "", ""))
    head = ["command", "times", "requests", "failed", "longest ms", "p99 ms", "takes s (median)"]
    return table(f"{RATE:,} requests a second", head, rows) + (f"\n{whole.errors}\n" if whole.errors else "")


def main() -> None:
    """Measures and prints."""
    if shutil.which("haproxy") is None:
        sys.exit("not run: HAProxy is missing. On Debian or Ubuntu: apt-get install haproxy")
    with tempfile.TemporaryDirectory(prefix="tenfold-door-") as name:
        folder = Path(name) / "svc"
        shutil.copytree(ROOT / "services" / "shortener", folder, ignore=shutil.ignore_patterns(".tenfold", "tests"))
        (folder / "tenfold.toml").write_text(SPEC)
        try:
            port = int(json.loads(tenfold(folder, "up", "--json"))["address"].rsplit(":", 1)[1])
            code = create(Server("shortener", port, None))  # type: ignore[arg-type]
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                print(shown(*runner.run(commanded(folder, port, code, ROUNDS))), flush=True)
        finally:
            tenfold(folder, "down")
