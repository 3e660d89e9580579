"""The eleven steps as data: a step is a predicate on the map and a delta on the spec.

`climb N` brings every step up to N that exists; which step a deployment stands on is read from its map, never stored
beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tenfold.topology.map import Map
from tenfold.topology.spec import Spec


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the climb. `holds(map)`: the deployment has it; `delta(spec)`: the spec with it."""

    number: int
    slug: str
    title: str
    change: str
    engines: tuple[str, ...]
    exists: bool
    holds: Callable[[Map], bool]
    delta: Callable[[Spec], Spec]


def _always(_: Map) -> bool:
    return True


def _not_yet(_: Map) -> bool:
    return False


def _same(spec: Spec) -> Spec:
    return spec


def _later(number: int, slug: str, title: str, change: str, *engines: str) -> Step:
    return Step(number, slug, title, change, engines, exists=False, holds=_not_yet, delta=_same)


STEPS: tuple[Step, ...] = (
    Step(
        1,
        "one-server",
        "One server",
        "service, database, cache and jobs in one process",
        ("SQLite",),
        exists=True,
        holds=_always,
        delta=_same,
    ),
    _later(
        2,
        "separate-database",
        "Separate database",
        "the data moves to a database server while it is written to",
        "PostgreSQL",
    ),
    _later(3, "load-balancer", "Load balancer", "several web servers behind one public address", "HAProxy"),
    _later(
        4,
        "database-replication",
        "Database replication",
        "writes go to the primary, reads spread over replicas, promotion is automatic",
        "Patroni",
        "etcd",
    ),
    _later(5, "cache-tier", "Cache tier", "a shared cache between the processes and the database", "Redis"),
    _later(6, "content-delivery", "Content delivery", "static and cacheable content at edges", "Varnish"),
    _later(7, "stateless-web-tier", "Stateless web tier", "nothing a request needs lives on a web server", "Redis"),
    _later(8, "data-centres", "Data centres", "users go to the nearest one; one may die", "PowerDNS"),
    _later(9, "message-queue", "Message queue", "web servers and workers decoupled, scaled apart", "NATS JetStream"),
    _later(
        10,
        "logs-metrics-automation",
        "Logs, metrics, automation",
        "central logs, metrics, alerts, autoscaling, advice",
        "Prometheus",
        "Alertmanager",
    ),
    _later(11, "sharding", "Sharding", "the data spread by a key, online resharding", "PostgreSQL"),
)


def current_step(running: Map) -> Step:
    """The highest step that the map has, with every existing step below it."""
    reached = STEPS[0]
    for step in STEPS:
        if not step.exists:
            continue
        if not step.holds(running):
            break
        reached = step
    return reached
