"""Long connections: does each end as it should, and does nothing get lost between one and the next?

WebSockets (RFC 6455): each message comes back; a server that leaves says so in a close frame, 1001 (going away) or 1012
(service restart), and the client goes on over another connection. Event streams (HTML, 9.2): events are numbered; the
client names the last one that it has (`Last-Event-ID`) when it comes back, and goes on with the next; a stream that
ends is whole (its last chunk was sent).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tenfold.prove.checkers.common import grouped
from tenfold.prove.history import Operation, Status
from tenfold.prove.verdict import Finder, Findings

CHECKER = "streams"
PROPER_CLOSES = (1001, 1012)
CUT = 0
"""The value of an end that came without a close frame or a last chunk."""
WHOLE = 1
"""The value of the end of an event stream with its last chunk."""


def check(operations: Iterable[Operation], *, excused: Callable[[Operation], bool] = lambda each: False) -> Findings:
    """Judges each key as one conversation, over as many connections as it took.

    Functions: `connect`; `echo` (value: [what was sent, what came back]); `event` (value: its number, from 1); `end`
    (value: the code of the close frame, `WHOLE`, or `CUT`), made by the server. Names `cut` (an end without a word),
    `silent` (no echo, no event), `not-connected` (refused or unanswered), these three unless excused; `wrong-close`,
    `wrong-echo`, `gap` and `repeat` (numbers of events). `n` counts echoes, events and ends.
    Figures: `ends` (proper ones), `cut_off` (excused ones), `streams`.
    """
    finder = Finder()
    count = ends = cut_off = 0
    groups = grouped(operations)
    for key, found in groups.items():
        expected = 1
        for operation in sorted(found, key=lambda each: (each.end_us, each.sent_us)):
            if operation.function != "connect":
                count += 1
            if operation.status is not Status.OK:
                cut_off += _unwell(key, operation, excused, finder)
            elif operation.function == "end":
                ends += _ended(key, operation, finder)
            elif operation.function == "echo":
                _echoed(key, operation, finder)
            elif operation.function == "event":
                expected = _numbered(key, operation, expected, finder)
    figures = {"ends": float(ends), "cut_off": float(cut_off), "streams": float(len(groups))}
    return finder.findings(CHECKER, count, "messages", figures)


def _unwell(key: str, operation: Operation, excused: Callable[[Operation], bool], finder: Finder) -> bool:
    if excused(operation):
        return True
    name = {"end": "cut", "connect": "not-connected"}.get(operation.function, "silent")
    sentence = {
        "cut": "a connection ended without a word",
        "not-connected": f"a connection was not made (status {operation.http})",
        "silent": f"no {operation.function} came",
    }[name]
    finder.add(name, key, sentence, operation)
    return False


def _ended(key: str, operation: Operation, finder: Finder) -> bool:
    if operation.value in (*PROPER_CLOSES, WHOLE):
        return True
    finder.add("wrong-close", key, f"a connection was closed with {operation.value}", operation)
    return False


def _echoed(key: str, operation: Operation, finder: Finder) -> None:
    asked, heard = operation.value
    if asked != heard:
        finder.add("wrong-echo", key, f"{asked!r} came back as {heard!r}", operation)


def _numbered(key: str, operation: Operation, expected: int, finder: Finder) -> int:
    """The number that must come next."""
    number = int(operation.value)
    if number > expected:
        finder.add("gap", key, f"event {number} came, and {expected} was next", operation)
    elif number < expected:
        finder.add("repeat", key, f"event {number} came again", operation)
    return max(expected, number + 1)
