"""A set of unique elements that grows, read as a whole: is each acknowledged element there, at once and for ever?

Source: the `set-full` checker of Jepsen (Kingsbury). An element is *known* once its add was acknowledged or a read
showed it. A read that was sent after that and lacks it makes it *lost* when no later read shows it again, *stale* when
one does (later = not sent earlier). Elements of unknown adds may stay away; one that is seen is *recovered*, and known
from then on.

Cost: linear in the adds plus the sizes of all reads, n log n for their order.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from tenfold.prove.checkers.common import NEVER, grouped, identity
from tenfold.prove.history import Operation, Status
from tenfold.prove.verdict import Finder, Findings

CHECKER = "set-full"


def check(
    operations: Iterable[Operation], *, add: str = "add", read: str = "read_all", linearizable: bool = True
) -> Findings:
    """Judges each key of a history as one set: an `add` carries an element, an ok `read` the list of all elements.

    Names `lost`, `unexpected` (never added, added later, or refused), `duplicated` (twice in one read), `added-twice`
    (the workload broke its own rule) and, unless `linearizable` is off, `stale`. `n` counts the elements that were
    known before the last read was sent, so a history without a read at the end is vacuous. Figures: `acknowledged`,
    `recovered`, `stale`, `stalest_us` (from known to the last read without it), `never_read` (acknowledged, and no read
    was sent since).
    """
    finder = Finder()
    figures: Counter[str] = Counter(acknowledged=0, recovered=0, stale=0, never_read=0, stalest_us=0)
    judged = 0
    for key, group in grouped(operations).items():
        one = _Set(key, finder)
        one.take([each for each in group if each.function == add])
        reads = [each for each in group if each.function == read and each.status is Status.OK]
        one.go(reads, linearizable)
        judged += one.judged
        stalest = max(figures["stalest_us"], one.figures.pop("stalest_us", 0))
        figures.update(one.figures)
        figures["stalest_us"] = stalest
    return finder.findings(CHECKER, judged, "elements", dict(figures))


_sent = attrgetter("sent_us")


def _ended(shown: tuple[Operation, set[Hashable]]) -> int:
    return shown[0].end_us


def _elements(read: Operation) -> set[Hashable]:
    try:
        return set(_listed(read))
    except TypeError:
        return {identity(value) for value in _listed(read)}


def _listed(read: Operation) -> Sequence[Any]:
    return read.value if isinstance(read.value, list | tuple) else []


class _Set:
    def __init__(self, key: str, finder: Finder) -> None:
        self.key = key
        self.finder = finder
        self.added: dict[Hashable, Operation] = {}
        self.refused: dict[Hashable, Operation] = {}
        self.known: dict[Hashable, int] = {}
        self.due: set[Hashable] = set()
        self.seen: set[Hashable] = set()
        self.open: list[tuple[Operation, set[Hashable]]] = []
        self.away: dict[Hashable, Operation] = {}
        self.came_back: dict[Hashable, tuple[Operation, Operation]] = {}
        self.judged = 0
        self.figures: Counter[str] = Counter()

    def take(self, adds: list[Operation]) -> None:
        """Who added what, and what is known because it was acknowledged."""
        added, refused, known = self.added, self.refused, self.known
        for operation in adds:
            value = operation.value
            if value.__class__ is not int and value.__class__ is not str:
                value = identity(value)
            status = operation.status
            if value in added or value in refused:
                first = added.get(value) or refused[value]
                self.finder.add("added-twice", self.key, f"{value!r} was added by two operations", first, operation)
            if status is Status.FAIL:
                refused[value] = operation
                continue
            added[value] = operation
            if status is Status.OK:
                known[value] = operation.end_us
        self.figures["acknowledged"] = len(self.known)

    def go(self, reads: list[Operation], linearizable: bool) -> None:
        """Goes through the reads once, in the order of time: what each lacks when sent, what it shows by its end."""
        acknowledged = sorted(self.known, key=self.known.__getitem__)
        passed = 0
        for sent_us, together in groupby(sorted(reads, key=_sent), key=_sent):
            self._learn_before(sent_us)
            start = passed
            while passed < len(acknowledged) and self._acknowledged_us(acknowledged[passed]) < sent_us:
                passed += 1
            self.due.update(acknowledged[start:passed])
            self._compare(list(together))
        self.judged = len(self.due)
        self.figures["never_read"] = sum(1 for value in acknowledged[passed:] if value not in self.due)
        self._learn_before(NEVER)
        self._lost()
        self._stale(linearizable)

    def _acknowledged_us(self, value: Hashable) -> int:
        """When the add was acknowledged, whatever reads showed before."""
        return self.added[value].end_us

    def _compare(self, together: list[Operation]) -> None:
        """Reads that were sent at the same time: those that show an element count as the later ones."""
        shown = [(read, _elements(read)) for read in together]
        for read, present in shown:
            self.away.update(dict.fromkeys(self.due - present, read))
        for read, present in shown:
            for value in self.away.keys() & present:
                self.came_back[value] = (self.away.pop(value), read)
            insort(self.open, (read, present), key=_ended)

    def _learn_before(self, time: int) -> None:
        """What became known because a read that ended before `time` showed it; what no read may show."""
        count = bisect_left(self.open, time, key=_ended)
        ended, self.open = self.open[:count], self.open[count:]
        for read, present in ended:
            if len(present) != len(_listed(read)):
                self._duplicated(read)
            fresh = present - self.seen
            self.seen |= fresh
            # What was acknowledged before the read ended and is seen now is as it should be: the common case.
            for value in fresh:
                if self.known.get(value, NEVER) >= read.end_us or read.end_us < self.added[value].sent_us:
                    self._first_seen(value, read)

    def _first_seen(self, value: Hashable, read: Operation) -> None:
        add = self.added.get(value)
        if add is None:
            self._unexpected(value, read)
            return
        if read.end_us < add.sent_us:
            self.finder.add("unexpected", self.key, f"{value!r} was read before it was added", read, add)
        if add.status is Status.UNKNOWN:
            self.figures["recovered"] += 1
        known = self.known.get(value)
        if known is None or read.end_us < known:
            self.known[value] = read.end_us
            self.due.add(value)

    def _unexpected(self, value: Hashable, read: Operation) -> None:
        refused = self.refused.get(value)
        if refused is not None:
            self.finder.add("unexpected", self.key, f"{value!r} was read although its add failed", refused, read)
        else:
            self.finder.add("unexpected", self.key, f"{value!r} was read and never added", read)

    def _duplicated(self, read: Operation) -> None:
        counts = Counter(map(identity, _listed(read)))
        for value, count in counts.items():
            if count > 1:
                self.finder.add("duplicated", self.key, f"{value!r} is {count} times in one read", read)

    def _lost(self) -> None:
        for value, read in self.away.items():
            add = self.added[value]
            known = "acknowledged" if add.status is Status.OK else "seen by a read"
            self.finder.add("lost", self.key, f"{value!r} was {known}, and is gone from the last read", add, read)

    def _stale(self, linearizable: bool) -> None:
        pairs = {value: pair for value, pair in self.came_back.items() if value not in self.away}
        self.figures["stale"] = len(pairs)
        for value, (without, again) in pairs.items():
            age = without.sent_us - self.known[value]
            self.figures["stalest_us"] = max(self.figures["stalest_us"], age)
            if linearizable:
                sentence = f"{value!r} was missing in a read {age} us after it was known, and came back"
                self.finder.add("stale", self.key, sentence, self.added[value], without, again)
