"""How old is what a cache answers, counted from the acknowledgement of the write that replaced it?

Source: Delta-atomicity of Golab, Li and Shah, "Analyzing Consistency Properties for Fun and Profit" (PODC 2011), as
time staleness with versions: a read is stale by the time from the end of the earliest acknowledged newer write to its
own send.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from tenfold.prove.checkers.common import NEVER, grouped, is_number
from tenfold.prove.history import Operation, Status
from tenfold.prove.verdict import Finder, Findings

CHECKER = "staleness"
OTHERS_US = 10_000


def check(
    operations: Iterable[Operation],
    *,
    write: str = "write",
    read: str = "read",
    same_us: int = 0,
    others_us: int = OTHERS_US,
) -> Findings:
    """Judges each key; values are versions that grow with each write (int; a read of nothing returns None, the lowest).

    A read may be stale by `same_us` towards writes that its own node acknowledged, by `others_us` towards other nodes'
    (an operation without a node's name counts as of the same). Names `stale`, `unwritten-version` and
    `failed-write-seen` (only while every unfailed write of the key carries its version, ok or not). `n` counts the ok
    reads that were sent after an acknowledged write of their key. Figures: `stale_reads` (within the allowance too),
    `stalest_us`, `stalest_same_us` (towards writes of the same node).
    """
    finder = Finder()
    judged, figures = 0, {"stale_reads": 0.0, "stalest_us": 0.0, "stalest_same_us": 0.0}
    for key, group in grouped(operations).items():
        one = _Key(key, [each for each in group if each.function == write], same_us, others_us, finder)
        for operation in group:
            if operation.function == read and operation.status is Status.OK:
                judged += one.bound(operation)
                one.judge(operation, figures)
    return finder.findings(CHECKER, judged, "reads", figures)


class _Newer:
    """Acknowledged writes by version: who of those above a version was acknowledged first?"""

    def __init__(self, writes: Iterable[Operation]) -> None:
        ordered = sorted(writes, key=lambda each: each.value)
        self._versions = [each.value for each in ordered]
        self._first: list[Operation | None] = [None] * (len(ordered) + 1)
        for place in range(len(ordered) - 1, -1, -1):
            later = self._first[place + 1]
            self._first[place] = ordered[place] if later is None or ordered[place].end_us < later.end_us else later

    def than(self, version: int) -> Operation | None:
        return self._first[bisect_right(self._versions, version)]


class _Key:
    def __init__(self, key: str, writes: list[Operation], same_us: int, others_us: int, finder: Finder) -> None:
        self.key = key
        self.finder = finder
        self.same_us, self.others_us = same_us, others_us
        acknowledged = [each for each in writes if each.status is Status.OK and is_number(each.value)]
        self.first_ack = min((each.end_us for each in acknowledged), default=NEVER)
        self.all = _Newer(acknowledged)
        nodes = {each.node for each in acknowledged}
        self.by_node = {node: _Newer(each for each in acknowledged if each.node in (node, "")) for node in nodes | {""}}
        unfailed = [each for each in writes if each.status is not Status.FAIL]
        self.complete = all(is_number(each.value) for each in unfailed)
        self.versions = {each.value for each in unfailed if is_number(each.value)}
        self.failed = {each.value: each for each in writes if each.status is Status.FAIL and is_number(each.value)}

    def bound(self, read: Operation) -> bool:
        """Whether an acknowledged write precedes the read."""
        return self.first_ack < read.sent_us

    def judge(self, read: Operation, figures: dict[str, float]) -> None:
        """Tells a read that is older than allowed, and one of a version that nobody wrote."""
        version = -1 if read.value is None else read.value
        if not is_number(version):
            self.finder.add("unwritten-version", self.key, f"a read returned {read.value!r}", read)
            return
        if self.complete and read.value is not None and version not in self.versions and version != 0:
            self._unwritten(version, read)
        newest = self.all.than(version)
        same = self._same(read).than(version)
        age, same_age = _age(newest, read), _age(same, read)
        figures["stale_reads"] += age > 0
        figures["stalest_us"] = max(figures["stalest_us"], age)
        figures["stalest_same_us"] = max(figures["stalest_same_us"], same_age)
        if same is not None and same_age > self.same_us:
            self._stale(same, read, same_age, "the same node")
        elif newest is not None and age > self.others_us:
            self._stale(newest, read, age, "another node")

    def _same(self, read: Operation) -> _Newer:
        return self.all if not read.node else self.by_node.get(read.node, self.by_node[""])

    def _stale(self, write: Operation, read: Operation, age: int, where: str) -> None:
        sentence = f"version {read.value} was read {age} us after {where} had acknowledged version {write.value}"
        self.finder.add("stale", self.key, sentence, write, read)

    def _unwritten(self, version: int, read: Operation) -> None:
        failed = self.failed.get(version)
        if failed is not None:
            sentence = f"version {version} was read although its write had failed"
            self.finder.add("failed-write-seen", self.key, sentence, failed, read)
        else:
            self.finder.add("unwritten-version", self.key, f"version {version} was read and never written", read)


def _age(write: Operation | None, read: Operation) -> int:
    """Microseconds from the acknowledgement of the newer write to the read's send; 0 when it does not precede it."""
    return 0 if write is None else max(0, read.sent_us - write.end_us)
