"""Which requests failed, and how long was the longest one held?

Latency counts from the intended send time, so that a stall shows in all that it delayed (Tene, "How NOT to Measure
Latency", 2013: coordinated omission). Answers such as 404, 409 and 429 are answers. A request *fails* when it was
refused, got no answer, or got a server's error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

from tenfold.prove.history import Operation, Status
from tenfold.prove.verdict import Finder, Findings

CHECKER = "availability"


def check(
    operations: Iterable[Operation],
    *,
    excused: Callable[[Operation], bool] = lambda request: False,
    max_hold_us: int | None = None,
) -> Findings:
    """Judges every request; `excused` says which of those that failed a fault explains (`tenfold.prove.excuses`).

    Names `no-answer` (unknown without a status code), `refused`, `server-error` (5xx), `held-too-long` (ok, but after
    more than `max_hold_us`; never excused). `n` counts the requests. Figures: `failed`, `excused`, `longest_hold_us`,
    `p50_us`, `p99_us`, `p999_us` (of ok ones), `longest_silence_us` (between two ok outcomes), `late_us` (most that the
    load itself was late in sending).
    """
    finder = Finder()
    requests = list(operations)
    failed = explained = 0
    for request in requests:
        name = failure(request)
        if name is None:
            continue
        failed += 1
        if excused(request):
            explained += 1
        else:
            sentence = f"a {request.function} ended with {_outcome(request)} after {request.latency_us} us"
            finder.add(name, request.key, sentence, request)
    ok = [request for request in requests if request.status is Status.OK]
    if max_hold_us is not None:
        _held(ok, max_hold_us, finder)
    figures = {"failed": float(failed), "excused": float(explained), **_latencies(ok)}
    figures["late_us"] = max((request.sent_us - request.start_us for request in requests), default=0)
    return finder.findings(CHECKER, len(requests), "requests", figures)


def failure(request: Operation) -> str | None:
    """How a request failed its client; None when it was answered."""
    if request.status is Status.OK:
        return None
    if request.http >= 500:
        return "server-error"
    if request.status is Status.UNKNOWN:
        return "no-answer"
    return "refused" if request.http == 0 else None


def _outcome(request: Operation) -> str:
    return f"status {request.http}" if request.http else "no status"


def _held(ok: list[Operation], max_hold_us: int, finder: Finder) -> None:
    for request in ok:
        if request.latency_us > max_hold_us:
            sentence = f"a {request.function} was held {request.latency_us} us; {max_hold_us} are allowed"
            finder.add("held-too-long", request.key, sentence, request)


def _latencies(ok: list[Operation]) -> dict[str, float]:
    latencies = sorted(request.latency_us for request in ok)
    ends = sorted(request.end_us for request in ok)
    silence = max((later - one for one, later in itertools.pairwise(ends)), default=0)
    return {
        "longest_hold_us": latencies[-1] if latencies else 0,
        "p50_us": quantile(latencies, 0.5),
        "p99_us": quantile(latencies, 0.99),
        "p999_us": quantile(latencies, 0.999),
        "longest_silence_us": silence,
    }


def quantile(ordered: Sequence[int], share: float) -> int:
    """The smallest value that at least `share` of the (sorted) values do not exceed; 0 without values."""
    if not ordered:
        return 0
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
