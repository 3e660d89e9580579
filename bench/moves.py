"""What clients notice of a move: creates at a fixed rate while the shortener climbs to PostgreSQL and comes back.

The load is open: each create is sent when it is due, whatever became of the others, and its latency counts from then.
Told are the creates that were under way while writes were held (from `hold` to `flip` in the move's journal), and how
much slower creates are while rows are copied than before. The links that are there already are written into the file.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.report import median, table
from bench.servers import ROOT
from tenfold.blocks.database.keys import bucket_of
from tenfold.core.journal import read_journal
from tenfold.prove.checkers.availability import quantile

RATE = 500
LINKS = 300_000
ROUNDS = 5
IDLE_S = 20.0
QUIET_S = 4.0
SPEC = '[service]\nname = "shortener"\napp = "shortener.app:app"\n[public]\nport = 0\n[web]\naccess_log = false\n'
CREATE = (
    "POST /api/v1/data/shorten HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}"
)


@dataclass
class Load:
    """Creates at a fixed rate; `answers` has when each was due, when it was answered (wall, us) and its status."""

    port: int
    answers: list[tuple[int, int, int]] = field(default_factory=list)
    _idle: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)
    _leave: bool = False

    async def run(self) -> None:
        """Sends until `leave`."""
        began, number, open_ones = time.time(), 0, set()
        while not self._leave:
            number += 1
            due = began + number / RATE
            await asyncio.sleep(max(0.0, due - time.time()))
            task = asyncio.create_task(self._create(due, number))
            open_ones.add(task)
            task.add_done_callback(open_ones.discard)
        if open_ones:
            await asyncio.wait(open_ones)
        for _, _, writer in self._idle:
            writer.close()

    def leave(self) -> None:
        """Ends `run` once everything is answered."""
        self._leave = True

    async def _connection(self, now: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One that was used a short while ago: the server closes those that are idle for a minute."""
        while self._idle:
            since, reader, writer = self._idle.pop()
            if now - since < IDLE_S:
                return reader, writer
            writer.close()
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def _create(self, due: float, number: int) -> None:
        reader, writer = await self._connection(due)
        body = f'{{"url": "https://example.com/{number}"}}'
        writer.write(CREATE.format(len(body), body).encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        self._idle.append((time.time(), reader, writer))
        self.answers.append((int(due * 1e6), int(time.time() * 1e6), int(head[9:12])))


def tenfold(folder: Path, *words: str) -> str:
    """One command of the deployment; what it printed."""
    command = [sys.executable, "-P", "-m", "tenfold.cli.main", "--dir", str(folder), *words]
    alone = {**os.environ, "TENFOLD_DASHBOARD": "off"}  # nobody looks while it is measured
    return subprocess.run(command, check=True, capture_output=True, text=True, env=alone).stdout


def fill(path: Path) -> None:
    """Writes the links that are there before the load."""
    with sqlite3.connect(path) as connection:
        codes = (f"filled-{number:08d}" for number in range(LINKS))
        rows = ((code, f"https://example.com/{code}", 1_700_000_000_000_000, bucket_of(code)) for code in codes)
        connection.executemany("INSERT INTO links (code, url, created, tf_bucket) VALUES (?, ?, ?, ?)", rows)
    connection.close()


def spans(folder: Path) -> list[dict[str, Any]]:
    """When each stage of each move was (wall us), by its journal."""
    moves: list[dict[str, Any]] = []
    for record in read_journal(folder / ".tenfold" / "moves.jsonl"):
        if record.kind == "move.begin":
            moves.append({"move": record.data["move"]})
        elif record.kind in ("move.intent", "move.done"):
            begun, _ = moves[-1].get(record.data["stage"], (record.at_us, 0))
            moves[-1][record.data["stage"]] = (begun, record.at_us)
    return moves


def during(answers: list[tuple[int, int, int]], begin: int, end: int) -> list[int]:
    """Latencies (us) of the creates that were under way at some time between."""
    return sorted(done - due for due, done, _ in answers if done >= begin and due <= end)


async def climb_and_come_back(folder: Path, port: int) -> list[tuple[int, int, int]]:
    """Moves there and back under load; the answers."""
    load = Load(port)
    sending = asyncio.create_task(load.run())
    for words in (("climb", "2", "--yes"), ("descend", "1", "--yes")):
        await asyncio.sleep(QUIET_S)
        await asyncio.to_thread(tenfold, folder, *words)
    await asyncio.sleep(QUIET_S)
    load.leave()
    await sending
    return load.answers


def main() -> None:
    """Measures and prints."""
    with tempfile.TemporaryDirectory(prefix="tenfold-moves-") as name:
        folder = Path(name) / "svc"
        shutil.copytree(ROOT / "services" / "shortener", folder, ignore=shutil.ignore_patterns(".tenfold", "tests"))
        (folder / "tenfold.toml").write_text(SPEC)
        try:
            port = int(json.loads(tenfold(folder, "up", "--json"))["address"].rsplit(":", 1)[1])
            tenfold(folder, "down")
            (folder / "tenfold.toml").write_text(SPEC.replace("port = 0", f"port = {port}"))
            fill(folder / ".tenfold" / "data" / "shortener.db")
            tenfold(folder, "up")
            rounds = [asyncio.run(climb_and_come_back(folder, port)) for _ in range(ROUNDS)]
            print(told(rounds, spans(folder)))
        finally:
            tenfold(folder, "down")


def told(rounds: list[list[tuple[int, int, int]]], moves: list[dict[str, Any]]) -> str:
    """The tables."""
    rows = []
    for way, offset in (("climb", 0), ("descend", 1)):
        held, p50s, p99s, longest, slower, copying, failed, total = [], [], [], [], [], [], 0, 0
        for at, answers in enumerate(rounds):
            stages = moves[2 * at + offset]
            begin, end = stages["hold"][0], stages["flip"][1]
            waited = during(answers, begin, end)
            held.append((end - begin) / 1000)
            p50s.append(quantile(waited, 0.5) / 1000)
            p99s.append(quantile(waited, 0.99) / 1000)
            longest.append((waited[-1] if waited else 0) / 1000)
            first = stages["preflight"][0]
            before = during(answers, first - int(QUIET_S * 0.8e6), first)
            work = stages["copy" if way == "climb" else "catch_up"]
            while_copying = during(answers, *work)
            copying.append((work[1] - work[0]) / 1e6)
            if before and while_copying:
                slower.append(quantile(while_copying, 0.99) / max(1, quantile(before, 0.99)))
            failed += sum(status not in (200, 201) for _, _, status in answers)
            total += len(answers)
        rows.append(
            [way, f"{median(held):.0f} (at most {max(held):.0f}) ms",
             *(f"{median(each):.0f} ms" for each in (p50s, p99s)), f"{max(longest):.0f} ms",
             f"{median(copying):.1f} s", f"{median(slower):.2f}x", f"{failed} of {total:,}"]
        )  # fmt: skip
    header = ("move", "held", "p50 of those", "p99 of those", "worst", "copying", "p99 then / before", "failed")
    return table(f"{ROUNDS} moves each way, {RATE} creates/s, {LINKS:,} links", header, rows)
