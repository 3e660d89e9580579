"""From many windows to one level of a resource: what a deployment is sized for. Pure.

GitLab sizes its reference architectures by the sustained peak (the 95th percentile) of a longer time, and keeps 10 to
15 % of headroom ("Assess reference architecture size"). Kubernetes' autoscaler acts on the average of the last 15
seconds, and ignores what is within 10 % of its target ("Horizontal Pod Autoscaling"). Here the higher of both counts: a
load that has just begun is seen, and one that comes and goes is not forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Sample = tuple[float, float]
"""A value, and for how many seconds it was so."""

LOOK_BACK_S = 600.0
"""How far back figures count."""
LEAST_S = 4.0
"""From fewer seconds nothing is said."""
STRETCH_S = 5.0
"""Windows are averaged until they are this long: one second of hard work is no load."""
RECENT_S = 15.0
"""What counts as now: how often Kubernetes' autoscaler looks."""
SUSTAINED = 0.95

FULL = 0.85
"""From this share on a resource is full: 15 % are headroom."""
TARGET = 0.65
"""What more processes are to lead to: from there the load can grow 1.3 times before they are full (GitLab starts with
1.25 to 1.5 times of what is there)."""
TOLERANCE = 0.1


def level(samples: Sequence[Sample]) -> float:
    """The level of something that is worked: its 95th percentile, or its average just now when that is higher.

    `samples` in the order of time; 0 without any.
    """
    return max(quantile(stretches(samples), SUSTAINED), now(samples))


def usual(samples: Sequence[Sample]) -> float:
    """The median, of all or of just now, whichever is higher: for what is only looked at now and then (gauges)."""
    return max(quantile(samples, 0.5), quantile(_recent(samples), 0.5))


def now(samples: Sequence[Sample]) -> float:
    """The average of the last 15 seconds."""
    return mean(_recent(samples))


def mean(samples: Iterable[Sample]) -> float:
    """The average over time; 0 for no time."""
    total = seconds = 0.0
    for value, each_s in samples:
        total, seconds = total + value * each_s, seconds + each_s
    return total / seconds if seconds else 0.0


def quantile(samples: Sequence[Sample], share: float) -> float:
    """The value that is not exceeded for `share` of the time; 0 for no time."""
    wanted = share * sum(seconds for _, seconds in samples)
    seen = found = 0.0
    for value, seconds in sorted(samples):
        if seen >= wanted:
            break
        seen, found = seen + seconds, value
    return found


def stretches(samples: Sequence[Sample]) -> list[Sample]:
    """Averages of at least five seconds each; what is left over at the beginning belongs to the first."""
    found: list[Sample] = []
    gathered: list[Sample] = []
    for sample in reversed(samples):
        gathered.append(sample)
        if sum(seconds for _, seconds in gathered) >= STRETCH_S:
            found.append(_one(gathered))
            gathered = []
    if gathered:
        found.append(_one([found.pop(), *gathered] if found else gathered))
    return found[::-1]


def _one(samples: Sequence[Sample]) -> Sample:
    return mean(samples), sum(seconds for _, seconds in samples)


def _recent(samples: Sequence[Sample]) -> list[Sample]:
    """The last samples, of 15 seconds together or a little more."""
    found: list[Sample] = []
    for sample in reversed(samples):
        if sum(seconds for _, seconds in found) >= RECENT_S:
            break
        found.append(sample)
    return found[::-1]
