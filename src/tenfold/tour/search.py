"""Which rate to try next, and what a step carries: a search that a noisy machine does not lead astray. Pure.

Rates grow by a factor until one is not carried, then the gap is halved (on the scale of the logarithm) until it is
small. Other work on the machine can only make a trial worse, so one trial that was carried is believed while the search
goes on, and one that was not is repeated: best of three. In the end the answer must have been carried twice. A trial
that could not be sent in time says nothing, and is made again; when that happens three times, nothing more can be sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median

import msgspec

from tenfold.tour.model import Trial

VOID_MOST = 3
"""Trials of a rate that could not be sent, until it counts as more than can be."""


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
    if not last or (not last[0] and _open(last)):  # not carried at first: once more, before anything rests on it
        return tried[-1].rate
    low, high = _carried(tried), _refused(tried)
    if low is None:
        lower = _bounded(plan, (high or plan.first) / plan.grow)
        return lower if high is not None and lower < high else None
    return _between(plan, low, high) or (low if _open(_votes(tried, low)) else None)


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
    sender = [trial.rate for trial in tried if trial.says_nothing]
    return Found(
        rate,
        round(median(trial.p50_ms for trial in good), 2),
        round(median(trial.p99_ms for trial in good), 2),
        at_least=high is None or high in sender,
        sure=len(good) > 1,
    )


def bottleneck(tried: Sequence[Trial]) -> Trial | None:
    """The first trial that the service did not carry: where its bottleneck appeared."""
    return next((trial for trial in tried if not trial.carried and not trial.says_nothing), None)


def _bounded(plan: Plan, rate: float) -> float:
    return _round(min(plan.most, max(plan.least, rate)))


def _round(rate: float) -> float:
    """Three digits, which is more than can be measured, and reads well."""
    digits = 2 - math.floor(math.log10(rate))
    return round(rate, digits)


def _votes(tried: Sequence[Trial], rate: float) -> list[bool]:
    """What the trials of a rate say of it; two against it when it could not be sent however often that was tried."""
    these = [trial for trial in tried if trial.rate == rate]
    said = [trial.carried for trial in these if not trial.says_nothing]
    return said if said or len(these) < VOID_MOST else [False, False]


def _open(votes: list[bool]) -> bool:
    """Whether a best of three is undecided: neither side has two."""
    return votes.count(True) < 2 and votes.count(False) < 2


def _holds(votes: list[bool]) -> bool:
    """Whether a rate counts as carried: more often than not; one against one is believed to be noise."""
    return votes.count(True) >= max(1, votes.count(False))


def _rates(tried: Sequence[Trial]) -> Iterator[tuple[float, list[bool]]]:
    for rate in dict.fromkeys(trial.rate for trial in tried):
        yield rate, _votes(tried, rate)


def _refused(tried: Sequence[Trial]) -> float | None:
    """The lowest rate that was not carried."""
    return min((rate for rate, votes in _rates(tried) if not _holds(votes)), default=None)


def _carried(tried: Sequence[Trial]) -> float | None:
    """The highest carried rate below the lowest one that was not."""
    most = _refused(tried) or math.inf
    return max((rate for rate, votes in _rates(tried) if _holds(votes) and rate < most), default=None)
