"""The picture of a deployment: tiers and nodes from the map, their health from the facts, figures on the arrows. Pure.

Nothing here asks which step it is: what the map names is drawn, so a tier that a later step brings appears by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tenfold.control.crew import haproxy_of
from tenfold.control.figures.model import Figures, NodeFigures, Traffic
from tenfold.dashboard.picture.flows import arrows_of, queries
from tenfold.dashboard.picture.health import health_of, says_of, tier_health
from tenfold.dashboard.picture.model import Health, LoadNow, Node, Part, Picture, Program, Tier
from tenfold.dashboard.picture.roles import (
    BACKENDS,
    BESIDE,
    DATABASE,
    ENGINES,
    FAULTS,
    PROGRAM_FAULTS,
    USERS,
    WEB,
    WORKER,
    by_number,
    in_order,
)
from tenfold.dashboard.picture.under_way import move_now
from tenfold.topology.map import Map, NodeMap
from tenfold.topology.working import coded, works

Facts = dict[str, Any]

Measured = Mapping[str, NodeFigures]
"""The figures of the nodes by name."""

PARTS_UP_TO = 12
"""Nodes of a tier whose inner parts are drawn; of larger tiers they would be small print, and most of the bytes."""

_LISTS = {"nodes": WEB, "workers": WORKER, "balancers": "balancer", "engines": DATABASE}
"""Where facts tell of nodes, and of which role; those in any other list say their role themselves."""


def draw(
    current: Map | None,
    facts: Facts,
    figures: Figures | None = None,
    move: Facts | None = None,
    *,
    at_us: int,
    load: LoadNow | None = None,
) -> Picture:
    """The picture at `at_us` (microseconds since 1970).

    `current` is the map (None: nothing was ever up), `facts` what `standing.facts_of` tells, `figures` what was
    measured (None: nothing yet), `move` the newest move as the controller's `move` tells it (None: what the facts say),
    `load` what runs from the page. Never raises for facts that lack a key of a newer or older version.
    """
    measured = {node.node: node for node in figures.nodes} if figures else {}
    tiers = _tiers(current, facts, measured) if current is not None else ()
    return Picture(
        service=str(facts.get("service") or facts.get("root") or ""),
        state=facts["state"],
        at_us=at_us,
        step=int(facts.get("step") or 0),
        epoch=int(facts.get("epoch") or 0),
        version=str(facts.get("version") or ""),
        address=str(facts.get("address") or ""),
        tls_address=str((facts.get("public") or {}).get("tls") or ""),
        window_s=figures.window_s if figures else 0.0,
        tiers=tiers,
        arrows=arrows_of(current, tiers, figures) if current is not None else (),
        move=move_now(move or facts.get("move"), at_us),
        load=load,
        controller=facts.get("controller") is not None,
        keeper=facts.get("keeper") is not None,
        limits_off=any(node.get("limits") == "off" for node in facts.get("nodes", ())),
        way_back=bool(current and current.database.way_back),
        says=(*facts.get("waiting", ()), *troubles(facts)),
    )


def troubles(facts: Facts) -> list[str]:
    """What a person has to know about how it stands: who does not answer, why something does not run. In English."""
    if facts["state"] == "stopped":
        return ["Nothing runs. `tenfold up` starts it."]
    if facts.get("keeper") is None:
        return ["The keeper is gone; what runs goes on. `tenfold up` brings a new keeper that takes it over."]
    controller = facts.get("controller")
    if controller is None:
        return ["The controller does not answer; the keeper starts it again. No request notices."]
    errors = [controller["error"], *((told.get("report") or {}).get("error") for _, told in _told(facts))]
    return [f"{error['message']} {error['hint']}" for error in errors if error]


# Tiers


def _tiers(current: Map, facts: Facts, measured: Measured) -> tuple[Tier, ...]:
    rows: dict[str, list[Node]] = {}
    for node in _nodes(current, facts, measured):
        rows.setdefault(node.role, []).append(node)
    roles = [role for role in in_order(rows) if rows[role]]
    return (Tier(USERS), *(_tier(current, role, rows[role], set(roles)) for role in roles))


def _tier(current: Map, role: str, nodes: list[Node], roles: set[str]) -> Tier:
    engines = {node.engine for node in nodes if node.engine}
    backend = engines.pop() if len(engines) == 1 else ENGINES.get(role, "")
    if role == DATABASE and not backend:
        backend = BACKENDS[current.database.backend]
    beside = BESIDE.get(role, "")
    ordered = tuple(sorted(nodes, key=lambda node: by_number(node.name)))
    return Tier(role, ordered, tier_health(ordered), backend, beside if beside in roles else "")


def _nodes(current: Map, facts: Facts, measured: Measured) -> list[Node]:
    """Every node: those of the map, those that run and are not in it (any more), and the database's."""
    told = {str(fact["node"]): (role, fact) for role, fact in _told(facts)}
    files = _file_nodes(current)
    found = [_node(current, node, told.get(node.name, ("", None))[1], facts, measured) for node in current.nodes]
    known = {node.name for node in found}
    for name, (role, fact) in told.items():
        if name not in known and role != DATABASE:
            found.append(_strange(name, role, fact, measured))
    return [*_with_parts(current, found, measured, inside=not files), *files, *_servers(current, facts, measured)]


