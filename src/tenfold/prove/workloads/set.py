"""A set that grows: no element that was acknowledged is ever missing."""

from __future__ import annotations

from typing import Any

from tenfold.core.randomness import Randomness
from tenfold.prove.checkers import set_full
from tenfold.prove.history import Recording, Status
from tenfold.prove.verdict import Verdict, judge
from tenfold.prove.workloads.base import Answer, Request, Rotation, Values, chance, field, probe_path, read, write

READS = 0.1
USES = 500
"""Requests to one set, so that reading it stays cheap."""


class SetWorkload:
    """Adds unique elements, half of them keyed, and reads whole sets."""

    name = "set"
    promises = ("P1",)

    def __init__(self, run: str) -> None:
        self._run = run
        self._keys = Rotation(run, self.name, USES)
        self._values = Values()

    def next(self, process: int, randomness: Randomness) -> Request:
        """An add, or a read of the set that grows now."""
        key = self._keys.next()
        if chance(randomness, READS):
            return _read(key)
        value = self._values.next(process)
        keyed = f"{self._run}-set-{value}" if chance(randomness, 0.5) else ""
        return write(probe_path("set", key), "add", key, value, {"value": value}, idempotency=keyed)

    def observed(self, request: Request, answer: Answer | None, status: Status) -> Any:
        """The element, or the elements that a read returned."""
        return request.value if request.function == "add" else field(answer, status, "values")

    def final(self) -> list[Request]:
        """Every set of the run."""
        return [_read(key) for key in self._keys.used()]

    def check(self, recording: Recording) -> list[Verdict]:
        """By `set_full`."""
        return [judge("P1", set_full.check(recording.of(self.name)), workload=self.name)]


def _read(key: str) -> Request:
    return read(probe_path("set", key), "read_all", key)
