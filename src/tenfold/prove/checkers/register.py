"""Registers whose written values are unique: is there one order of all writes and reads that explains every answer?

Source: Gibbons and Korach, "Testing Shared Memories" (SIAM J. Comput. 26, 1997), zones for unique values. All
operations on one value form a cluster (its write and the reads that returned it). Its zone lies between the earliest
end and the latest start in the cluster: *forward* when the earliest end comes first (the value must have been in the
register all that time), *backward* otherwise (some instant in between suffices). The history is linearizable if and
only if no read precedes the write of its value, no two forward zones overlap, and no backward zone lies inside a
forward one.

An unknown write that nobody read is left out (it may never have happened); one that was read never ends. Cost: n log n.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable
from typing import Any

from tenfold.prove.checkers.common import NEVER, grouped, identity
from tenfold.prove.history import Operation, Status
from tenfold.prove.verdict import Finder, Findings

CHECKER = "register-zones"


def check(
    operations: Iterable[Operation], *, write: str = "write", read: str = "read", initial: Any = None
) -> Findings:
    """Judges each key of a history as one register; `initial` is what a read returns before the first write.

    Names `stale-read` (no order explains what these reads returned: a value after it had been replaced),
    `unwritten-value`, `failed-write-seen`, `read-before-write`, and `written-twice` (the workload broke its own rule:
    the key cannot be judged). `n` counts the ok reads. Figures: `recovered` (unknown writes that were read), `keys`.
    """
    finder = Finder()
    groups = grouped(each for each in operations if each.function in (write, read))
    reads = recovered = 0
    for key, group in groups.items():
        one = _Register(key, finder, identity(initial))
        one.take_writes([each for each in group if each.function == write])
        for operation in group:
            if operation.function == read and operation.status is Status.OK:
                one.take_read(operation)
                reads += 1
        one.judge()
        recovered += one.recovered
    return finder.findings(CHECKER, reads, "reads", {"recovered": recovered, "keys": len(groups)})


class _Cluster:
    """A value's write and reads: who ended first and who started last. The initial value has no write."""

    __slots__ = ("first", "first_end", "last", "last_start", "read", "sound", "write")

    def __init__(self, write: Operation | None) -> None:
        self.write = write
        self.first = self.last = write
        self.last_start = -1 if write is None else write.sent_us
        self.first_end = -1 if write is None else write.end_us if write.status is Status.OK else NEVER
        self.read = False
        self.sound = True

    def evidence(self) -> list[Operation]:
        return [each for each in (self.write, self.first, self.last) if each is not None]


class _Register:
    def __init__(self, key: str, finder: Finder, initial: Hashable) -> None:
        self.key = key
        self.finder = finder
        self.clusters: dict[Hashable, _Cluster] = {initial: _Cluster(None)}
        self.failed: dict[Hashable, Operation] = {}
        self.sound = True

    @property
    def recovered(self) -> int:
        """Unknown writes whose value was read."""
        return sum(1 for each in self.clusters.values() if each.read and each.write and each.write.status != Status.OK)

    def take_writes(self, writes: list[Operation]) -> None:
        """Opens a cluster for each value that may have been written."""
        for operation in writes:
            value = identity(operation.value)
            if operation.status is Status.FAIL:
                self.failed[value] = operation
            elif value in self.clusters:
                first = self.clusters[value].evidence()
                self.finder.add("written-twice", self.key, f"{value!r} was written twice", *first[:1], operation)
                self.sound = False
            else:
                self.clusters[value] = _Cluster(operation)

    def take_read(self, read: Operation) -> None:
        """Puts a read into the cluster of its value."""
        value = identity(read.value)
        cluster = self.clusters.get(value)
        if cluster is None:
            self._unexplained(value, read)
            return
        cluster.read = True
        if cluster.write is not None and read.end_us < cluster.write.sent_us:
            self.finder.add(
                "read-before-write", self.key, f"{value!r} was read before it was written", read, cluster.write
            )
            cluster.sound = False
        if read.end_us < cluster.first_end:
            cluster.first_end, cluster.first = read.end_us, read
        if read.sent_us > cluster.last_start:
            cluster.last_start, cluster.last = read.sent_us, read

    def _unexplained(self, value: Hashable, read: Operation) -> None:
        failed = self.failed.get(value)
        if failed is not None:
            sentence = f"{value!r} was read although its write had failed"
            self.finder.add("failed-write-seen", self.key, sentence, failed, read)
        else:
            self.finder.add("unwritten-value", self.key, f"{value!r} was read and never written", read)

    def judge(self) -> None:
        """Looks for two zones that contradict each other; each later zone is told once, with one that it meets."""
        if not self.sound:
            return
        judged = [each for each in self.clusters.values() if each.sound and each.first_end < NEVER]
        forward = sorted((each for each in judged if each.first_end < each.last_start), key=lambda each: each.first_end)
        widest: list[_Cluster] = []
        for zone in forward:
            before = widest[-1] if widest else None
            if before is not None and zone.first_end < before.last_start:
                self._contradiction(before, zone)
            widest.append(zone if before is None or zone.last_start > before.last_start else before)
        starts = [each.first_end for each in forward]
        for zone in judged:
            if zone.first_end >= zone.last_start:
                before_it = bisect_left(starts, zone.last_start)
                if before_it and widest[before_it - 1].last_start > zone.first_end:
                    self._contradiction(widest[before_it - 1], zone)

    def _contradiction(self, one: _Cluster, other: _Cluster) -> None:
        """Each value was there before the other's end and after the other's start: one of the two was read too late."""
        stale = one if one.last is not one.write else other
        newer = other if stale is one else one
        assert stale.last is not None, "a cluster whose write comes last has a read before it, or a backward zone"
        value = identity(stale.last.value)
        newer_value = identity(newer.first.value) if newer.first is not None else None
        sentence = f"{value!r} was read after {newer_value!r} had replaced it"
        self.finder.add("stale-read", self.key, sentence, *_distinct([*stale.evidence(), *newer.evidence()]))


def _distinct(operations: list[Operation]) -> list[Operation]:
    """Each once, in the order in which they were sent."""
    found = {id(each): each for each in operations}
    return sorted(found.values(), key=lambda each: each.sent_us)
