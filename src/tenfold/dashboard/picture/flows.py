"""What flows between the tiers: arrows with their traffic, from the figures of the nodes. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from tenfold.control.figures.model import Figures, NodeFigures, Traffic
from tenfold.dashboard.picture.model import Arrow, Tier
from tenfold.dashboard.picture.roles import ASKS, DATABASE, DOORS, ORDER, USERS, WEB, WORKER
from tenfold.topology.map import Map


def together(several: Iterable[Traffic | None]) -> Traffic | None:
    """Several flows as one: rates add up, p50 is their mean by rate, p99 that of the slowest (so it is not below the
    true one). None when nothing was measured."""
    known = [each for each in several if each is not None]
    if not known:
        return None
    timed = [(each.rate, each.p50_ms) for each in known if each.p50_ms is not None]
    weight = sum(rate for rate, _ in timed)
    p50 = sum(rate * ms for rate, ms in timed) / weight if weight else (timed[0][1] if timed else None)
    slowest = max((each.p99_ms for each in known if each.p99_ms is not None), default=None)
    return Traffic(sum(each.rate for each in known), sum(each.errors for each in known), p50, slowest)


def queries(node: NodeFigures) -> Traffic | None:
    """What one node asks of the database: reads and writes."""
    return together((node.reads, node.writes))


def arrows_of(current: Map, tiers: Iterable[Tier], figures: Figures | None) -> tuple[Arrow, ...]:
    """The arrows of a picture with these tiers: the way of a request first, then what is asked behind the door."""
    rows = tuple(tiers)
    present = {tier.role for tier in rows}
    copied = any(tier.role == DATABASE and not any(node.clients for node in tier.nodes) for tier in rows)
    return (*_way_in(current, present, figures), *_behind(current, present, figures, copied=copied))


def _way_in(current: Map, present: set[str], figures: Figures | None) -> list[Arrow]:
    """From the users to the web servers. While balancers and web servers both accept, users come to both."""
    way = [role for role in DOORS if role in present]
    found = [Arrow(USERS, way[0], "requests", _came_in(way[0], current, figures))] if way else []
    for source, target in pairwise(way):
        traffic = _passed(source, target, current, figures)
        found.append(Arrow(source, target, "requests", traffic, waiting=_queued(source, figures)))
    if len(way) > 1 and current.public.door == WEB:
        found.append(Arrow(USERS, WEB, "requests", figures.public if figures else None))
    return found


def _came_in(first: str, current: Map, figures: Figures | None) -> Traffic | None:
    """What users sent to the first tier of the way: all that is public, once that tier has the door."""
    if figures is None:
        return None
    if first == WEB or current.public.door != WEB:
        return figures.public
    return _answered(first, figures)


def _passed(source: str, target: str, current: Map, figures: Figures | None) -> Traffic | None:
    """What one tier of the way passes on to the next. While web servers have a door of their own, not all that they
    answer came through the tier before them."""
    if figures is not None and target == WEB:
        return _answered(source, figures) if current.public.door == WEB else figures.public
    return _answered(target, figures)


def _answered(role: str, figures: Figures | None) -> Traffic | None:
    return together(node.answers for node in figures.of_role(role)) if figures else None


def _queued(role: str, figures: Figures | None) -> int:
    return sum(node.queue for node in figures.of_role(role)) if figures else 0


def _behind(current: Map, present: set[str], figures: Figures | None, *, copied: bool) -> list[Arrow]:
    """What is asked behind the door; `copied`: the database servers that are there are only copied to as yet."""
    found = []
    for source, target, kind in ASKS:
        if not {source, target} <= present or (target == WORKER and _queued_between(source, present)):
            continue
        if copied and target == DATABASE:
            found += [Arrow(source, target, "replication")] if source == WEB else []
        else:
            found.append(_asked(current, source, target, figures, kind=kind))
    strange = sorted(present - set(ORDER))
    return found + [Arrow(WEB, role, "requests", _answered(role, figures)) for role in strange if WEB in present]


def _queued_between(source: str, present: set[str]) -> bool:
    """Whether a queue stands between web servers and workers, so that no arrow leads past it."""
    return source == WEB and "queue" in present


def _asked(current: Map, source: str, target: str, figures: Figures | None, *, kind: str) -> Arrow:
    asking = figures.of_role(source) if figures else ()
    if kind == "queries" and target == DATABASE:
        held = sum(node.held for node in asking)
        others = any(queries(node) for node in figures.nodes if node.role != source) if figures else False
        traffic = together(queries(node) for node in asking)
        if traffic is not None and figures is not None and not others:
            traffic = figures.queries  # its percentiles are true, not put together
        return Arrow(source, target, "queries", traffic, current.database.gate, held)
    if kind == "jobs":
        done = figures.of_role(WORKER) if figures else ()
        return Arrow(source, target, "jobs", together(node.jobs for node in done), waiting=_jobs_due(done))
    if kind == "replication":
        return Arrow(source, target, "replication")
    return Arrow(source, target, "queries" if kind == "queries" else "lookups", _answered(target, figures))


def _jobs_due(workers: Iterable[NodeFigures]) -> int:
    """Jobs that wait: every worker sees all of them, so it is the most that one of them says."""
    return max((node.queue for node in workers), default=0)
