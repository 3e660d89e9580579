"""Is the history one that sequential clients can have made? The other checkers rest on that.

Source: the histories of Herlihy and Wing, "Linearizability" (TOPLAS 1990) are *well-formed*: each process does one
thing at a time. And of Jepsen: a process whose operation ended unknown is not used again.
"""

from __future__ import annotations

from collections.abc import Iterable

from tenfold.prove.history import Operation, Status
from tenfold.prove.verdict import Finder, Findings

CHECKER = "clients"


def check(operations: Iterable[Operation]) -> Findings:
    """Names `client-overlaps` and `client-after-unknown`: faults of the prover, which make the other verdicts
    worthless.

    `n` counts the operations. Figures: `clients`.
    """
    finder = Finder()
    last: dict[int, Operation] = {}
    count = 0
    for operation in sorted(operations, key=lambda each: (each.sent_us, each.end_us)):
        count += 1
        before = last.get(operation.process)
        last[operation.process] = operation
        if before is None:
            continue
        if before.status is Status.UNKNOWN:
            sentence = f"client {operation.process} went on after an unknown operation"
            finder.add("client-after-unknown", operation.key, sentence, before, operation)
        elif before.end_us > operation.sent_us:
            sentence = f"client {operation.process} did two things at a time"
            finder.add("client-overlaps", operation.key, sentence, before, operation)
    return finder.findings(CHECKER, count, "operations", {"clients": len(last)})
