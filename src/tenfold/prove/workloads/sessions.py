"""Session guarantees: a client that carries its token never sees the past."""

from __future__ import annotations

from typing import Any

from tenfold.core.randomness import Randomness
from tenfold.prove.checkers import sessions
from tenfold.prove.history import Recording, Status
from tenfold.prove.verdict import Sometimes, Verdict, judge
from tenfold.prove.workloads.base import Answer, Request, Rotation, Values, chance, field, probe_path, read, write

WRITES = 0.3
USES = 200


class SessionsWorkload:
    """All clients write and read the same registers; what counts are the versions that each of them meets."""

    name = "sessions"
    promises = ("P8",)

    def __init__(self, run: str) -> None:
        self._run = run
        self._keys = Rotation(run, self.name, USES)
        self._values = Values()

    def next(self, process: int, randomness: Randomness) -> Request:
        """A write or a read of the register that is in use now."""
        key = self._keys.next()
        path = probe_path("register", key)
        if not chance(randomness, WRITES):
            return read(path, "read", key)
        value = self._values.next(process)
        keyed = f"{self._run}-sessions-{value}" if chance(randomness, 1 / 3) else ""
        return write(path, "write", key, value, {"value": value}, idempotency=keyed)

    def observed(self, request: Request, answer: Answer | None, status: Status) -> Any:
        """The version that was made or seen."""
        return field(answer, status, "version")

    def final(self) -> list[Request]:
        """Nothing: a session is judged by what its own client met."""
        return []

    def check(self, recording: Recording) -> list[Verdict]:
        """By `sessions`; each of the four guarantees must have been put to the test."""
        findings = sessions.check(recording.of(self.name))
        tested = [Sometimes(f"{name} was tested", int(count)) for name, count in findings.figures.items()]
        return [judge("P8", findings, workload=self.name, sometimes=tested)]
