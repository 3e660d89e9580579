"""The eleven steps as data: what each is called, what it promises and how it is recognised.

A step is a predicate on the map (`holds`); what must be wanted for it is in wants.py. Nobody asks "is this step 7":
code asks the map for what it needs, and only `climb`, `descend` and `status` speak of steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenfold.core.errors import UsageError

if TYPE_CHECKING:
    from tenfold.topology.map import Map

Holds = Callable[["Map"], bool]


@dataclass(frozen=True)
class Step:
    """One step of the climb."""

    number: int
    """1 to 11, the order in which `climb N` brings them."""
    slug: str
    """The name on the command line: `climb --only SLUG`."""
    title: str
    promise: str
    """What is different once the step holds, in one sentence."""
    engines: tuple[str, ...]
    """The programs it rests on, by the names people know."""
    exists: bool
    """Whether this version of Tenfold can take the step."""
    holds: Holds
    """Whether a map has it. It looks at what the step brings, not at its number."""

    def missing(self) -> UsageError:
        """The error for a step that this version cannot take."""
        return UsageError(
            f"Step {self.number} ({self.title}) does not exist yet in this version of Tenfold.",
            hint=f"The highest step of this version is {highest_existing()}.",
        )


def _runs(role: str) -> Holds:
    """Holds as soon as a node has the role that the step brings."""
    return lambda current: any(node.role == role for node in current.nodes)


def _one_server() -> Step:
    return Step(
        1,
        "one-server",
        "one server",
        "The service, its database, its cache and its jobs run in one process.",
        ("SQLite",),
        True,
        _runs("web"),
    )


def _later(number: int, title: str, promise: str, engines: tuple[str, ...], holds: Holds) -> Step:
    return Step(number, title.replace(",", "").replace(" ", "-"), title, promise, engines, False, holds)


def _separate_database() -> Step:
    return Step(
        2,
        "separate-database",
        "separate database",
        "The data is on a database server: it moved there while it was written to.",
        ("PostgreSQL",),
        True,
        lambda current: current.database.backend == "postgres",
    )


def _load_balancer() -> Step:
    return Step(
        3,
        "load-balancer",
        "load balancer",
        "Several web servers answer behind one public address, with private addresses inside; one may die unnoticed.",
        ("HAProxy",),
        True,
        lambda current: current.public.door == "balancer" and any(node.role == "balancer" for node in current.nodes),
    )


STEPS: tuple[Step, ...] = (
    _one_server(),
    _separate_database(),
    _load_balancer(),
    _later(
        4,
        "database replication",
        "Writes go to the primary and reads spread over replicas; promotion and replacement are automatic.",
        ("Patroni", "etcd"),
        _runs("replica"),
    ),
    _later(
        5,
        "cache tier",
        "Reads are served by the process, then by a shared cache, then by the database.",
        ("Redis",),
        _runs("cache"),
    ),
    _later(
        6,
        "content delivery",
        "Static and cacheable content comes from edges, with versioned URLs, purge and fallback to the origin.",
        ("Varnish",),
        _runs("edge"),
    ),
    _later(
        7,
        "stateless web tier",
        "Nothing that a request needs lives on a web server: uploads, sessions and counters are in shared stores.",
        ("Redis", "object store"),
        _runs("store"),
    ),
    _later(
        8,
        "data centres",
        "Users go to the nearest data centre, and one of them may die.",
        ("PowerDNS",),
        _runs("geodns"),
    ),
    _later(
        9,
        "message queue",
        "Web servers and workers are decoupled and scaled apart.",
        ("NATS JetStream",),
        _runs("queue"),
    ),
    _later(
        10,
        "logs, metrics, automation",
        "Logs and metrics are central, with alerts, autoscaling and advice.",
        ("Prometheus", "Alertmanager", "log store"),
        _runs("metrics"),
    ),
    _later(
        11,
        "sharding",
        "The data is spread by a key, resharded online, and hot keys are isolated.",
        ("PostgreSQL",),
        _runs("shard"),
    ),
)


def highest_existing() -> int:
    """The number of the highest step that this version can take."""
    return max(step.number for step in STEPS if step.exists)


def find_step(name: str | int) -> Step:
    """The step of a number (3 or "3"), slug or title; `UsageError` that lists them all for anything else."""
    wanted = str(name).strip().lower()
    for step in STEPS:
        if wanted in (str(step.number), step.slug, step.title):
            return step
    listed = ", ".join(f"{step.number} {step.slug}" for step in STEPS)
    raise UsageError(f'There is no step "{wanted}".', hint=f"The steps are: {listed}.")


def step_of(current: Map) -> int:
    """The step a map is on: the highest N for which every step up to N holds; 0 when not even the first does.

    A step taken alone (`climb --only`) above a gap does not raise the number.
    """
    number = 0
    for step in STEPS:
        if not step.holds(current):
            break
        number = step.number
    return number
