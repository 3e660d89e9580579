"""The database block on PostgreSQL against asyncpg by hand and SQLAlchemy's asyncio engine: reads, durable creates.

All ways run in this process on one loop, in interleaved rounds; the server has its own processes. The figure to trust
is the CPU time of this process per operation (user + system): the rate depends on the neighbours, too.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import sqlalchemy as sa
import uvloop
from sqlalchemy import MetaData, bindparam, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from bench.report import median, table
from tenfold import Column, Text, Transaction, sharded_by
from tenfold.blocks.database import Database, DatabaseConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import postgres
from postgres_kit import PostgresKit

ROUNDS = 5
SECONDS = 1.0
ROWS = 10_000
POOL = 8
"""Connections of each way."""

URL = "https://example.com/some/page"
Operation = Callable[[str], Awaitable[object]]


@dataclass
class Way:
    """One way to do it."""

    name: str
    read: Operation
    create: Operation


class Hand:
    """Prepared statements on a few connections, as one writes it by hand."""

    def __init__(self) -> None:
        self.free: asyncio.Queue[tuple[asyncpg.Connection[Any], Any, Any]] = asyncio.Queue()

    async def open(self, address: dict[str, Any]) -> None:
        """Opens the connections."""
        for _ in range(POOL):
            connection = await asyncpg.connect(**address, server_settings={"jit": "off"})
            find = await connection.prepare("SELECT code, url FROM links WHERE code = $1")
            add = await connection.prepare("INSERT INTO links (code, url, tf_bucket) VALUES ($1, $2, 0)")
            await self.free.put((connection, find, add))

    async def read(self, code: str) -> object:
        """A point read."""
        borrowed = await self.free.get()
        try:
            return await borrowed[1].fetchrow(code)
        finally:
            self.free.put_nowait(borrowed)

    async def create(self, code: str) -> object:
        """One durable row: a transaction of one statement, READ COMMITTED."""
        borrowed = await self.free.get()
        try:
            return await borrowed[2].fetch(code, URL)
        finally:
            self.free.put_nowait(borrowed)

    async def close(self) -> None:
        """Closes them."""
        while not self.free.empty():
            await self.free.get_nowait()[0].close()


class Ours:
    """The block."""

    def __init__(self) -> None:
        self.database = database = Database(MetaData())
        self.links = database.table(
            "links",
            Column("code", Text(64), primary_key=True),
            Column("url", Text(2048), nullable=False),
            home=sharded_by("code"),
        )
        add, find = insert(self.links), select(self.links).where(self.links.c.code == bindparam("code"))

        @database.transaction(key="code")
        async def create(tx: Transaction, code: str, url: str) -> None:
            await tx.run(add, code=code, url=url)

        async def read(code: str) -> object:
            async with database.read(code) as db:
                return await db.one_or_none(find, code=code)

        self.read = read
        self.create = lambda code: create(code, URL)

    async def fill(self) -> None:
        """The rows that are read."""
        for start in range(0, ROWS, 100):
            await asyncio.gather(*(self.create(f"r{start + at}") for at in range(100)))


PLAIN = sa.Table(
    "links",
    MetaData(),
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("url", sa.Text),
    sa.Column("tf_bucket", sa.SmallInteger),
)
"""The same table in SQLAlchemy's own types, which its cache of compiled statements knows best."""


def alchemy(engine: AsyncEngine, *, serializable: bool) -> Way:
    """SQLAlchemy's asyncio engine, as its documentation shows it; reads in AUTOCOMMIT, which is its cheapest way."""
    add, find = insert(PLAIN), select(PLAIN).where(PLAIN.c.code == bindparam("code"))
    reading = engine.execution_options(isolation_level="AUTOCOMMIT")
    writing = engine.execution_options(isolation_level="SERIALIZABLE") if serializable else engine

    async def read(code: str) -> object:
        async with reading.connect() as connection:
            return (await connection.execute(find, {"code": code})).one_or_none()

    async def create(code: str) -> object:
        async with writing.begin() as connection:
            return await connection.execute(add, {"code": code, "url": URL, "tf_bucket": 0})

    name = "SQLAlchemy asyncio, SERIALIZABLE" if serializable else "SQLAlchemy asyncio"
    return Way(name, read, create)


