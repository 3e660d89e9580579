"""What the dashboard costs: its share of a core while nobody looks, one page looks, and eight do.

A viewer does what the page does: it reads the stream of pictures (one a second), and asks for the ladder and for
figures every few seconds. CPU time is the process's own, from /proc, so that other work on the machine counts little.
Nobody uses the service meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.report import table
from bench.servers import ROOT

WINDOW_S = 20.0
SETTLE_S = 6.0
SPEC = (
    '[service]\nname = "shortener"\napp = "shortener.app:app"\n[public]\nport = 0\n'
    "[workers]\nprocesses = {workers}\n[dashboard]\nport = 0\n"
)
WORKERS = (0, 2)
VIEWERS = (0, 1, 8)
ASKS_S, ASKED = 10.0, ("/api/ladder", "/api/figures?tier=web&hours=1")
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measures a deployment of one web server, without workers and with some."""
    rows = [row for workers in WORKERS for row in measured(workers)]
    print(table("The dashboard", ["workers", "pages that look", "% of a core", "resident MB"], rows))


def measured(workers: int) -> Iterator[tuple[str, ...]]:
    """The rows of one deployment."""
    with deployment(workers) as facts:
        pid, address = facts["pid"], facts["address"]
        for viewers in VIEWERS:
            with looking(address, viewers):
                time.sleep(SETTLE_S)
                before = cpu_s(pid)
                time.sleep(WINDOW_S)
                share = (cpu_s(pid) - before) / WINDOW_S
                yield str(workers), str(viewers), f"{share * 100:.1f}", f"{resident_mb(pid):.0f}"


@contextlib.contextmanager
def deployment(workers: int) -> Iterator[dict[str, Any]]:
    """The shortener in a folder of its own; what `tenfold status` says of its dashboard."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shortener"
        ignore = shutil.ignore_patterns(".tenfold", "tests", "__pycache__")
        shutil.copytree(ROOT / "services" / "shortener", folder, ignore=ignore)
        (folder / "tenfold.toml").write_text(SPEC.format(workers=workers))
        tenfold(folder, "up")
        try:
            yield dashboard_of(folder)
        finally:
            tenfold(folder, "down")


def tenfold(folder: Path, *words: str) -> str:
    """One command of the deployment; what it printed."""
    command = [sys.executable, "-P", "-m", "tenfold.cli.main", "--dir", str(folder), *words]
    watched = {**os.environ, "TENFOLD_DASHBOARD": "on"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=watched).stdout


def dashboard_of(folder: Path) -> dict[str, Any]:
    """Its process and its address, once it is ready."""
    for _ in range(100):
        facts: dict[str, Any] = json.loads(tenfold(folder, "status", "--json"))["dashboard"] or {}
        if "address" in facts:
            return facts
        time.sleep(0.2)
    raise SystemExit("The dashboard did not become ready.")


@contextlib.contextmanager
def looking(address: str, viewers: int) -> Iterator[None]:
    """So many streams, read until the end of the block."""
    streams = [urllib.request.urlopen(f"{address}/api/feed", timeout=30) for _ in range(viewers)]

    def read(stream: Any) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            while stream.readline():
                pass

    enough = threading.Event()

    def ask() -> None:
        while not enough.wait(ASKS_S):
            for path in ASKED:
                urllib.request.urlopen(f"{address}{path}", timeout=30).read()

    threads = [threading.Thread(target=read, args=(stream,), daemon=True) for stream in streams]
    threads += [threading.Thread(target=ask, daemon=True) for _ in streams]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        enough.set()
        for stream in streams:
            stream.fp.raw._sock.shutdown(2)
        for thread in threads:
            thread.join()


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int) -> float:
    """Its memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
