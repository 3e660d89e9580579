"""Jobs: enqueued in a transaction, finished in one, and carried out once whatever dies meanwhile."""

from __future__ import annotations

from typing import Any

from tenfold.core.randomness import Randomness
from tenfold.prove.checkers import jobs
from tenfold.prove.excuses import role_of
from tenfold.prove.history import Recording, Status
from tenfold.prove.verdict import Sometimes, Verdict, judge
from tenfold.prove.workloads.base import Answer, Request, Values, chance, pick, probe_path, read, write

SHORT_MS, LONG_MS = 20, 1500
LONG = 0.5
"""How long jobs take, and the share of the long ones: long enough for a kill to meet some, also under little load."""

LOOKED_AT = 2000
"""Jobs that are looked at in the end at most, the newest."""


class TasksWorkload:
    """Enqueues jobs, half of them in keyed requests; each takes its time, so that kills meet some that run."""

    name = "tasks"
    promises = ("P1", "P6")

    def __init__(self, run: str) -> None:
        self._run = run
        self._values = Values()
        self._accepted: list[str] = []
        self._others: list[str] = []

    def next(self, process: int, randomness: Randomness) -> Request:
        """An order of one job."""
        key = f"{self._run}-tasks-{self._values.next(process)}"
        takes_ms = LONG_MS if chance(randomness, LONG) else SHORT_MS + pick(randomness, 100)
        keyed = key if chance(randomness, 0.5) else ""
        return write(probe_path("tasks", key), "enqueue", key, takes_ms, {"takes_ms": takes_ms}, idempotency=keyed)

    def observed(self, request: Request, answer: Answer | None, status: Status) -> Any:
        """How long the job takes, or what a look at it has shown."""
        if request.function == "enqueue":
            (self._accepted if status is Status.OK else self._others).append(request.key)
            return request.value
        return answer.json() if answer is not None and status is Status.OK else None

    def final(self) -> list[Request]:
        """Each accepted job until it is done, then a look at those that were not accepted."""
        done = [read(probe_path("tasks", key), "done", key) for key in self._accepted[-LOOKED_AT:]]
        return [*done, *(read(probe_path("effects", key), "look", key) for key in self._others[-LOOKED_AT:])]

    def check(self, recording: Recording) -> list[Verdict]:
        """By `jobs`; P6 where a process that can run jobs was killed."""
        operations = recording.of(self.name)
        verdicts = [judge("P1", jobs.check(operations), workload=self.name)]
        kills = [each for each in recording.windows if each.kind == "kill" and role_of(each) in ("web", "worker")]
        if kills:
            found = jobs.check_again(operations, kills)
            met = [Sometimes("a killed process ran a job", found.n)]
            verdicts.append(judge("P6", found, workload=self.name, sometimes=met))
        return verdicts
