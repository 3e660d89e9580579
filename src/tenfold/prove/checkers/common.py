"""What the checkers share: order in real time, grouping, values as keys, running sums."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Any

from tenfold.prove.history import Operation, Status, Window

NEVER = 1 << 62
"""When an unknown operation ends: it may take effect at any time after it was sent."""


def grouped(operations: Iterable[Operation]) -> dict[str, list[Operation]]:
    """The operations by key, each in the given order."""
    groups: dict[str, list[Operation]] = {}
    for operation in operations:
        groups.setdefault(operation.key, []).append(operation)
    return groups


def identity(value: Any) -> Hashable:
    """The value as something that can be a key; lists and objects of JSON become their text."""
    return value if isinstance(value, int | str | float | bytes | None) else repr(value)


def is_number(value: Any) -> bool:
    """Whether it is an integer (a boolean is none)."""
    return isinstance(value, int) and not isinstance(value, bool)


def sweep(operations: Iterable[Operation]) -> Iterator[tuple[bool, Operation]]:
    """(ended, operation) in the order of time: each operation when it was sent, after all that precede it have ended.

    Those that end with nothing sent afterwards are not told. The operations must have ended (no unknown ones).
    """
    sent = sorted(operations, key=attrgetter("sent_us"))
    ended = sorted(sent, key=attrgetter("end_us"))
    done = 0
    for operation in sent:
        while ended[done].end_us < operation.sent_us:
            yield True, ended[done]
            done += 1
        yield False, operation


def overlapping(operations: Iterable[Operation], windows: Sequence[Window], slack_us: int = 0) -> list[Operation]:
    """The operations that were open at some moment of one of the windows, or up to `slack_us` after it."""
    spans = sorted((window.start_us, window.end_us + slack_us) for window in windows)
    ends: list[int] = []
    for _, end in spans:
        ends.append(max(end, ends[-1]) if ends else end)
    found = []
    for operation in operations:
        at = bisect_left(ends, operation.start_us)
        if at < len(spans) and spans[at][0] <= operation.end_us:
            found.append(operation)
    return found


class Sums:
    """Sums of changes over time: `before(t)` and `until(t)` add up what happened at times < t and <= t."""

    def __init__(self, changes: Iterable[tuple[int, int]]) -> None:
        ordered = sorted(changes)
        self._times = [time for time, _ in ordered]
        self._sums = [0, *accumulate(change for _, change in ordered)]

    def before(self, time: int) -> int:
        """The sum of the changes strictly before."""
        return self._sums[bisect_left(self._times, time)]

    def until(self, time: int) -> int:
        """The sum of the changes before or at that time."""
        return self._sums[bisect_right(self._times, time)]


class Bounds:
    """Between what a read of a sum may lie, given changes of which some are unknown.

    A change that precedes the read must be in it; one that was sent before the read ended may be, if it did not fail.
    """

    def __init__(self, opening: int, changes: Iterable[tuple[Operation, int]]) -> None:
        must, may = [], []
        for operation, change in changes:
            if operation.status is not Status.FAIL:
                may.append((operation.sent_us, change))
            if operation.status is Status.OK:
                must.append((operation.end_us, change))
        self._opening = opening
        self._must_up = Sums(each for each in must if each[1] > 0)
        self._must_down = Sums(each for each in must if each[1] < 0)
        self._may_up = Sums(each for each in may if each[1] > 0)
        self._may_down = Sums(each for each in may if each[1] < 0)

    def of(self, read: Operation) -> tuple[int, int]:
        """The lowest and the highest value that the read may show."""
        low = self._opening + self._must_up.before(read.sent_us) + self._may_down.until(read.end_us)
        high = self._opening + self._may_up.until(read.end_us) + self._must_down.before(read.sent_us)
        return low, high
