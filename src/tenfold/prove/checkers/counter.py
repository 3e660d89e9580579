"""A counter that is incremented and read: is every read between what it must and what it may contain?

Source: the `counter` checker of Jepsen (Kingsbury): sum of acknowledged increments before the read was sent <= value <=
sum of all attempted (not refused) increments before it ended. In addition, where no increment is negative, a read is at
least what an earlier one showed.
"""

from __future__ import annotations

from collections.abc import Iterable

from tenfold.prove.checkers.common import Bounds, grouped, is_number, sweep
from tenfold.prove.history import Operation, Status
from tenfold.prove.verdict import Finder, Findings

CHECKER = "counter-bounds"


def check(
    operations: Iterable[Operation],
    *,
    increment: str = "increment",
    read: str = "read",
    opening: int = 0,
    linearizable: bool = True,
) -> Findings:
    """Judges each key of a history as one counter; an `increment` carries its amount, an ok `read` the counter's value.

    Names `too-low` (acknowledged increments are missing), `too-high` (one was applied twice, or came from nowhere),
    `went-backwards` (not if `linearizable` is off) and `not-a-number`. `n` counts the ok reads. Figures: `slack`, the
    widest distance between the bounds of a read (only what is wider than that is surely seen), `unknown` (increments).
    """
    finder = Finder()
    reads, slack, unknown = 0, 0, 0
    for key, group in grouped(operations).items():
        changes = [(each, each.value) for each in group if each.function == increment and is_number(each.value)]
        unknown += sum(1 for each, _ in changes if each.status is Status.UNKNOWN)
        judged = [each for each in group if each.function == read and each.status is Status.OK]
        reads += len(judged)
        numbers = _numbers(key, judged, finder)
        slack = max(slack, _judge(key, Bounds(opening, changes), numbers, changes, finder))
        if linearizable and all(change >= 0 for _, change in changes):
            _monotonic(key, numbers, finder)
    return finder.findings(CHECKER, reads, "reads", {"slack": slack, "unknown": unknown})


def _numbers(key: str, reads: list[Operation], finder: Finder) -> list[Operation]:
    for read in reads:
        if not is_number(read.value):
            finder.add("not-a-number", key, f"a read returned {read.value!r}", read)
    return [read for read in reads if is_number(read.value)]


def _judge(
    key: str, bounds: Bounds, reads: list[Operation], changes: list[tuple[Operation, int]], finder: Finder
) -> int:
    slack = 0
    for read in reads:
        low, high = bounds.of(read)
        slack = max(slack, high - low)
        if read.value < low:
            last = max(
                (each for each, _ in changes if _precedes(each, read)), key=lambda each: each.end_us, default=None
            )
            sentence = f"a read returned {read.value}; acknowledged before it was at least {low}"
            finder.add("too-low", key, sentence, *([] if last is None else [last]), read)
        elif read.value > high:
            finder.add(
                "too-high", key, f"a read returned {read.value}; attempted until its end was at most {high}", read
            )
    return slack


def _precedes(one: Operation, other: Operation) -> bool:
    return one.status is Status.OK and one.end_us < other.sent_us


def _monotonic(key: str, reads: list[Operation], finder: Finder) -> None:
    highest: Operation | None = None
    for ended, read in sweep(reads):
        if ended:
            highest = read if highest is None or read.value > highest.value else highest
        elif highest is not None and read.value < highest.value:
            sentence = f"a read returned {read.value} after another had returned {highest.value}"
            finder.add("went-backwards", key, sentence, highest, read)
