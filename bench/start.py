"""How long a web process takes until its first answer, and how much memory it has then."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.report import median, table
from bench.servers import ours, peer

ROUNDS = 7


def main() -> None:
    """Starts ours and the usual peer in turn."""
    times: dict[str, list[float]] = {}
    memory: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for label in ("tenfold, shortener", "FastAPI + SQLAlchemy"):
                place = folder / label.split(",")[0].split()[0]
                place.mkdir()
                made = (
                    ours(place, label)
                    if label.startswith("tenfold")
                    else peer(label, "bench.peers.fastapi_shortener:app", place, BENCH_DB=str(place / "x.db"))
                )
                with made as server:
                    if number:
                        times.setdefault(label, []).append(server.first_answer_s)
                        time.sleep(0.5)
                        memory.setdefault(label, []).append(server.resident_mb())
    rows = [(name, f"{median(times[name]):.2f}", f"{median(memory[name]):.0f}") for name in times]
    print(table("Start of a web process", ["server", "first answer s", "resident MB"], rows))
