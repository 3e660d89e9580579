"""Figures from two looks. Pure: a look that is worth nothing costs only what cannot be told without it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import msgspec

from tenfold.control.figures.counting import (
    Flow,
    cpu_between,
    grown,
    joined,
    memory_of,
    spread_between,
    traffic,
)
from tenfold.control.figures.look import BalancerNumbers, Look, MachineLook, NodeLook
from tenfold.control.figures.model import Figures, Machine, NodeFigures, Traffic
from tenfold.serve.told import CacheNumbers, DatabaseNumbers, HttpNumbers, JobNumbers, NodeNumbers

SERVER = "postgres"
"""The backend of the map that is a node of its own."""
RUNNERS = ("worker", "web")
"""Who runs jobs: web servers only where there are no workers."""


class _Flows(msgspec.Struct, frozen=True):
    """What one process did between two looks; None for what it does not do."""

    answers: Flow | None = None
    reads: Flow | None = None
    writes: Flow | None = None
    jobs: Flow | None = None
    lookups: float = 0.0
    hits: float = 0.0


@dataclass(frozen=True)
class _Window:
    """What lies between two looks; no seconds at all when nothing can be said of it."""

    before: Look
    seconds: float

    def old(self, node: NodeLook) -> NodeLook | None:
        """The same process at the earlier look."""
        found = self._nodes.get(node.node)
        return found if found is not None and _life(found) == _life(node) is not None else None

    def is_new(self, node: NodeLook) -> bool:
        """Whether its process began in the window."""
        life = _life(node)
        return life is not None and life[1] >= self.before.up_ticks

    @cached_property
    def _nodes(self) -> dict[str, NodeLook]:
        return {node.node: node for node in self.before.nodes}

    def traffic(self, flow: Flow | None) -> Traffic | None:
        """A flow by the second."""
        return traffic(flow, self.seconds) if flow is not None and self.seconds else None


def _life(node: NodeLook) -> tuple[int, int] | None:
    """Which process a node is, for ever."""
    return (node.processes[0].pid, node.processes[0].began) if node.processes else None


def figures_between(before: Look, after: Look) -> Figures:
    """What happened from one look to a later one.

    Rates are by the monotonic clock, so that a wall clock that is set in between changes nothing. Where the looks are
    in the wrong order, or the machine was started anew between them, the window is 0 s and only gauges are told. A node
    that is new counts from nothing; one that ran and was not seen before has no rates yet.
    """
    seconds = after.at_s - before.at_s if after.up_ticks >= before.up_ticks else 0.0
    window = _Window(before, max(0.0, seconds))
    flows = [_flows(window, node) for node in after.nodes]
    public = joined(_found(flow.answers for flow, node in zip(flows, after.nodes, strict=True) if node.role == "web"))
    reads, writes = (joined(_found(getattr(flow, kind) for flow in flows)) for kind in ("reads", "writes"))
    nodes = tuple(_node(window, node, flow) for node, flow in zip(after.nodes, flows, strict=True))
    queries = window.traffic(joined((reads, writes)))
    told = any(flow.reads is not None for flow in flows)
    answers = queries if told and after.backend == SERVER else None
    return Figures(
        at_us=after.at_us,
        window_s=window.seconds,
        machine=_machine(before.machine, after.machine, window.seconds),
        nodes=_with_due(_with_server(nodes, answers), after.due),
        public=window.traffic(public) or Traffic(),
        silent=after.silent,
        reads=window.traffic(reads) or Traffic(),
        writes=window.traffic(writes) or Traffic(),
        queries=queries or Traffic(),
    )


def _found(flows: Iterable[Flow | None]) -> list[Flow]:
    return [flow for flow in flows if flow is not None]


# What a process did


def _flows(window: _Window, node: NodeLook) -> _Flows:
    old = window.old(node)
    if node.balancer is not None:
        return _Flows(answers=_balancer(old.balancer if old else None, node.balancer, window.seconds))
    now, then = node.numbers, old.numbers if old else None
    if now is None or (then is None and not window.is_new(node)):
        return _Flows()
    then = then or NodeNumbers(node.node, node.role, node.pid)
    reads, writes = _database(then.database or DatabaseNumbers(), now.database)
    lookups, hits = _cache(then.cache or CacheNumbers(), now.cache)
    return _Flows(
        answers=_http(then.http or HttpNumbers(), now.http),
        reads=reads,
        writes=writes,
        jobs=_jobs(then.jobs or JobNumbers(), now.jobs),
        lookups=lookups,
        hits=hits,
    )


def _http(then: HttpNumbers, now: HttpNumbers | None) -> Flow | None:
    if now is None:
        return None
    answered, failed = grown(now.answered, then.answered), grown(now.failed, then.failed)
    return Flow(answered, failed, spread_between(then.took, now.took))


def _database(then: DatabaseNumbers, now: DatabaseNumbers | None) -> tuple[Flow | None, Flow | None]:
    """Reads and writes. What failed is told of both together, and counts as writes where there were any."""
    if now is None:
        return None, None
    failed, writes = grown(now.failed, then.failed), grown(now.writes, then.writes)
    of_writes = min(failed, writes)
    return (
        Flow(grown(now.reads, then.reads), failed - of_writes, spread_between(then.read_took, now.read_took)),
        Flow(writes, of_writes, spread_between(then.write_took, now.write_took)),
    )


def _cache(then: CacheNumbers, now: CacheNumbers | None) -> tuple[float, float]:
    """Look-ups, and how many of them were answered."""
    if now is None:
        return 0.0, 0.0
    hits = grown(now.hits, then.hits)
    return hits + grown(now.misses, then.misses), hits


def _jobs(then: JobNumbers, now: JobNumbers | None) -> Flow | None:
    if now is None:
        return None
    failed = grown(now.failed, then.failed)
    return Flow(grown(now.done, then.done) + failed, failed)


def _balancer(then: BalancerNumbers | None, now: BalancerNumbers, seconds: float) -> Flow | None:
    """Requests of a balancer, as many as there would have been in the window: its numbers are older than the looks."""
    if then is None:
        return None
    told_s = seconds - now.age_s + then.age_s
    if told_s <= 0:
        return None
    if then.life != now.life:
        then = BalancerNumbers()
    part = seconds / told_s
    return Flow(grown(now.requests, then.requests) * part, grown(now.failed, then.failed) * part)


# What is told of a node


def _node(window: _Window, node: NodeLook, did: _Flows) -> NodeFigures:
    made = NodeFigures(
        node=node.node,
        role=node.role,
        pid=node.pid,
        cpu=_cpu(window, node),
        cpu_max=node.cpu_max,
        memory=memory_of(node.processes),
        answers=window.traffic(did.answers),
        reads=window.traffic(did.reads),
        writes=window.traffic(did.writes),
        jobs=window.traffic(did.jobs),
        connections=node.sessions,
        cache_hits=did.hits / did.lookups if did.lookups and window.seconds else None,
        cache_lookups=did.lookups / window.seconds if window.seconds else 0.0,
    )
    return msgspec.structs.replace(made, **_gauges(node))


def _cpu(window: _Window, node: NodeLook) -> float | None:
    if not window.seconds:
        return None
    old = window.old(node)
    seconds = cpu_between(old.processes if old else (), node.processes, window.before.up_ticks)
    return None if seconds is None else seconds / window.seconds


def _gauges(node: NodeLook) -> dict[str, int | float]:
    """What is as it is now, whatever was before."""
    if node.balancer is not None:
        names = ("in_flight", "connections", "queue")
        return {name: getattr(node.balancer, name) for name in names}
    if node.numbers is None:
        return {}
    http, database, cache = node.numbers.http, node.numbers.database, node.numbers.cache
    found: dict[str, int | float] = {"loop_late_ms": node.numbers.loop_late_s * 1000}
    if http is not None:
        found |= {"in_flight": http.in_flight, "connections": http.connections}
    if database is not None:
        found |= {"held": database.held, "pool": database.pool, "pool_busy": database.pool_busy}
    if cache is not None:
        found["cache_bytes"] = cache.bytes
    return found


def _with_server(nodes: tuple[NodeFigures, ...], answers: Traffic | None) -> tuple[NodeFigures, ...]:
    """The database server answers what all processes ask of the database, once the data is there."""
    replace = msgspec.structs.replace
    return tuple(replace(node, answers=answers) if node.role == "database" else node for node in nodes)


def _with_due(nodes: tuple[NodeFigures, ...], due: int | None) -> tuple[NodeFigures, ...]:
    """Jobs that wait belong to all who run them; they are told of one, so that a sum over the tier is right."""
    for role in RUNNERS:
        names = [node.node for node in nodes if node.role == role]
        if names and due:
            first = min(names, key=lambda name: (len(name), name))
            return tuple(msgspec.structs.replace(n, queue=due) if n.node == first else n for n in nodes)
    return nodes


def _machine(then: MachineLook, now: MachineLook, seconds: float) -> Machine:
    busy, disk = 0.0, None
    if seconds:
        busy = min(float(now.cores), max(0.0, now.busy_s - then.busy_s) / seconds)
        if now.disk_busy_s is not None and then.disk_busy_s is not None:
            disk = min(1.0, max(0.0, now.disk_busy_s - then.disk_busy_s) / seconds)
    return Machine(now.cores, busy, now.memory, now.memory_free, now.disk, now.disk_free, disk)