def _told(facts: Facts) -> list[tuple[str, Facts]]:
    """What the facts tell of nodes, with their roles; lists of nodes that are unknown here say the role themselves."""
    found = []
    for name, value in facts.items():
        if isinstance(value, list):
            nodes = [each for each in value if isinstance(each, dict) and "node" in each and "state" in each]
            found += [(_LISTS.get(name) or str(each.get("role") or ""), each) for each in nodes]
    return [(role, fact) for role, fact in found if role]


def _node(current: Map, node: NodeMap, fact: Facts | None, facts: Facts, measured: Measured) -> Node:
    health = health_of(fact)
    return Node(
        node.name,
        node.role,
        health,
        clients=node.traffic == "on",
        says=says_of(fact, health),
        version=node.version,
        faults=FAULTS if fact and fact.get("pid") else (),
        values=_values(measured.get(node.name), fact),
        program=_program(node.name, fact or {}),
        **_process(fact),
    )


def _program(name: str, fact: Facts) -> Program | None:
    """The HAProxy of a balancer, while it runs."""
    pid = int(fact.get("haproxy_pid") or 0)
    return Program(haproxy_of(name), pid, PROGRAM_FAULTS) if pid else None


def _strange(name: str, role: str, fact: Facts, measured: Measured) -> Node:
    """A node that runs and is not in the map: it is leaving."""
    health = health_of(fact, wanted=False)
    values = _values(measured.get(name), fact)
    return Node(name, role, health, clients=False, says=says_of(fact, health), values=values, **_process(fact))


def _process(fact: Facts | None) -> dict[str, Any]:
    fact = fact or {}
    return {"pid": int(fact.get("pid") or 0), "restarts": int(fact.get("restarts") or 0)}


_COUNTED = (
    "cpu", "cpu_max", "memory", "in_flight", "connections", "queue", "held", "pool", "pool_busy", "loop_late_ms",
    "cache_hits", "cache_bytes",
)  # fmt: skip


def _values(node: NodeFigures | None, fact: Facts | None) -> dict[str, float]:
    """A node's figures by their names, with `rate`, `errors`, `p50_ms` and `p99_ms` of what it answered (a worker: of
    its jobs); before there are any, the counts that the node tells itself."""
    if node is None:
        said = {name: (fact or {}).get(name) for name in ("in_flight", "connections")}
        return {name: float(value) for name, value in said.items() if isinstance(value, int)}
    found = {name: getattr(node, name) for name in _COUNTED}
    traffic = node.answers or node.jobs
    if traffic is not None:
        found.update(rate=traffic.rate, errors=traffic.errors, p50_ms=traffic.p50_ms, p99_ms=traffic.p99_ms)
    return {name: round(float(value), 3) for name, value in found.items() if value is not None}


