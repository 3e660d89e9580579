"""Registers: one order of all writes and reads explains every answer."""

from __future__ import annotations

from typing import Any

from tenfold.core.randomness import Randomness
from tenfold.prove.checkers import register
from tenfold.prove.history import Recording, Status
from tenfold.prove.verdict import Verdict, judge
from tenfold.prove.workloads.base import Answer, Request, Rotation, Values, chance, field, probe_path, read, write

WRITES = 0.4
USES = 100


class RegisterWorkload:
    """Writes unique values, a third of them keyed, and reads."""

    name = "register"
    promises = ("P1",)

    def __init__(self, run: str) -> None:
        self._run = run
        self._keys = Rotation(run, self.name, USES)
        self._values = Values()

    def next(self, process: int, randomness: Randomness) -> Request:
        """A write or a read of the register that is in use now."""
        key = self._keys.next()
        if not chance(randomness, WRITES):
            return read(probe_path("register", key), "read", key)
        value = self._values.next(process)
        keyed = f"{self._run}-register-{value}" if chance(randomness, 1 / 3) else ""
        return write(probe_path("register", key), "write", key, value, {"value": value}, idempotency=keyed)

    def observed(self, request: Request, answer: Answer | None, status: Status) -> Any:
        """The value that was written or read."""
        return request.value if request.function == "write" else field(answer, status, "value")

    def final(self) -> list[Request]:
        """Every register of the run."""
        return [read(probe_path("register", key), "read", key) for key in self._keys.used()]

    def check(self, recording: Recording) -> list[Verdict]:
        """By `register`."""
        return [judge("P1", register.check(recording.of(self.name)), workload=self.name)]
