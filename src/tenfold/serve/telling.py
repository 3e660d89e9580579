"""What one process answers to the operation `numbers`, out of what its parts have counted."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from tenfold.blocks.cache import CacheStats
from tenfold.blocks.database import Holding
from tenfold.blocks.database.meter import DatabaseStats
from tenfold.blocks.limits.stats import LimitsStats
from tenfold.blocks.tasks import TaskStats
from tenfold.serve.metrics import HttpMetrics
from tenfold.serve.told import CacheNumbers, DatabaseNumbers, HttpNumbers, JobNumbers

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MEMORY = Path("/proc/self/statm")

Collectors = Mapping[str, Callable[[], object]]
S = TypeVar("S")


class Lateness:
    """How late an event loop woke up, by the looks of the last second. `every_s` is how far apart looks are meant."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._kept = max(1, round(1 / every_s))
        self._late: list[float] = []

    def woke(self, after_s: float) -> None:
        """It slept for `every_s`, and woke up `after_s` seconds later."""
        self._late = [*self._late, max(0.0, after_s - self._every_s)][-self._kept :]

    @property
    def worst_s(self) -> float:
        """The latest of the last second."""
        return max(self._late, default=0.0)


def http_numbers(metrics: HttpMetrics, collectors: Collectors, connections: int) -> HttpNumbers:
    """Requests of this process."""
    took, failed = metrics.of_users()
    limits = _stats(collectors, "limits", LimitsStats)
    refused = 0 if limits is None else sum(limits.refused.values()) - limits.deferred
    return HttpNumbers(
        answered=sum(took.spread().counts),
        failed=failed,
        refused=metrics.turned_away + max(refused, 0),
        replayed=metrics.replays,
        took=took.spread(),
        in_flight=metrics.in_flight,
        connections=connections,
    )


def database_numbers(collectors: Collectors, holding: Holding) -> DatabaseNumbers | None:
    """What this process asked of its database; None while that is not open."""
    found = _stats(collectors, "database", DatabaseStats)
    if found is None:
        return None
    return DatabaseNumbers(
        reads=sum(found.read_duration_s.counts),
        writes=sum(found.write_duration_s.counts),
        failed=found.failed,
        read_took=found.read_duration_s,
        write_took=found.write_duration_s,
        held=holding.now,
        held_total=holding.total,
        pool=found.pool,
        pool_busy=found.pool_busy,
        pool_waiting=found.pool_waiting,
    )


def cache_numbers(collectors: Collectors) -> CacheNumbers | None:
    """The cache of this process; None where there is none."""
    found = _stats(collectors, "cache", CacheStats)
    return None if found is None else CacheNumbers(found.hits, found.misses, found.loads, found.entries, found.bytes)


def job_numbers(collectors: Collectors) -> JobNumbers | None:
    """Jobs that ran in this process; None where there are no tasks."""
    found = _stats(collectors, "tasks", TaskStats)
    if found is None:
        return None
    return JobNumbers(found.finished - found.failed + found.completed, found.failed, found.running)


def cpu_s() -> float:
    """Seconds of processor time that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def resident() -> int:
    """Bytes of this process that are in memory; 0 where the system does not say."""
    try:
        return int(_MEMORY.read_bytes().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


def _stats(collectors: Collectors, block: str, kind: type[S]) -> S | None:
    collect = collectors.get(block)
    found = None if collect is None else collect()
    return found if isinstance(found, kind) else None
