"""Cache coherence: how old is what the cache answers after a write was acknowledged?"""

from __future__ import annotations

from collections import deque
from typing import Any

from tenfold.core.randomness import Randomness
from tenfold.prove.checkers import staleness
from tenfold.prove.history import Recording, Status
from tenfold.prove.verdict import Sometimes, Verdict, judge
from tenfold.prove.workloads.base import Answer, Request, Values, chance, field, pick, probe_path, read, write

KEYS = 8
WRITES = 0.2
REMEMBERED = 10_000


class CacheWorkload:
    """Writes registers through the database, with their invalidation, and reads them through the cache."""

    name = "cache"
    promises = ("P9",)

    def __init__(self, run: str) -> None:
        self._keys = [f"{run}-cache-{number}" for number in range(KEYS)]
        self._values = Values()
        self._origins: deque[str] = deque(maxlen=REMEMBERED)

    def next(self, process: int, randomness: Randomness) -> Request:
        """A write, or a read through the cache, of one of the registers."""
        key = self._keys[pick(randomness, KEYS)]
        if not chance(randomness, WRITES):
            return read(probe_path("cache", key), "read", key)
        value = self._values.next(process)
        return write(probe_path("register", key), "write", key, value, {"value": value})

    def observed(self, request: Request, answer: Answer | None, status: Status) -> Any:
        """The version that was made or seen."""
        if request.function == "read" and status is Status.OK:
            self._origins.append(str(field(answer, status, "from")))
        return field(answer, status, "version")

    def final(self) -> list[Request]:
        """Every register, through the cache."""
        return [read(probe_path("cache", key), "read", key) for key in self._keys]

    def check(self, recording: Recording) -> list[Verdict]:
        """By `staleness`. Where this run was driven from here, the cache must have answered some reads itself."""
        sometimes = [Sometimes("the cache answered", self._origins.count("cache"))] if self._origins else []
        return [judge("P9", staleness.check(recording.of(self.name)), workload=self.name, sometimes=sometimes)]
