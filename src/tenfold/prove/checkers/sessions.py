"""What one client wrote and read, as versions: does it ever see the past?

Source: Terry et al., "Session Guarantees for Weakly Consistent Replicated Data" (PDIS 1994): read your writes,
monotonic reads, monotonic writes, writes follow reads. Each ok write returns the version that it made, each ok read the
version that it saw; versions of a key grow in the order of its writes. Within a session an operation is bound by those
that precede it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from operator import attrgetter

from tenfold.prove.checkers.common import is_number, sweep
from tenfold.prove.history import Operation, Status
from tenfold.prove.verdict import Finder, Findings

CHECKER = "session-guarantees"

Key = tuple[Hashable, str]


def check(
    operations: Iterable[Operation],
    *,
    write: str = "write",
    read: str = "read",
    session: Callable[[Operation], Hashable] = attrgetter("process"),
) -> Findings:
    """Judges each key within each session; values are versions (int; a read of nothing returns None, below all others).

    Names `read-your-writes`, `monotonic-reads`, `monotonic-writes`, `writes-follow-reads` and `not-a-version`.
    Operations that are not ok carry no version and bind nothing. `n` counts the operations that something before them
    bound. Figures: how often each guarantee was put to the test, by its name.
    """
    state = _State(read, session, Finder())
    judged = [each for each in operations if each.function in (write, read) and each.status is Status.OK]
    for ended, operation in sweep(state.versioned(judged, write)):
        if ended:
            state.remember(operation)
        else:
            state.judge(operation)
    return state.finder.findings(CHECKER, state.bound, "operations", dict(state.tested))


class _State:
    def __init__(self, read: str, session: Callable[[Operation], Hashable], finder: Finder) -> None:
        self.read = read
        self.session = session
        self.finder = finder
        self.bound = 0
        self.tested: dict[str, float] = dict.fromkeys(
            ("read-your-writes", "monotonic-reads", "monotonic-writes", "writes-follow-reads"), 0
        )
        self.written: dict[Key, Operation] = {}
        self.seen: dict[Key, Operation] = {}

    def versioned(self, operations: list[Operation], write: str) -> list[Operation]:
        """The operations that carry a version; the others are told."""
        found = []
        for operation in operations:
            if is_number(operation.value):
                found.append(operation)
            elif operation.value is not None or operation.function == write:
                sentence = f"a {operation.function} returned {operation.value!r}"
                self.finder.add("not-a-version", operation.key, sentence, operation)
            else:
                found.append(operation)
        return found

    def remember(self, operation: Operation) -> None:
        """Keeps what binds later operations of the session: the highest version that it wrote, and that it saw."""
        known = self.seen if operation.function == self.read else self.written
        key = (self.session(operation), operation.key)
        before = known.get(key)
        if before is None or _version(operation) > _version(before):
            known[key] = operation

    def judge(self, operation: Operation) -> None:
        """Compares an operation with what its session wrote and saw before."""
        key = (self.session(operation), operation.key)
        written, seen = self.written.get(key), self.seen.get(key)
        self.bound += written is not None or seen is not None
        if operation.function == self.read:
            self._judge("read-your-writes", written, operation, _version(operation))
            self._judge("monotonic-reads", seen, operation, _version(operation))
        else:
            # A write makes a version of its own: to make the one that was there before is to fall behind it.
            self._judge("monotonic-writes", written, operation, _version(operation) - 1)
            self._judge("writes-follow-reads", seen, operation, _version(operation) - 1)

    def _judge(self, name: str, before: Operation | None, operation: Operation, reached: int) -> None:
        if before is None:
            return
        self.tested[name] += 1
        if reached < _version(before):
            done = "read" if operation.function == self.read else "wrote"
            had = "read" if before.function == self.read else "written"
            sentence = f"the client {done} version {operation.value} after it had {had} version {before.value}"
            self.finder.add(name, operation.key, sentence, before, operation)


def _version(operation: Operation) -> int:
    version = operation.value
    return version if version is not None else -1
