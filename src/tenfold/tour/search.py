"""Which rate to try next, and what a step carries: a search that a noisy machine does not lead astray. Pure.

Rates grow by a factor until one is not carried, then the gap is halved (on the scale of the logarithm) until it is
small. Other work on the machine can only make a trial worse, so one trial that was carried is believed while the search
goes on, and one that was not is repeated: carried twice it counts as carried, refused three times as refused (twice,
when even half of the answers came too late, which no short disturbance does). In the end the answer must have been
carried twice. A trial that could not be sent in time says nothing, and is made again; when that happens three times,
nothing more can be sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

import msgspec

from tenfold.tour.model import P99_LIMIT_MS, Trial

VOID_MOST = 3
"""Trials of a rate that could not be sent, until it counts as more than can be."""
_CARRIED, _REFUSED = 2, 6
_SLOW, _HOPELESS = 2, 3
"""What a trial says against its rate, of `_REFUSED`: that some answers were slow, or that most were."""


class Plan(msgspec.Struct, frozen=True):
    """How to search: from `first`, never above `most` (requests a second), at most `trials` trials."""

    first: float
    most: float
    trials: int
    grow: float = 1.5
    precise: float = 1.1
    """How far the lowest rate that was not carried may be above the answer."""
    least: float = 4.0


class Found(msgspec.Struct, frozen=True):
    """The answer. `at_least`: nothing more could be sent, so it may be more. `sure`: it was carried twice."""

    rate: float
    p50_ms: float
    p99_ms: float
    at_least: bool = False
    sure: bool = True


def next_rate(plan: Plan, tried: Sequence[Trial]) -> float | None:
    """The rate to try now; None when the search is over."""
    void = sum(trial.says_nothing for trial in tried)
    if len(tried) - void >= plan.trials or void > plan.trials:
        return None
    if not tried:
        return _bounded(plan, plan.first)
    last = _votes(tried, tried[-1].rate)
    if last.open and not tried[-1].carried:  # not carried: once more, before anything rests on it
        return tried[-1].rate
    low, high = _carried(tried), _refused(tried)
    if low is None:
        lower = _bounded(plan, (high or plan.first) / plan.grow**2)
        return lower if high is not None and lower < high else None
    unsure = low if _votes(tried, low).open else None
    if unsure and len(tried) - void == plan.trials - 1:  # the last one is for the answer
        return unsure
    return _between(plan, low, high) or unsure


def _between(plan: Plan, low: float, high: float | None) -> float | None:
    """The next rate above the highest that was carried; None when it is as near as it is to be."""
    if high is None:
        return _bounded(plan, low * plan.grow) if low < plan.most else None
    return _round(math.sqrt(low * high)) if high / low > plan.precise else None


def found(plan: Plan, tried: Sequence[Trial]) -> Found | None:
    """What was carried, by the trials so far; None when nothing was."""
    rate = _carried(tried)
    if rate is None:
        return None
    good = [trial for trial in tried if trial.rate == rate and trial.carried]
    high = _refused(tried)
    return Found(
        rate,
        round(median(trial.p50_ms for trial in good), 2),
        round(median(trial.p99_ms for trial in good), 2),
        at_least=high is None or not any(_judged(tried, high)),
        sure=len(good) >= _CARRIED,
    )


def bottleneck(tried: Sequence[Trial]) -> Trial | None:
    """The first trial of the lowest rate that the service did not carry: where its bottleneck appeared."""
    high = _refused(tried)
    return next((trial for trial in tried if trial.rate == high and not trial.carried and not trial.says_nothing), None)


def _bounded(plan: Plan, rate: float) -> float:
    return _round(min(plan.most, max(plan.least, rate)))


def _round(rate: float) -> float:
    """Three digits, which is more than can be measured, and reads well."""
    digits = 2 - math.floor(math.log10(rate))
    return round(rate, digits)


class _Votes(msgspec.Struct, frozen=True):
    """What the trials of one rate say: how often it was carried, and what speaks against it."""

    carried: int
    against: int

    @property
    def open(self) -> bool:
        return self.carried < _CARRIED and self.against < _REFUSED

    @property
    def holds(self) -> bool:
        return self.carried >= _CARRIED or (self.carried > 0 and self.against < _REFUSED)


def _judged(tried: Sequence[Trial], rate: float) -> list[Trial]:
    """The trials of a rate that say something."""
    return [trial for trial in tried if trial.rate == rate and not trial.says_nothing]


def _votes(tried: Sequence[Trial], rate: float) -> _Votes:
    these = _judged(tried, rate)
    void = sum(trial.rate == rate for trial in tried) - len(these)
    if not these and void >= VOID_MOST:
        return _Votes(0, _REFUSED)
    against = [_HOPELESS if trial.p50_ms > P99_LIMIT_MS else _SLOW for trial in these if not trial.carried]
    return _Votes(len(these) - len(against), sum(against))


def _rates(tried: Sequence[Trial]) -> Iterator[tuple[float, _Votes]]:
    for rate in dict.fromkeys(trial.rate for trial in tried):
        yield rate, _votes(tried, rate)


def _refused(tried: Sequence[Trial]) -> float | None:
    """The lowest rate that was not carried."""
    return min((rate for rate, votes in _rates(tried) if not votes.holds), default=None)


def _carried(tried: Sequence[Trial]) -> float | None:
    """The highest carried rate below the lowest one that was not."""
    most = _refused(tried) or math.inf
    return max((rate for rate, votes in _rates(tried) if votes.holds and rate < most), default=None)
