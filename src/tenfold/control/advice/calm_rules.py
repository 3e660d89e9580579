"""Rules for a deployment of which nothing is full: it stays, and what else is wrong is said. Pure."""

from __future__ import annotations

from tenfold.control.advice.data_rules import SLOW_READ_MS, SLOW_WRITE_MS
from tenfold.control.advice.finding import Finding, Rule, coming, percent, words
from tenfold.control.advice.levels import FULL
from tenfold.control.advice.model import Pressure, Words
from tenfold.control.advice.pressures import ERRORS_MOST, LATE_MS, LEAST_RATE, first_of, pressures_of
from tenfold.control.advice.scene import Scene
from tenfold.control.advice.tiers import SLOW_MS
from tenfold.topology.steps import find_step

SOON = 1.3
"""With less room than this it is time to prepare (GitLab starts with 1.25 to 1.5 times of what is needed)."""
FAR = 10.0
"""Beyond ten times of the load nobody can tell by figures of a calm service."""
REDUNDANCY_RATE = 60.0
"""Below so many requests a second GitLab recommends a backup, and no high availability."""


def failing(scene: Scene) -> Finding | None:
    """Requests fail, and nothing is full: that is no question of size."""
    if scene.rate < LEAST_RATE or scene.errors < ERRORS_MOST:
        return None
    said = words("errors.first", part=scene.errors * 100)
    return Finding("stay", said, (words("errors.why"),), tier="web", resource="errors")


def full_pool(scene: Scene) -> Finding | None:
    """All connections of a process are usually busy: who comes next waits, while everything else has room."""
    server = scene.current.database.server
    if server is None:
        return None
    for role in ("web", "worker"):
        pool = scene.usual_of(role, lambda node: node.pool)
        busy = scene.usual_of(role, lambda node: node.pool_busy)
        if pool and busy >= FULL * pool:
            return Finding("stay", _pool_words(scene, busy, pool, server.pool), tier=role, resource="connections")
    return None


def _pool_words(scene: Scene, busy: float, pool: float, together: int) -> Words:
    """Slow transactions fill any pool: they come first."""
    took = scene.took_ms(lambda window: window.writes)
    if took >= SLOW_WRITE_MS:
        return words("pool.slow", busy=round(busy), pool=round(pool), took=took)
    return words("pool.full", busy=round(busy), pool=round(pool), all=together, more=2 * together)


def blocked_loop(scene: Scene) -> Finding | None:
    """The event loop is stopped by something that is not work: a call that waits."""
    late, uses = scene.usual_of("web", lambda node: node.loop_late_ms), scene.uses("web")
    if late < LATE_MS or not uses or uses[0].share >= FULL or scene.busy >= FULL * scene.cores:
        return None
    said = words("loop.blocked", late=round(late))
    return Finding("stay", said, (words("loop.why", part=percent(uses[0].share)),), tier="web", resource="loop")


def slow_answers(scene: Scene) -> Finding | None:
    """Answers take long, and nothing is full."""
    took = scene.took_ms(lambda window: window.public, "p99_ms")
    if took < SLOW_MS or scene.rate < LEAST_RATE:
        return None
    reads = scene.took_ms(lambda window: window.reads)
    reason = words("slow.reads", took=reads) if reads >= SLOW_READ_MS else words("slow.why")
    return Finding("stay", words("slow.first", took=took), (reason,), tier="web")


def hardly_used(scene: Scene) -> Finding | None:
    """Next to nobody is there."""
    return Finding("stay", words("stay.idle")) if max(scene.rate, scene.jobs) < LEAST_RATE else None


def room(scene: Scene) -> Finding:
    """Everything has room; what fills up first is named, and how much more load fits."""
    first = first_of(pressures_of(scene))
    if scene.rate < LEAST_RATE:
        said = words("stay.jobs", jobs=scene.jobs)
    elif first is None or first.room is None or first.room >= FAR:
        said = words("stay.far", rate=scene.rate, times=round(FAR))
    else:
        key = "stay.soon" if first.room < SOON else "stay.room"
        said = words(key, rate=scene.rate, times=round(first.room, 1))
    because = (_first(first), *_next(scene, first)) if first else ()
    tier, resource = (first.tier, first.resource) if first else ("", "")
    return Finding("stay", said, (*because, *_redundancy(scene)), tier=tier, resource=resource)


def _first(first: Pressure) -> Words:
    """What fills up first: a sentence for what is known, and one for tiers that come later."""
    known = {
        ("web", "cpu"), ("worker", "cpu"), ("database", "cpu"), ("balancer", "cpu"), ("machine", "cpu"),
        ("web", "connections"), ("worker", "connections"),
    }  # fmt: skip
    key = f"first.{first.tier}.{first.resource}" if (first.tier, first.resource) in known else "first.other"
    values = {"tier": first.tier} if key == "first.other" else {}
    return words(key, part=percent(first.share), **values)


def _next(scene: Scene, first: Pressure) -> tuple[Words, ...]:
    """What will help once it is full."""
    if first.tier == "web":
        step = find_step("load-balancer")
        return (words("next.scale"),) if step.holds(scene.current) else (words("next.balancer", step=step.number),)
    return coming(scene, "database-replication", "cache-tier") if first.tier == "database" else ()


def _redundancy(scene: Scene) -> tuple[Words, ...]:
    """A small service is better off with a backup than with more servers."""
    small = scene.rate < REDUNDANCY_RATE and not find_step("load-balancer").holds(scene.current)
    return (words("stay.backup", rate=round(REDUNDANCY_RATE)),) if small else ()


CALM_RULES = (
    Rule(
        "errors",
        "nothing is full, and 1 % of the requests of the last minute failed",
        "stay; look into the failed requests first",
        "a fault is not cured by size",
        failing,
    ),
    Rule(
        "connections",
        "a process has usually 85 % of its share of `database.pool` busy",
        "stay; a larger `database.pool`, or shorter transactions when half of them take 50 ms",
        "GitLab's database load balancing: pools grow with processes",
        full_pool,
    ),
    Rule(
        "blocked-loop",
        "the event loop is usually 100 ms late, and no core is full",
        "stay; find the call that blocks it",
        "one such call stops every request of its process",
        blocked_loop,
    ),
    Rule(
        "slow",
        "one answer in a hundred takes a second, and nothing is full",
        "stay; look where slow requests spend their time",
        "Nielsen's limit of an uninterrupted thought",
        slow_answers,
    ),
    Rule(
        "hardly-used",
        "less than one request and one job a second",
        "stay",
        "figures of an idle service say nothing about its size",
        hardly_used,
    ),
    Rule(
        "room",
        "nothing else applies",
        "stay; what fills up first, and how much more load fits",
        "GitLab's sizing; no high availability below 60 requests/s",
        room,
    ),
)
"""What is said when nothing is full; the last one always applies."""
