"""Counters that one client alone increases, by one each time: does each answer say what it must?

Source: the definition. With one client, the answer to an increment is the number of increments before it and itself.
So a request that was run twice, by a client, a balancer or a server, shows in the very next answer, and one that was
acknowledged and lost as well; no read has to come later by chance. An increment whose outcome is not known may count
from then on, or never. What failed must never count.
"""

from __future__ import annotations

from collections.abc import Iterable

from tenfold.prove.checkers.common import Bounds, grouped, is_number
from tenfold.prove.history import Operation, Status
from tenfold.prove.verdict import Finder, Findings

CHECKER = "exactly-once"


def check(operations: Iterable[Operation], *, increment: str = "increment", read: str = "read") -> Findings:
    """Judges each key: ok increments and ok reads carry the count that was answered.

    Names `counted-twice` (the count is higher than all that can have happened), `not-counted` (lower than what must
    have), `not-a-number`. `n` counts the increments. Figures: `keyed`, `unknown`, `unread` (keys without an ok read
    after their last increment, the outcome of which is not judged then).
    """
    finder = Finder()
    count = keyed = unknown = unread = 0
    for key, found in grouped(operations).items():
        increments = [each for each in found if each.function == increment]
        reads = [each for each in found if each.function == read]
        count += len(increments)
        keyed += sum(each.keyed for each in increments)
        unknown += sum(each.status is Status.UNKNOWN for each in increments)
        last = max((each.end_us for each in increments), default=0)
        unread += not any(each.status is Status.OK and each.sent_us >= last for each in reads)
        _judge(key, increments, reads, finder)
    figures = {"keyed": float(keyed), "unknown": float(unknown), "unread": float(unread)}
    return finder.findings(CHECKER, count, "increments", figures)


def _judge(key: str, increments: list[Operation], reads: list[Operation], finder: Finder) -> None:
    bounds = Bounds(0, ((each, 1) for each in increments))
    known, since_us = 0, 0
    itself = [*((each, 1) for each in increments), *((each, 0) for each in reads)]
    for operation, own in sorted(itself, key=lambda each: each[0].end_us):
        if operation.status is not Status.OK:
            continue
        if not is_number(operation.value):
            finder.add("not-a-number", key, f"a count was answered with {operation.value!r}", operation)
            continue
        low, high = bounds.of(operation)
        low += own
        if since_us <= operation.sent_us:  # what a client was told once stays true
            low = max(low, known + own)
        if operation.value > high:
            finder.add("counted-twice", key, f"{operation.value}, and at most {high} were asked for", operation)
        elif operation.value < low:
            finder.add("not-counted", key, f"{operation.value}, and {low} must have counted", operation)
        known, since_us = operation.value, operation.end_us
