"""Jobs: is each one that was accepted carried out, once, and soon again when its worker dies (P6)?

A job notes each start (how often its process had died before, and the machine's monotonic clock), and has one effect
in the transaction that finishes it. What was acknowledged has its effect exactly once in the end, what was surely
refused never, and what is unknown at most once. A job that ran when its worker was killed starts again within
`lease_us + grace_us` of the moment at which that process was gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tenfold.prove.excuses import died_us
from tenfold.prove.history import Operation, Status, Window
from tenfold.prove.verdict import Finder, Findings

CHECKER = "jobs"
AGAIN_CHECKER = "jobs-again"
LEASE_US = 10_000_000
"""How long a worker may be silent before its jobs are given to others."""
GRACE_US = 5_000_000
LATE_US = 50_000
"""How much later than a process was seen to be gone a start may be stamped that it had made before."""


@dataclass(frozen=True, slots=True, order=True)
class Start:
    """When an attempt began, and how many processes had died with the job before, as the tasks block counts them."""

    us: int
    crashes: int


@dataclass(frozen=True, slots=True)
class Ran:
    """What a final read says of one job: how often it had its effect, and its starts in their order."""

    effects: int
    starts: tuple[Start, ...]


NOT_YET = Ran(0, ())
"""What a final read says that was refused to its end: the job had not come to its effect."""


def ran(value: Any) -> Ran | None:
    """The value of a final read; None when it is none."""
    if not isinstance(value, Mapping) or not isinstance(value.get("count"), int):
        return None
    starts = tuple(sorted(_start(str(text)) for text in value.get("starts", ())))
    return Ran(value["count"], starts)


def _start(text: str) -> Start:
    """Of `CRASHES.US`."""
    crashes, _, us = text.partition(".")
    return Start(int(us or 0), int(crashes or 0))


def check(
    operations: Iterable[Operation], *, enqueue: str = "enqueue", look: Sequence[str] = ("look", "done")
) -> Findings:
    """Judges the jobs of one workload; each has a key of its own.

    Names `lost` (acknowledged, and without effect in the end), `twice` (more than one effect) and `ghost` (surely
    refused, and carried out). `n` counts the jobs with a final read. Figures: `again` (attempts after the first).
    """
    finder = Finder()
    orders: dict[str, Operation] = {}
    found: dict[str, tuple[Operation, Ran]] = {}
    for operation in operations:
        if operation.function == enqueue:
            orders[operation.key] = operation
        elif operation.function in look:
            seen = ran(operation.value) if operation.status is Status.OK else NOT_YET
            if seen is not None:
                found[operation.key] = (operation, seen)
    again = 0
    for key, (read, seen) in found.items():
        again += max(0, len(seen.starts) - 1)
        _judge(key, orders.get(key), read, seen, finder)
    return finder.findings(CHECKER, len(found), "jobs", {"again": float(again)})


def _judge(key: str, order: Operation | None, read: Operation, seen: Ran, finder: Finder) -> None:
    told = [each for each in (order, read) if each is not None]
    if seen.effects > 1:
        finder.add("twice", key, f"one job had its effect {seen.effects} times", *told)
    elif order is not None and order.status is Status.OK and seen.effects == 0:
        finder.add("lost", key, "an acknowledged job had no effect in the end", *told)
    elif order is not None and order.status is Status.FAIL and seen.effects:
        finder.add("ghost", key, "a job that was refused was carried out", *told)


def check_again(
    operations: Iterable[Operation], kills: Sequence[Window], *, look: Sequence[str] = ("look", "done")
) -> Findings:
    """Judges the jobs that ran when their worker was killed: between two starts of theirs that process died, and they
    had not come to their end, or there would be no second start.

    Names `late`. `n` counts the jobs whose first crash lies between two starts of theirs, as does a kill. A job that
    has crashed twice is a suspect to the tasks block: it runs when no other suspect does, so nothing is promised of
    when (figure `suspects`). Starts alone do not tell: a process that takes a job and dies at once leaves none behind.
    Figures: `longest_us` from death to new start.
    """
    finder, hit, suspects, longest = Finder(), 0, 0, 0
    for operation in operations:
        seen = ran(operation.value) if operation.function in look and operation.status is Status.OK else None
        if seen is None:
            continue
        for before, after in zip(seen.starts, seen.starts[1:], strict=False):
            deaths = [
                died_us(kill) for kill in kills if before.us <= died_us(kill) + LATE_US and died_us(kill) < after.us
            ]
            suspects += bool(deaths) and after.crashes > 1
            if not deaths or (before.crashes, after.crashes) != (0, 1):
                continue
            hit += 1
            took = after.us - max(deaths)
            longest = max(longest, took)
            if took > LEASE_US + GRACE_US:
                finder.add(
                    "late", operation.key, f"a job began anew {took / 1e6:.1f} s after its worker died", operation
                )
    figures = {"longest_us": float(longest), "suspects": float(suspects)}
    return finder.findings(AGAIN_CHECKER, hit, "jobs whose worker was killed", figures)
