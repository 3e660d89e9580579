"""The tasks block end to end: no-op jobs that are enqueued one by one, durably, claimed, run and finished.

One process enqueues and works, on one loop, with everything on (fencing, leases, retries, timeouts). Peers in the same
run: huey on SQLite (durable rows, at most once: a popped job is gone), procrastinate on the same PostgreSQL (durable,
at least once), dramatiq on its StubBroker (in memory: nothing of it survives the process).
"""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop
from sqlalchemy import MetaData

from bench.report import median, table
from tenfold.blocks.database import Database, DatabaseConfig
from tenfold.blocks.database.schema import apply_own
from tenfold.blocks.tasks import Tasks
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.drivers.sqlite import open_writer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

ROUNDS = 3
JOBS = 10_000
PRODUCERS = 200
"""Who enqueue at once, as requests of a service do; each waits for its commit before it goes on."""

PEER_JOBS = {"huey, SQLite": 3_000, "procrastinate, PostgreSQL": 600, "dramatiq, StubBroker": 3_000}
Figures = tuple[float, float, float]
"""Enqueues a second, jobs a second end to end, microseconds of this process's CPU a job."""


def cpu() -> float:
    """Seconds of this process's CPU time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def ours(config: DatabaseConfig) -> Figures:
    """All features on."""
    database = Database(MetaData())
    tasks, ran, over = Tasks(database, SYSTEM_CLOCK, SYSTEM_RANDOMNESS), 0, asyncio.Event()

    @tasks.task()
    async def nothing(number: int) -> None:
        nonlocal ran
        ran += 1
        if ran == JOBS:
            over.set()

    numbers = iter(range(JOBS))

    async def produce() -> None:
        for number in numbers:
            await nothing.enqueue(number)

    await database.start(config, print)
    await tasks.start()
    tasks.work(True)
    try:
        began, used = time.perf_counter(), cpu()
        await asyncio.gather(*(produce() for _ in range(PRODUCERS)))
        enqueued = time.perf_counter() - began
        await over.wait()
        while tasks.busy():
            await asyncio.sleep(0.001)
        return JOBS / enqueued, JOBS / (time.perf_counter() - began), (cpu() - used) / JOBS * 1e6
    finally:
        await tasks.stop()
        await database.stop()


def huey_sqlite(folder: Path) -> Figures:
    """Its consumer with four threads, fsync on, as the jobs of a service want it."""
    from huey import SqliteHuey  # noqa: PLC0415

    count, done = PEER_JOBS["huey, SQLite"], threading.Event()
    huey, ran = SqliteHuey(filename=str(folder / f"huey{time.monotonic_ns()}.db"), fsync=True), 0
    lock = threading.Lock()

    @huey.task()  # type: ignore[untyped-decorator]
    def nothing(number: int) -> None:
        nonlocal ran
        with lock:
            ran += 1
            if ran == count:
                done.set()

    consumer = huey.create_consumer(workers=4, periodic=False, initial_delay=0.001, max_delay=0.01)
    consumer.start()
    try:
        return _blocking(nothing, count, done)
    finally:
        consumer.stop(graceful=True)


def dramatiq_stub() -> Figures:
    """In memory."""
    import dramatiq  # noqa: PLC0415
    from dramatiq.brokers.stub import StubBroker  # noqa: PLC0415

    count, done, ran, lock = PEER_JOBS["dramatiq, StubBroker"], threading.Event(), 0, threading.Lock()
    broker = StubBroker()
    dramatiq.set_broker(broker)

    def nothing(number: int) -> None:
        nonlocal ran
        with lock:
            ran += 1
            if ran == count:
                done.set()

    actor = dramatiq.actor(nothing, broker=broker)
    worker = dramatiq.Worker(broker, worker_threads=4)
    worker.start()
    try:
        return _blocking(actor.send, count, done)
    finally:
        worker.stop()
        broker.close()


def _blocking(enqueue: Callable[[int], Any], count: int, done: threading.Event) -> Figures:
    began, used = time.perf_counter(), cpu()
    for number in range(count):
        enqueue(number)
    enqueued = time.perf_counter() - began
    done.wait(60)
    return count / enqueued, count / (time.perf_counter() - began), (cpu() - used) / count * 1e6


async def procrastinate_postgres(address: dict[str, Any]) -> Figures:
    """Its worker with a concurrency of 50, and as many who enqueue as ours have."""
    from procrastinate import App, PsycopgConnector  # noqa: PLC0415

    count, ran, done = PEER_JOBS["procrastinate, PostgreSQL"], 0, asyncio.Event()
    app = App(connector=PsycopgConnector(kwargs=address, min_size=4, max_size=8))

    @app.task(name="nothing")
    async def nothing(number: int) -> None:
        nonlocal ran
        ran += 1
        if ran == count:
            done.set()

    numbers = iter(range(count))

    async def produce() -> None:
        for number in numbers:
            await nothing.defer_async(number=number)

    async with app.open_async():
        worker = asyncio.create_task(
            app.run_worker_async(concurrency=50, install_signal_handlers=False, delete_jobs="successful")
        )
        began, used = time.perf_counter(), cpu()
        await asyncio.gather(*(produce() for _ in range(PRODUCERS)))
        enqueued = time.perf_counter() - began
        await asyncio.wait_for(done.wait(), 60)
        took = time.perf_counter() - began
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    return count / enqueued, count / took, (cpu() - used) / count * 1e6


class Server:
    """PostgreSQL, with a database for ours and one for procrastinate; None where it is not installed."""

    def __init__(self) -> None:
        import postgres  # noqa: PLC0415
        from postgres_kit import PostgresKit  # noqa: PLC0415

        self.kit = PostgresKit()
        self.config = self.kit.create(Path(), MetaData())
        server = postgres.server()
        name = server.fresh_name("peer")
        server.sql(f"CREATE DATABASE {name}")
        self.address = {"host": server.host, "port": server.port, "dbname": name}
        self.address |= {"user": postgres.SUPERUSER, "password": server.password}
        asyncio.run(self._schema())

    async def _schema(self) -> None:
        from procrastinate import App, PsycopgConnector  # noqa: PLC0415

        app = App(connector=PsycopgConnector(kwargs=self.address))
        async with app.open_async():
            await app.schema_manager.apply_schema_async()


def rounds(folder: Path, server: Server | None) -> dict[str, list[Figures]]:
    """Interleaved, so that a busy neighbour slows all of them."""
    path = folder / "bench.db"
    connection = open_writer(path, create=True)
    apply_own(connection, now_us=0)
    connection.close()
    found: dict[str, list[Figures]] = {}
    for _ in range(ROUNDS):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found.setdefault("tenfold, SQLite", []).append(runner.run(ours(DatabaseConfig(path, "bench"))))
            if server is not None:
                found.setdefault("tenfold, PostgreSQL", []).append(runner.run(ours(server.config)))
                peer = runner.run(procrastinate_postgres(server.address))
                found.setdefault("procrastinate, PostgreSQL", []).append(peer)
        found.setdefault("huey, SQLite", []).append(huey_sqlite(folder))
        found.setdefault("dramatiq, StubBroker", []).append(dramatiq_stub())
    return found


def main() -> None:
    """Prints the table."""
    logging.disable(logging.CRITICAL)
    import postgres  # noqa: PLC0415

    server = Server() if postgres.programs() is not None else None
    with tempfile.TemporaryDirectory() as name:
        found = rounds(Path(name), server)
    best = {"SQLite": "tenfold, SQLite", "PostgreSQL": "tenfold, PostgreSQL", "StubBroker": "tenfold, SQLite"}
    rows = []
    for way, figures in sorted(found.items(), key=lambda item: "tenfold" not in item[0]):
        ratio = median([found[best[way.rpartition(" ")[2]]][n][1] / each[1] for n, each in enumerate(figures)])
        rows.append((way, *(f"{median([each[at] for each in figures]):,.0f}" for at in range(3)), f"{ratio:.1f}"))
    print(
        table(
            "No-op jobs, enqueued one by one (targets: 12,000 jobs/s on SQLite, 8,000 on PostgreSQL)",
            ["way", "enqueues/s", "jobs/s end to end", "CPU us/job, this process", "tenfold is x times faster"],
            rows,
        )
    )
