"""Which web servers get nothing new for a while, because they are much worse than the others. Pure.

A server is compared with its peers in the same window, never with a fixed bar: an address that fails everywhere makes
all of them equally bad, and then the fault is not a server's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tenfold.engines.haproxy.runtime import ServerStat

WINDOW_S = 10.0
MINIMUM_REQUESTS = 20
"""In the window, of a server and of its peers together; below it a share of failures says nothing."""
BAD_SHARE = 0.2
"""Below this share of failures nobody is ejected, whatever the peers do."""
TIMES_WORSE = 5.0
"""How many times the share of its peers a server must fail."""
FIRST_OUT_S = 10.0
LONGEST_OUT_S = 300.0
FORGIVEN_AFTER_S = 300.0
"""After so long without being ejected again a server counts as new."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a server did since HAProxy started: requests that ended, and those of them that failed on it."""

    requests: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """The tallies of all servers at one moment; `at_s` on a clock that only grows."""

    at_s: float
    tallies: Mapping[str, Tally]


@dataclass(frozen=True, slots=True)
class Ejection:
    """A server is out until `until_s`, for the `times`-th time in a row."""

    until_s: float
    times: int


@dataclass(frozen=True, slots=True)
class Outliers:
    """What is remembered between two looks."""

    samples: tuple[Sample, ...] = ()
    ejections: Mapping[str, Ejection] = field(default_factory=dict)

    def ejected(self, now_s: float) -> frozenset[str]:
        """Those that are out at this moment."""
        return frozenset(name for name, one in self.ejections.items() if one.until_s > now_s)


def look(before: Outliers, sample: Sample, serving: frozenset[str]) -> Outliers:
    """What follows from one more sample. `serving`: the servers that are wanted and that HAProxy finds well.

    At most one server is ejected at a look, the worst. Of all that are wanted a third may be out (one where there are
    two or three), and never the last one that serves.
    """
    now_s = sample.at_s
    kept = {name: one for name, one in before.ejections.items() if now_s < one.until_s + FORGIVEN_AFTER_S}
    window = (*_recent(before.samples, now_s), sample)
    out = {name for name, one in kept.items() if one.until_s > now_s}
    rest = serving - out
    worst = _worst(_spent(window, kept), rest)
    if worst is not None and len(rest) > 1 and len(out) < max(1, len(rest | out) // 3):
        times = kept[worst].times + 1 if worst in kept else 1
        kept[worst] = Ejection(now_s + min(LONGEST_OUT_S, FIRST_OUT_S * 2.0 ** (times - 1)), times)
    return Outliers(window, kept)


def _recent(samples: Sequence[Sample], now_s: float) -> tuple[Sample, ...]:
    """The samples of the window, and the last one before it to count from."""
    start = now_s - WINDOW_S
    before = [one for one in samples if one.at_s <= start][-1:]
    return (*before, *(one for one in samples if start < one.at_s < now_s))


def _spent(window: Sequence[Sample], ejections: Mapping[str, Ejection]) -> dict[str, Tally]:
    """What each server did in the window, since it was out last: nobody is ejected twice for the same failures.

    Counts that went down belong to a new life of HAProxy, so they begin anew.
    """
    made: dict[str, Tally] = {}
    for earlier, later in pairwise(window):
        for name, after in later.tallies.items():
            if name in ejections and earlier.at_s < ejections[name].until_s:
                continue
            first = earlier.tallies.get(name, after)
            again = after.requests < first.requests or after.failures < first.failures
            since = Tally() if again else first
            sum_ = made.get(name, Tally())
            made[name] = Tally(
                sum_.requests + after.requests - since.requests, sum_.failures + after.failures - since.failures
            )
    return made


def _worst(spent: Mapping[str, Tally], rest: frozenset[str]) -> str | None:
    """The server of `rest` that fails most, if it fails much more than the others together."""
    total = _sum(spent.get(name, Tally()) for name in rest)
    bad: list[tuple[float, str]] = []
    for name in sorted(rest):
        own = spent.get(name, Tally())
        others = Tally(total.requests - own.requests, total.failures - own.failures)
        if min(own.requests, others.requests) < MINIMUM_REQUESTS:
            continue
        share = own.failures / own.requests
        if share >= BAD_SHARE and share >= TIMES_WORSE * others.failures / others.requests:
            bad.append((share, name))
    return max(bad)[1] if bad else None


def _sum(tallies: Iterable[Tally]) -> Tally:
    listed = list(tallies)
    return Tally(sum(one.requests for one in listed), sum(one.failures for one in listed))


def tally_of(stat: ServerStat) -> Tally:
    """What counts as failed on a server: answers of 5xx, and connections that were refused or broken off."""
    failed = stat.answers_5xx + stat.connect_errors + stat.response_errors
    return Tally(max(stat.requests, failed), failed)
