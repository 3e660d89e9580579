"""Was work held, rather than failed, while a move passed or the database was away, and for how long?

Nothing excuses a failure here: a request that overlaps the window must end well, within the limit that the promise
gives (P1 for moves, P4 for a database that was killed). Latency counts from the intended send time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tenfold.prove.checkers.availability import failure, quantile
from tenfold.prove.checkers.common import overlapping
from tenfold.prove.history import Operation, Status, Window
from tenfold.prove.verdict import Finder, Findings

CHECKER = "holding"


def check(operations: Iterable[Operation], windows: Sequence[Window], *, limit_us: int) -> Findings:
    """Judges the requests that overlap one of the windows.

    Names `failed` (refused, no answer, or a server's error) and `held-too-long` (ok, after more than `limit_us`). `n`
    counts those requests. Figures: `windows`, `held_p50_us`, `held_p99_us`, `longest_hold_us`.
    """
    finder = Finder()
    seen = overlapping(operations, windows)
    for request in seen:
        if failure(request) is not None:
            sentence = f"a {request.function} ended with status {request.http} after {request.latency_us} us"
            finder.add("failed", request.key, sentence, request)
        elif request.latency_us > limit_us:
            sentence = f"a {request.function} was held {request.latency_us} us; {limit_us} are allowed"
            finder.add("held-too-long", request.key, sentence, request)
    latencies = sorted(request.latency_us for request in seen if request.status is Status.OK)
    figures = {
        "windows": float(len(windows)),
        "held_p50_us": float(quantile(latencies, 0.5)),
        "held_p99_us": float(quantile(latencies, 0.99)),
        "longest_hold_us": float(latencies[-1] if latencies else 0),
    }
    return finder.findings(CHECKER, len(seen), "requests", figures)
