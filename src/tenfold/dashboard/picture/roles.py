"""What the picture knows of roles: the order of the rows, who talks to whom, which faults can be made. Pure data.

A role that is not listed is drawn all the same: in a row between the web servers and the database, asked by the web
servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

USERS: Final = "users"
WEB: Final = "web"
WORKER: Final = "worker"
DATABASE: Final = "database"

Kind = Literal["requests", "queries", "lookups", "jobs", "replication"]

ORDER: Final = (
    USERS, "geodns", "edge", "balancer", WEB, WORKER, "queue", "cache", "store", DATABASE, "replica", "shard",
    "metrics",
)  # fmt: skip
"""The rows from the top downwards. What is not in it comes right before the database."""

DOORS: Final = ("geodns", "edge", "balancer", WEB)
"""What a request passes, as far as it is there, in this order."""

BESIDE: Final[Mapping[str, str]] = {WORKER: WEB}
"""Tiers that stand beside another one instead of having a row of their own."""

ENGINES: Final[Mapping[str, str]] = {
    "geodns": "PowerDNS",
    "edge": "Varnish",
    "balancer": "HAProxy",
    "queue": "NATS JetStream",
    "cache": "Redis",
    "replica": "PostgreSQL",
    "shard": "PostgreSQL",
    "metrics": "Prometheus",
}
"""The program of a tier, by the name that people know. The database's is told by the map."""

BACKENDS: Final[Mapping[str, str]] = {"sqlite": "SQLite", "postgres": "PostgreSQL"}

FAULTS: Final = ("kill", "pause", "restart")
"""What `tenfold break --how` can do to any process that the keeper runs."""

PROGRAM_FAULTS: Final = ("kill", "pause")
"""The same for a program that a node of ours leads; to restart it is that node's own business."""

ASKS: Final[tuple[tuple[str, str, Kind], ...]] = (
    (WEB, WORKER, "jobs"),
    (WEB, "queue", "jobs"),
    ("queue", WORKER, "jobs"),
    (WEB, "cache", "lookups"),
    (WEB, "store", "lookups"),
    (WEB, DATABASE, "queries"),
    (WORKER, DATABASE, "queries"),
    (WEB, "replica", "queries"),
    (WEB, "shard", "queries"),
    (DATABASE, "replica", "replication"),
)
"""Who asks whom behind the door, where both are there; a queue, if there is one, stands between web servers and
workers."""


def in_order(roles: Iterable[str]) -> list[str]:
    """The roles from the top downwards, each once; unknown ones by name, right before the database."""
    before = ORDER.index(DATABASE)
    return sorted(set(roles), key=lambda role: (ORDER.index(role), "") if role in ORDER else (before - 0.5, role))


def by_number(name: str) -> tuple[int, str]:
    """What names are sorted by: web-2 comes before web-10."""
    return len(name), name
