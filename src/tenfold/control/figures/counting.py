"""From counters that only grow to what happened between two looks. Pure.

A counter that went back belongs to a process that began anew, and counts from nothing, as Prometheus' `rate` takes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tenfold.control.figures.look import ProcessLook
from tenfold.control.figures.model import Traffic
from tenfold.control.latency import quantile
from tenfold.serve.told import Spread


def grown(now: float, then: float) -> float:
    """By how much a counter grew."""
    return now - then if now >= then else now


def spread_between(before: Spread, after: Spread) -> Spread:
    """What took how long between two looks."""
    same = before.bounds_s == after.bounds_s and len(before.counts) == len(after.counts)
    if not same or any(now < then for now, then in zip(after.counts, before.counts, strict=True)):
        return after
    counts = tuple(now - then for now, then in zip(after.counts, before.counts, strict=True))
    return Spread(after.bounds_s, counts, max(0.0, after.sum_s - before.sum_s))


def together(spreads: Iterable[Spread]) -> Spread:
    """Several spreads as one; those with other bounds than the first (another version) are left out."""
    found = [spread for spread in spreads if spread.counts]
    if not found:
        return Spread()
    same = [spread for spread in found if spread.bounds_s == found[0].bounds_s]
    counts = tuple(sum(column) for column in zip(*(spread.counts for spread in same), strict=True))
    return Spread(found[0].bounds_s, counts, sum(spread.sum_s for spread in same))


class Flow(NamedTuple):
    """What passed between two looks: so many, of which so many failed, and how long each took where that is known."""

    passed: float = 0.0
    failed: float = 0.0
    took: Spread = Spread()


def joined(flows: Iterable[Flow]) -> Flow:
    """Several flows as one."""
    these = list(flows)
    took = together(flow.took for flow in these)
    return Flow(sum(flow.passed for flow in these), sum(flow.failed for flow in these), took)


def traffic(flow: Flow, window_s: float) -> Traffic:
    """A flow by the second."""
    p50, p99 = (_percentile_ms(flow.took, share) for share in (0.5, 0.99))
    return Traffic(flow.passed / window_s, flow.failed / window_s, p50, p99)


def _percentile_ms(took: Spread, share: float) -> float | None:
    return quantile(took.bounds_s, took.counts, share) * 1000 if sum(took.counts) else None


def cpu_between(before: Sequence[ProcessLook], after: Sequence[ProcessLook], since_ticks: int) -> float | None:
    """Processor seconds that a tree of processes (its root first) used between two looks, the earlier at `since_ticks`.

    What a process used that has ended in between is found at its parent, who waited for it. None when the root ran
    already and was not seen: nobody knows how much of its time lies before. The same goes for one of its processes,
    which then counts from the next look on.
    """
    known = {_identity(one): one for one in before}
    if not after or (_identity(after[0]) not in known and after[0].began < since_ticks):
        return None
    pairs = [(known.pop(_identity(one), None), one) for one in after]
    counted = _waited_for(known.values(), after)
    seconds = 0.0
    for then, one in pairs:
        if then is not None:
            ended = one.ended_s - then.ended_s - counted.get(one.pid, 0.0)
            seconds += one.cpu_s - then.cpu_s + max(0.0, ended)
        elif one.began >= since_ticks:
            seconds += _used(one)
    return max(0.0, seconds)


def _waited_for(gone: Iterable[ProcessLook], after: Sequence[ProcessLook]) -> dict[int, float]:
    """By who still runs: the seconds that were seen already of those that ended below it, perhaps over others that
    ended too. Who was only overlooked (the kernel's list of children is made while they come and go) adds nothing to
    its parent, so that nothing is taken from there."""
    runs, ended = {one.pid for one in after}, {one.pid: one for one in gone}
    found: dict[int, float] = {}
    for one in ended.values():
        parent, seen = one.parent, {one.pid}
        while parent in ended and parent not in seen:
            seen.add(parent)
            parent = ended[parent].parent
        if parent in runs:
            found[parent] = found.get(parent, 0.0) + _used(one)
    return found


def _identity(one: ProcessLook) -> tuple[int, int]:
    return one.pid, one.began


def _used(one: ProcessLook) -> float:
    return one.cpu_s + one.ended_s


def memory_of(processes: Sequence[ProcessLook]) -> int:
    """Bytes of a tree of processes: what each has for itself, and once what they share.

    The kernel's own account (`Pss`) costs a walk over all their pages. This one is right where all of them share the
    same pages, as a server and its sessions do.
    """
    own = sum(max(0, one.memory - one.shared) for one in processes)
    return own + max((one.shared for one in processes), default=0)
