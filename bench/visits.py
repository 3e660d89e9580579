"""What it costs a redirect that its visit is counted: the shortener with it, without it, and with a worker that counts.

A visit is recorded in the redirect, written together with others, and counted by a subscriber, which runs in the web
process unless there are workers. The web servers share one core; wrk has the other, and the worker too.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.dashboard import cpu_s
from bench.http import create, wrk
from bench.moves import tenfold
from bench.report import median, table
from bench.servers import LOAD_CORE, ROOT, SERVER_CORE, Server

TARGET = 0.70
ROUNDS = 7
ROUND_S = 4
BEHIND_S = 60.0
SPEC = (
    '[service]\nname = "shortener"\napp = "shortener.app:app"\n[public]\nport = 0\n[workers]\nprocesses = {workers}\n'
)
RECORDS = "    tf.events.record("


@dataclass
class Way:
    """One deployment of the shortener, and what was measured of it."""

    name: str
    folder: Path
    url: str
    web: int
    """The pid of its web server."""
    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    visits: int = 0

    def round(self, *, counts: bool) -> None:
        """One round of redirects."""
        before = cpu_s(self.web)
        rate, requests, _, errors = wrk(self.url, seconds=ROUND_S)
        assert errors == 0, f"{self.name}: {errors} of {requests} were no redirects"
        self.visits += requests
        if counts:
            self.rates.append(rate)
            self.cpu_us.append((cpu_s(self.web) - before) / requests * 1e6)

    def counted(self) -> tuple[int, float]:
        """Visits that the service shows, and the seconds until it did not show more of them."""
        began, found, changed = time.monotonic(), -1, time.monotonic()
        while time.monotonic() < min(changed + 2.0, began + BEHIND_S):
            with contextlib.closing(sqlite3.connect(self.folder / ".tenfold" / "data" / "shortener.db")) as database:
                (shown,) = database.execute("SELECT coalesce(sum(count), 0) FROM visit_totals").fetchone()
            if shown != found:
                found, changed = int(shown), time.monotonic()
            time.sleep(0.05)
        return found, changed - began


@contextlib.contextmanager
def deployed(root: Path, name: str, *, workers: int = 0, records: bool = True) -> Iterator[Way]:
    """The shortener in a folder of its own, each of its processes on its core."""
    folder = root / name.replace(" ", "-").replace(",", "")
    ignore = shutil.ignore_patterns(".tenfold", "tests", "__pycache__")
    shutil.copytree(ROOT / "services" / "shortener", folder, ignore=ignore)
    (folder / "tenfold.toml").write_text(SPEC.format(workers=workers))
    module = folder / "shortener" / "visits" / "record.py"
    if not records:
        text = module.read_text()
        assert RECORDS in text
        module.write_text(text.replace(RECORDS, "    return\n" + RECORDS))
    try:
        port = int(json.loads(tenfold(folder, "up", "--json"))["address"].rsplit(":", 1)[1])
        pids = {node["node"]: int(node["pid"]) for node in json.loads(tenfold(folder, "status", "--json"))["nodes"]}
        for node, pid in pids.items():
            os.sched_setaffinity(pid, {SERVER_CORE if node.startswith("web") else LOAD_CORE})
        server = Server(name, port, None)  # type: ignore[arg-type]
        yield Way(name, folder, f"{server.url}/{create(server)}", pids["web-1"])
    finally:
        tenfold(folder, "down")


def main() -> None:
    """Measures and prints."""
    if shutil.which("wrk") is None:
        raise SystemExit("not run: wrk is missing. On Debian or Ubuntu: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="tenfold-visits-") as name, contextlib.ExitStack() as stack:
        root = Path(name)
        without = stack.enter_context(deployed(root, "not recorded", records=False))
        ways = [
            without,
            stack.enter_context(deployed(root, "recorded, the web server counts")),
            stack.enter_context(deployed(root, "recorded, a worker counts", workers=1)),
        ]
        for number in range(ROUNDS + 1):
            for way in ways:
                way.round(counts=number > 0)
                time.sleep(0.5)
        rows = [_row(way, without) for way in ways]
        head = ["way", "requests/s", f"part (target {TARGET:.2f})", "us/req", "part in CPU", "counted", "behind s"]
        print(table("Redirects whose visits are counted", head, rows), flush=True)


def _row(way: Way, without: Way) -> tuple[str, ...]:
    part = median([mine / theirs for mine, theirs in zip(way.rates, without.rates, strict=True)])
    cpu = median([theirs / mine for mine, theirs in zip(way.cpu_us, without.cpu_us, strict=True)])
    counted, behind_s = (0, 0.0) if way is without else way.counted()
    shown = "" if way is without else f"{counted:,} of {way.visits:,}"
    rate, cost = f"{median(way.rates):,.0f}", f"{median(way.cpu_us):.1f}"
    return way.name, rate, f"{part:.2f}", cost, f"{cpu:.2f}", shown, f"{behind_s:.1f}"
