"""Ids: none is given out twice, and each process counts upwards, whatever its clock does.

The clock steps are a fault (the probe's `clock` endpoint puts one process off); the load only draws.
"""

from __future__ import annotations

from typing import Any

from tenfold.core.randomness import Randomness
from tenfold.prove.checkers import unique_ids
from tenfold.prove.history import Operation, Recording, Status, Window
from tenfold.prove.verdict import Verdict, judge
from tenfold.prove.workloads.base import Answer, Request, Values, chance, field, pick, probe_path, write

KINDS = ("uuid7", "snowflake", "sequence")
MOST = 8
KEYED = 0.2


class IdsWorkload:
    """Draws 1 to 8 ids of each kind, a fifth of them in keyed requests."""

    name = "ids"
    promises = ("P1",)

    def __init__(self, run: str) -> None:
        self._run = run
        self._values = Values()

    def next(self, process: int, randomness: Randomness) -> Request:
        """A draw."""
        kind = KINDS[pick(randomness, len(KINDS))]
        count = 1 + pick(randomness, MOST)
        keyed = f"{self._run}-ids-{self._values.next(process)}" if chance(randomness, KEYED) else ""
        return write(probe_path("ids", kind), "draw", kind, None, {"count": count}, idempotency=keyed)

    def observed(self, request: Request, answer: Answer | None, status: Status) -> Any:
        """The ids, in the order of their draw."""
        return field(answer, status, "ids")

    def final(self) -> list[Request]:
        """Nothing: what was drawn is known."""
        return []

    def check(self, recording: Recording) -> list[Verdict]:
        """By `unique_ids`. Order is promised within a process, so a node that was replaced begins anew."""
        replacements = [window for window in recording.windows if window.kind.startswith(("kill", "restart"))]

        def process(operation: Operation) -> tuple[str, int] | None:
            if operation.keyed or any(_open_during(operation, window) for window in replacements):
                return None
            return operation.node, sum(window.start_us < operation.sent_us for window in replacements)

        findings = unique_ids.check(recording.of(self.name), ordered_by=process)
        return [judge("P1", findings, workload=self.name)]


def _open_during(operation: Operation, window: Window) -> bool:
    return window.start_us <= operation.end_us and operation.sent_us <= window.end_us