# What lives inside a node


def _with_parts(current: Map, nodes: list[Node], measured: Measured, *, inside: bool) -> list[Node]:
    """The nodes, with what lives inside those that run the service's code; `inside`: the database's file too."""
    count = sum(node.role in (WEB, WORKER) for node in nodes)
    if count > PARTS_UP_TO:
        return nodes
    return [
        _with_part(current, node, measured, inside=inside) if node.role in (WEB, WORKER) else node for node in nodes
    ]


def _with_part(current: Map, node: Node, measured: Measured, *, inside: bool) -> Node:
    own = measured.get(node.name)
    parts = [Part("app", traffic=own.answers if own else None)] if node.role == WEB else []
    parts.append(Part("cache", values=_cache_values(own)))
    if inside and "sqlite" in (current.database.backend, current.database.standby):
        parts.append(_file_part(current, own))
    if works(current, node.name):
        parts.append(Part("jobs", traffic=own.jobs if own else None, values=_due(own)))
    return msgspec.structs.replace(node, parts=tuple(parts))


def _cache_values(own: NodeFigures | None) -> dict[str, float]:
    if own is None:
        return {}
    hits = {} if own.cache_hits is None else {"cache_hits": round(own.cache_hits, 3)}
    return {**hits, "cache_bytes": float(own.cache_bytes)}


def _due(own: NodeFigures | None) -> dict[str, float]:
    return {"queue": float(own.queue)} if own else {}


def _file_part(current: Map, own: NodeFigures | None) -> Part:
    """The database's file inside the one process that uses it; `starting` while a move brings it up to date."""
    active = current.database.backend == "sqlite"
    traffic: Traffic | None = queries(own) if own and active else None
    values = {"held": float(own.held)} if own and active else {}
    return Part("database", "well" if active else "starting", traffic, current.database.gate if active else "", values)


# Databases


def _file_nodes(current: Map) -> list[Node]:
    """The database's file as a node of its own: where several processes share it."""
    database = current.database
    if "sqlite" not in (database.backend, database.standby) or len(coded(current)) < 2:
        return []
    name = database.path.rpartition("/")[2]
    return [Node(name, DATABASE, "well", clients=database.backend == "sqlite", engine=BACKENDS["sqlite"])]


def _servers(current: Map, facts: Facts, measured: Measured) -> list[Node]:
    """The database servers: those of ours that run, the one that should, or one that the user runs."""
    database = current.database
    active = database.backend == "postgres"
    engines = [fact for role, fact in _told(facts) if role == DATABASE]
    found = [_server(fact, measured, clients=active) for fact in engines]
    if found or database.server is None or "postgres" not in (database.backend, database.standby):
        return found
    ours = database.server.supervised
    told = facts.get("keeper") is not None
    health: Health = "gone" if ours and told else _seen_from_outside(facts)
    return [Node("db-1" if ours else DATABASE, DATABASE, health, clients=active, engine=BACKENDS["postgres"])]


def _server(fact: Facts, measured: Measured, *, clients: bool) -> Node:
    health = health_of(fact)
    return Node(
        str(fact["node"]),
        DATABASE,
        health,
        clients=clients,
        says=says_of(fact, health),
        faults=FAULTS if fact.get("pid") else (),
        values=_values(measured.get(str(fact["node"])), fact),
        engine=BACKENDS["postgres"],
        **_process(fact),
    )


def _seen_from_outside(facts: Facts) -> Health:
    """How a server that nobody here runs is: well as long as one of its users is ready."""
    users = [*facts.get("nodes", ()), *facts.get("workers", ())]
    return "well" if any(node.get("ready") for node in users) else "ill"
