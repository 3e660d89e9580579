"""The metrics and log blocks alone: an `add`, a line, a flush; prometheus-client and `logging` in the same run."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter
from sqlalchemy import MetaData

from bench.report import median, table
from tenfold.blocks.database import Database, DatabaseConfig
from tenfold.blocks.database.schema import apply_own
from tenfold.blocks.database.scope import RequestScope, enter_scope
from tenfold.blocks.log import Log
from tenfold.blocks.metrics import Metrics
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.lines import Lines, Outlet
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.core.trace import Traces
from tenfold.drivers.sqlite import open_writer

ROUNDS = 7
CALLS = 20_000
LINES = 5_000

Call = Callable[[], object]


def microseconds(call: Call, calls: int) -> float:
    """What one call takes, in time of this process: nothing of it waits, and others may be busy."""
    began = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - began) / calls * 1e6


def medians(calls: dict[str, Call], count: int) -> dict[str, float]:
    """The median of each over the rounds; they take turns, so that a busy moment meets all."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            found[name].append(microseconds(call, count))
    return {name: median(values) for name, values in found.items()}


def rows(found: dict[str, float], peers: dict[str, str]) -> list[list[str]]:
    """Rows of the table; `peers` names what each is compared with."""
    return [
        [name, f"{value:.2f}", f"{value / found[peers[name]]:.2f} of {peers[name]}" if name in peers else ""]
        for name, value in found.items()
    ]


def counting(metrics: Metrics) -> dict[str, Call]:
    """What is measured of counting."""
    registry = CollectorRegistry()
    plain = Counter("plain", "x", registry=registry)
    labelled = Counter("labelled", "x", ["plan"], registry=registry)
    count, by_plan = metrics.count("plain"), metrics.count("by_plan", labels=("plan",))
    revenue, active, returning = metrics.sum("revenue"), metrics.unique("active"), metrics.visits("returning")
    users = itertools.cycle([f"user {number}" for number in range(1000)])
    amount = Decimal("9.90")
    return {
        "count.add()": count.add,
        "prometheus-client inc()": plain.inc,
        "count.add(plan=...)": lambda: by_plan.add(plan="free"),
        "prometheus-client labels(...).inc()": lambda: labelled.labels(plan="free").inc(),
        "sum.add(Decimal)": lambda: revenue.add(amount),
        "unique.add(user)": lambda: active.add(next(users)),
        "visits.add(user)": lambda: returning.add(next(users)),
    }


class JsonFormatter(logging.Formatter):
    """The least that says the same."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "logger": record.name,
            "code": getattr(record, "code", None),
            "request": getattr(record, "request", None),
        }
        return json.dumps(line)


def logger(name: str, formatter: logging.Formatter, stream: io.TextIOBase) -> logging.Logger:
    """A logger of the standard library that writes each line as it comes."""
    made = logging.getLogger(name)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    made.addHandler(handler)
    made.setLevel(logging.INFO)
    made.propagate = False
    return made


async def logging_costs(folder: Path) -> dict[str, float]:
    """Lines into files, in a request."""
    fd = os.open(folder / "ours.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    log = Log("shop", SYSTEM_CLOCK, SYSTEM_RANDOMNESS, node="web-1", lines=Lines(Outlet(fd)))
    scope = RequestScope(request_id="5f0c1a2b3d-1f")
    scope.trace = Traces(SYSTEM_RANDOMNESS).next()
    enter_scope(scope)
    with (folder / "json.log").open("a") as json_file, (folder / "plain.log").open("a") as plain_file:
        as_json = logger("bench.json", JsonFormatter(), json_file)
        plain = logger("bench.plain", logging.Formatter("%(asctime)s %(levelname)s %(message)s"), plain_file)
        extra = {"code": "abc123", "request": "5f0c1a2b3d-1f"}
        found = medians(
            {
                "log.info(...)": lambda: log.info("link made", code="abc123"),
                "logging, JSON": lambda: as_json.info("link made", extra=extra),
                "logging, plain text": lambda: plain.info("link made code=%s", "abc123"),
                "log.debug(...), off": lambda: log.debug("link made", code="abc123"),
                "logging debug, off": lambda: plain.debug("link made code=%s", "abc123"),
            },
            LINES,
        )
    log.flush()
    os.close(fd)
    return found


async def flushing(folder: Path) -> list[list[str]]:
    """What a flush takes, for a few and for many series."""
    path = folder / "bench.db"
    connection = open_writer(path, create=True)
    apply_own(connection, now_us=1)
    connection.close()
    database = Database(MetaData())
    await database.start(DatabaseConfig(path, "bench"), lambda error: None)
    made = []
    try:
        for series in (1, 10, 100):
            metrics = Metrics(database, SYSTEM_CLOCK, SYSTEM_RANDOMNESS)
            count = metrics.count("links", labels=("plan",))
            found = []
            for _ in range(ROUNDS):
                for number in range(series):
                    count.add(plan=str(number))
                began = time.perf_counter()
                await metrics.flush()
                found.append((time.perf_counter() - began) * 1e3)
            made.append([f"{series} label sets", f"{median(found):.2f}"])
    finally:
        await database.stop()
    return made


async def measure() -> None:
    """Everything, as tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = medians(counting(Metrics(Database(MetaData()), SYSTEM_CLOCK, SYSTEM_RANDOMNESS)), CALLS)
        peers = {
            "count.add()": "prometheus-client inc()",
            "count.add(plan=...)": "prometheus-client labels(...).inc()",
        }
        print(table("Counting", ("call", "us", "ratio"), rows(found, peers)))
        lines = await logging_costs(folder)
        peers = {"log.info(...)": "logging, JSON", "log.debug(...), off": "logging debug, off"}
        print(table("A line of the log", ("call", "us", "ratio"), rows(lines, peers)))
        print(table("A flush, once a second (SQLite)", ("series that changed", "ms"), await flushing(folder)))


def main() -> None:
    """Measures."""
    asyncio.run(measure())


if __name__ == "__main__":
    main()
