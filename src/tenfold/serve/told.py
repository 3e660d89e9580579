"""What one process says in numbers (`numbers` on its control socket), for those who watch the deployment.

Everything but the gauges only grows while the process lives: a reader takes the difference of two answers, and begins
anew when `pid` is another one. Nothing here names a client, a key or a value.
"""

from __future__ import annotations

import msgspec

from tenfold.core.spread import Spread

__all__ = [
    "CacheNumbers", "DatabaseNumbers", "HttpNumbers", "JobNumbers", "NodeNumbers", "Spent", "Spread", "Told",
]  # fmt: skip


class HttpNumbers(msgspec.Struct, frozen=True):
    """Requests of one web process, without those that Tenfold itself asks for (`/healthz`, `/readyz`, `/metrics`)."""

    answered: int = 0
    failed: int = 0
    """Of them, with a status of 500 and above."""
    refused: int = 0
    """Turned away before they were requests, or by a limit."""
    replayed: int = 0
    took: Spread = Spread()
    in_flight: int = 0
    connections: int = 0


class DatabaseNumbers(msgspec.Struct, frozen=True):
    """What one process asked of its database: reads outside of transactions, and transactions with their COMMIT.

    `failed` of them failed because the database was away, full or damaged, or for want of room. What a transaction
    waited at the gate is not in `write_took`.
    """

    reads: int = 0
    writes: int = 0
    failed: int = 0
    read_took: Spread = Spread()
    write_took: Spread = Spread()
    held: int = 0
    """Transactions that wait at the gate now (a gauge)."""
    held_total: int = 0
    pool: int = 0
    """Connections that this process may open, and how many are busy (gauges); 0 for a file."""
    pool_busy: int = 0
    pool_waiting: int = 0
    """Who waits for one of them (a gauge)."""


class CacheNumbers(msgspec.Struct, frozen=True):
    """The process's own cache (L1)."""

    hits: int = 0
    misses: int = 0
    loads: int = 0
    entries: int = 0
    bytes: int = 0


class JobNumbers(msgspec.Struct, frozen=True):
    """Jobs that ran in this process."""

    done: int = 0
    failed: int = 0
    running: int = 0


class NodeNumbers(msgspec.Struct, frozen=True):
    """All of one process. `cpu_s` are seconds of processor time, `memory` bytes that are resident, `loop_late_s` how
    late its event loop woke up in the last second at worst (a gauge)."""

    node: str
    role: str
    pid: int
    cpu_s: float = 0.0
    memory: int = 0
    loop_late_s: float = 0.0
    http: HttpNumbers | None = None
    database: DatabaseNumbers | None = None
    cache: CacheNumbers | None = None
    jobs: JobNumbers | None = None


class Spent(msgspec.Struct, frozen=True):
    """Where one request's time went: at the gate, in cache loads, at the database; milliseconds and counts."""

    gate_ms: float = 0.0
    database_ms: float = 0.0
    database_calls: int = 0
    cache_hits: int = 0
    cache_loads: int = 0
    cache_ms: float = 0.0
    """Loads included, and so their time at the database."""
    replays: int = 0


class Told(msgspec.Struct, frozen=True):
    """One slow or failed request: its route class (never its path), when it ended, and where its time went."""

    request: str
    node: str
    route: str
    method: str
    status: int
    ended_us: int
    took_ms: float
    spent: Spent
    error: str = ""
    """The code of the error (`TF-...`), or the type of an exception; empty for an answer that is no error."""
