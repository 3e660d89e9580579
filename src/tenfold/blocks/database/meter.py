"""What a process asks of its database, counted: how often, how long it takes, and for which request.

`read` costs about 0.3 µs, where a point read on SQLite takes 10.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

from tenfold.blocks.database.scope import current_scope
from tenfold.core.clock import Clock
from tenfold.core.errors import StorageDamaged, TenfoldError, Unavailable, UnknownOutcome
from tenfold.core.gauge import GAUGE
from tenfold.core.spread import Durations, Spread

BUCKETS_S = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
    0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Upper bounds in seconds: from a point read of a file to a write that waited for a failover."""

_DATABASES_OWN = (Unavailable, UnknownOutcome, StorageDamaged)


@dataclass(frozen=True, slots=True)
class PoolUse:
    """Connections of a process: how many it may open, how many are busy, and who waits for one."""

    size: int = 0
    busy: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class DatabaseStats:
    """What this process asked of its database since it began."""

    failed: int
    """Reads and transactions that failed because the database was away, full or damaged, or for want of room."""

    pool: int = field(metadata=GAUGE)
    """Connections that this process may open; 0 for a file."""

    pool_busy: int = field(metadata=GAUGE)
    pool_waiting: int = field(metadata=GAUGE)
    """Who waits for one."""

    read_duration_s: Spread
    """Statements outside of transactions."""

    write_duration_s: Spread
    """Transactions with their COMMIT and all that they waited for, but not at the gate."""


class Meter:
    """The counts of one process. Used on the loop's thread."""

    __slots__ = ("_read_counts", "_reads", "_writes", "failed", "now")

    def __init__(self, clock: Clock) -> None:
        self.now: Callable[[], float] = clock.monotonic
        """Monotonic seconds: a read begins with it."""
        self.failed = 0
        self._reads = Durations(BUCKETS_S)
        self._writes = Durations(BUCKETS_S)
        self._read_counts = self._reads.counts

    def read(self, began: float) -> None:
        """A statement outside of transactions has ended. As `Durations.add`, without the call: it is in every read."""
        took = self.now() - began
        self._read_counts[bisect_left(BUCKETS_S, took)] += 1
        self._reads.sum_s += took
        scope = current_scope()
        if scope is not None:
            scope.database_s += took
            scope.database_calls += 1

    def wrote(self, began: float, held_s: float) -> None:
        """A transaction has ended, however; `held_s` of it were at the gate."""
        took = max(0.0, self.now() - began - held_s)
        self._writes.add(took)
        scope = current_scope()
        if scope is not None:
            scope.database_s += took
            scope.database_calls += 1
            scope.gate_s += held_s

    def waited(self, began: float) -> None:
        """A read has waited for its database to be open."""
        scope = current_scope()
        if scope is not None:
            scope.gate_s += self.now() - began

    def judge(self, error: TenfoldError) -> None:
        """A read or a transaction failed with `error`: counts it when that is the database's, not the caller's."""
        if isinstance(error, _DATABASES_OWN):
            self.failed += 1

    def stats(self, pool: PoolUse) -> DatabaseStats:
        """What has been counted so far."""
        return DatabaseStats(
            failed=self.failed,
            pool=pool.size,
            pool_busy=pool.busy,
            pool_waiting=pool.waiting,
            read_duration_s=self._reads.spread(),
            write_duration_s=self._writes.spread(),
        )
