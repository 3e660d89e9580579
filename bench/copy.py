"""The copy of a SQLite file to PostgreSQL, idle: rows a second of each part at two widths of rows, and the fence."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from bench.report import table
from tenfold import Column, Int64, Text, UtcDateTime, Uuid, sharded_by
from tenfold.blocks.database.tables import define
from tenfold.moves.copy_to_postgres import build

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from moving_rows import Cell, Said, programs, tiny_server

ROWS = int(os.environ.get("BENCH_ROWS", "500000"))
PARTS = ("preflight", "copy", "constraints", "verify", "fence", "open")
DURABLE = ("fsync=on", "full_page_writes=on", "shared_buffers=256MB", "max_wal_size=2GB")


def narrow() -> sa.MetaData:
    """Short links: text key, a secondary index."""
    metadata = sa.MetaData()
    columns = (
        Column("code", Text(32), primary_key=True),
        Column("url", Text(2048), nullable=False),
        Column("hits", Int64(), nullable=False),
        Column("at", UtcDateTime(), nullable=False),
    )
    links = define(metadata, "links", columns, sharded_by("code"))
    sa.Index("ix_links_at", links.c.at)
    return metadata


def wide() -> sa.MetaData:
    """Rows of about 1 kB with a UUID as their key."""
    metadata = sa.MetaData()
    columns = (Column("id", Uuid(), primary_key=True), Column("body", Text(2048), nullable=False))
    define(metadata, "notes", columns, sharded_by("id"))
    return metadata


def fill(cell: Cell, rows: int) -> None:
    """Rows as a service would have written them."""
    start = 1_700_000_000_000_000
    with cell.open_file() as connection:
        connection.execute("BEGIN")
        if "links" in cell.metadata.tables:
            made = ((f"c{n:09d}", f"https://example.com/{n}", n, start + n, n % 4096) for n in range(rows))
            connection.executemany("INSERT INTO links VALUES (?, ?, ?, ?, ?)", made)
        else:
            bodies = ((n.to_bytes(16, "big"), "x" * 1000, n % 4096) for n in range(rows))
            connection.executemany("INSERT INTO notes VALUES (?, ?, ?)", bodies)
        connection.execute("COMMIT")


async def measure(cell: Cell, rows: int) -> dict[str, float]:
    """Seconds of each stage."""
    took, said = {}, Said()
    for stage in (await build(cell)).stages:
        began = time.perf_counter()
        await stage.do(said)
        took[stage.name] = time.perf_counter() - began
    assert said.facts["differences"] == 0
    return took


def main() -> None:
    """Prints the table."""
    if programs() is None:
        print("copy: not run, PostgreSQL is not installed")
        return
    rows = []
    with tiny_server(*DURABLE) as server:
        for name, metadata, count in (("150 B", narrow(), ROWS), ("1 kB", wide(), ROWS // 4)):
            with tempfile.TemporaryDirectory(prefix="tf-bench-") as folder:
                cell = Cell(Path(folder), server, metadata)
                cell.make_file()
                fill(cell, count)
                took = asyncio.run(measure(cell, count))
            rates = [f"{count / took[part]:,.0f}" for part in PARTS[:4]]
            rows.append((name, f"{count:,}", *rates, f"{1000 * (took['fence'] + took['open']):.1f}"))
    header = ("row", "rows", *(f"{part}, rows/s" for part in PARTS[:4]), "fence and open, ms")
    print(table("Copy to PostgreSQL, idle service", header, rows))


if __name__ == "__main__":
    main()