async def measured(callers: int, operation: Operation, name: Callable[[int, int], str]) -> tuple[float, float]:
    """(operations per second, microseconds of this process's CPU per operation) with so many callers."""
    done = 0
    end = time.perf_counter() + SECONDS

    async def caller(who: int) -> None:
        nonlocal done
        at = 0
        while time.perf_counter() < end:
            await operation(name(who, at))
            at += 1
            done += 1

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller(who) for who in range(callers)))
    return done / (time.perf_counter() - began), (time.process_time() - cpu) / done * 1e6


Figures = dict[tuple[str, int], list[tuple[float, float]]]


async def rounds(ways: list[Way]) -> tuple[Figures, Figures]:
    """Interleaved: each way is measured once in each round."""
    reads: Figures = {}
    creates: Figures = {}
    for number in range(ROUNDS + 1):
        for callers in (1, 32, 128):
            for way in ways:
                got = await measured(callers, way.read, lambda who, at: f"r{(who * 7919 + at * 31) % ROWS}")
                tag = f"{way.name}-{number}-{callers}"
                made = await measured(callers, way.create, lambda who, at, tag=tag: f"{tag}-{who}-{at}")  # type: ignore[misc]
                if number:  # the first round warms up
                    reads.setdefault((way.name, callers), []).append(got)
                    creates.setdefault((way.name, callers), []).append(made)
    return reads, creates


def shown(title: str, figures: Figures, against: str) -> str:
    """One table; the last two columns compare with `against` at the same number of callers."""
    rows = []
    for (name, callers), got in figures.items():
        rate, cpu = median([a for a, _ in got]), median([b for _, b in got])
        other = figures[(against, callers)]
        ratios = (rate / median([a for a, _ in other]), cpu / median([b for _, b in other]))
        rows.append((name, callers, f"{rate:,.0f}", f"{cpu:.1f}", f"{ratios[0]:.2f}", f"{ratios[1]:.2f}"))
    rows.sort(key=lambda row: row[1])
    return table(title, ["way", "callers", "per second", "CPU us", f"rate / {against}", f"CPU / {against}"], rows)


async def measure(kit: PostgresKit, folder: Path) -> None:
    """Opens all ways on one database and prints two tables."""
    ours, hand = Ours(), Hand()
    config: DatabaseConfig = kit.create(folder, ours.database.metadata)
    assert config.server is not None
    server = config.server
    await ours.database.start(config, print)
    url = f"postgresql+asyncpg://{server.user}:{server.password}@{server.host}:{server.port}/{server.database}"
    engine = create_async_engine(url, pool_size=POOL, max_overflow=0)
    address = {"host": server.host, "port": server.port, "database": server.database}
    await hand.open({**address, "user": server.user, "password": server.password})
    await ours.fill()
    kit.outside("ANALYZE")
    ways = [
        Way("asyncpg by hand", hand.read, hand.create),
        Way("tenfold", ours.read, ours.create),
        alchemy(engine, serializable=False),
        alchemy(engine, serializable=True),
    ]
    reads, creates = await rounds(ways)
    print(shown("Point read (PostgreSQL)", reads, "asyncpg by hand"))
    print(shown("Durable create (PostgreSQL, fsync on)", creates, "SQLAlchemy asyncio"))
    await hand.close()
    await engine.dispose()
    await ours.database.stop()


def main() -> None:
    """Runs on a server of its own in a temporary folder."""
    if postgres.PROGRAMS is None:
        print("postgres: not run: there is no PostgreSQL 15 or newer here")
        return
    server = postgres.PostgresServer()
    try:
        server.start()
        with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(measure(PostgresKit(server), Path(name)))
    finally:
        server.remove()
