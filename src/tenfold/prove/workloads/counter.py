"""Counters: every acknowledged increment counts, and none counts twice."""

from __future__ import annotations

from typing import Any

from tenfold.core.randomness import Randomness
from tenfold.prove.checkers import counter
from tenfold.prove.history import Recording, Status
from tenfold.prove.verdict import Verdict, judge
from tenfold.prove.workloads.base import Answer, Request, Values, chance, field, pick, probe_path, read, write

COUNTERS = 4
READS = 0.2
MOST = 5


class CounterWorkload:
    """Increments by 1 to 5, half of them keyed, and reads."""

    name = "counter"
    promises = ("P1",)

    def __init__(self, run: str) -> None:
        self._run = run
        self._keys = [f"{run}-counter-{number}" for number in range(COUNTERS)]
        self._values = Values()

    def next(self, process: int, randomness: Randomness) -> Request:
        """An increment or a read of one of the counters."""
        key = self._keys[pick(randomness, COUNTERS)]
        if chance(randomness, READS):
            return read(probe_path("counter", key), "read", key)
        by = 1 + pick(randomness, MOST)
        keyed = f"{self._run}-counter-{self._values.next(process)}" if chance(randomness, 0.5) else ""
        return write(probe_path("counter", key), "increment", key, by, {"by": by}, idempotency=keyed)

    def observed(self, request: Request, answer: Answer | None, status: Status) -> Any:
        """The amount, or the count that a read returned."""
        return request.value if request.function == "increment" else field(answer, status, "count")

    def final(self) -> list[Request]:
        """Every counter."""
        return [read(probe_path("counter", key), "read", key) for key in self._keys]

    def check(self, recording: Recording) -> list[Verdict]:
        """By `counter`."""
        return [judge("P1", counter.check(recording.of(self.name)), workload=self.name)]
