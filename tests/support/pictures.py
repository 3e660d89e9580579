"""Maps, facts and figures of made-up deployments, for tests of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tenfold.control.figures.model import Figures, Machine, NodeFigures, Traffic
from tenfold.topology.map import (
    CacheMap,
    DatabaseMap,
    LogMap,
    Map,
    NodeMap,
    PublicMap,
    ServerMap,
    WebMap,
)

Facts = dict[str, Any]
AT_US = 1_700_000_000_000_000
SERVER = ServerMap("127.0.0.1", 5432, "shop", "shop", "secrets/web", 20)
PATH = "/srv/shop/.tenfold/data/shop.db"


def a_map(*nodes: NodeMap | str, door: str = "web", **database: Any) -> Map:
    """A map with these nodes; a name alone is a node of the role before its number."""
    return Map(
        epoch=3,
        service="shop",
        app="shop:app",
        step=1,
        root="/srv/shop",
        state="/srv/shop/.tenfold",
        public=PublicMap("127.0.0.1", 8000, 1 << 20, door=door),  # type: ignore[arg-type]
        web=WebMap(1, True, "loopback", 10.0, 60.0),
        database=DatabaseMap(**{"backend": "sqlite", "path": PATH, "hold_s": 25.0, "queue": 100, **database}),
        cache=CacheMap(1000, 1 << 20),
        log=LogMap(1 << 20, 3),
        settings={},
        nodes=tuple(NodeMap(node, node.rpartition("-")[0]) if isinstance(node, str) else node for node in nodes),
    )


def on_server(*nodes: NodeMap | str, door: str = "web", **database: Any) -> Map:
    """The same on PostgreSQL."""
    return a_map(*nodes, door=door, **{"backend": "postgres", "server": SERVER, **database})


def a_node(name: str, **more: Any) -> Facts:
    """A node that runs and is ready, as keeper and node tell it."""
    return {"node": name, "pid": 7, "state": "running", "ready": True, "restarts": 0, "epoch": 3, **more}


def an_engine(name: str = "db-1", **more: Any) -> Facts:
    """A database server that runs, as the keeper tells it."""
    told = {"node": name, "pid": 9, "state": "running", "restarts": 0, "crash_loop": False, "exit_code": None}
    return {**told, **more}


def facts_of(current: Map | None, *changed: Facts, **more: Any) -> Facts:
    """Facts in which everything of the map runs; `changed` are nodes that differ, or that the map does not have."""
    differ = {fact["node"]: fact for fact in changed}
    known = [differ.pop(node.name, a_node(node.name)) for node in current.nodes] if current else []
    lists: dict[str, list[Facts]] = {"nodes": [], "workers": [], "balancers": [], "engines": [], "others": []}
    names = {"web": "nodes", "worker": "workers", "balancer": "balancers", "db": "engines"}
    for fact in [*known, *differ.values()]:
        role = str(fact["node"]).rpartition("-")[0]
        found = {**fact, "role": role} if role not in names else fact
        lists[names.get(role, "others")].append(found)
    told = {
        "service": "shop",
        "state": "running",
        "root": "/srv/shop",
        "address": "http://127.0.0.1:8000",
        "step": 1,
        "epoch": 3,
        "version": "v4",
        "keeper": {"pid": 1},
        "controller": {"error": None},
        "jobs": None,
        "public": {"door": "web", "tls": None},
        "routes": [],
        "waiting": [],
        "database": {"backend": "sqlite", "where": PATH, "gate": "open", "way_back": False},
        "move": None,
    }
    return {**told, **lists, **more}


def without(facts: Facts, *names: str) -> Facts:
    """The facts when nobody knows these nodes."""
    return {
        key: [each for each in value if each["node"] not in names]
        if isinstance(value, list) and value and isinstance(value[0], dict) and "node" in value[0]
        else value
        for key, value in facts.items()
    }


def figures_of(current: Map, *more: NodeFigures, rate: float = 100.0, window_s: float = 1.0) -> Figures:
    """Figures in which each web server answers `rate` requests a second, and asks as much of the database."""
    nodes = [_figures(node, rate) for node in current.nodes]
    web = len(current.of_role("web"))
    queries = Traffic(web * rate, 0.0, 1.5, 9.0)
    nodes += more
    return Figures(
        AT_US,
        window_s,
        Machine(cores=2, cpu=0.9),
        tuple(nodes),
        public=Traffic(web * rate, 0.5, 2.0, 20.0),
        queries=queries,
    )


def _figures(node: NodeMap, rate: float) -> NodeFigures:
    found = NodeFigures(node.name, node.role, 7, cpu=0.45, memory=90 << 20, connections=4)
    if node.role == "web":
        return msgspec.structs.replace(
            found,
            answers=Traffic(rate, 0.5, 2.0, 20.0),
            reads=Traffic(rate * 0.8, 0.0, 1.0, 4.0),
            writes=Traffic(rate * 0.2, 0.0, 3.5, 9.0),
            jobs=Traffic(5.0, 0.0, 4.0, 30.0),
            cache_hits=0.92,
            cache_bytes=3 << 20,
        )
    if node.role == "worker":
        jobs, writes = Traffic(30.0, 0.0, 4.0, 30.0), Traffic(10.0, 0.0, 2.0, 12.0)
        return msgspec.structs.replace(found, jobs=jobs, writes=writes)
    return msgspec.structs.replace(found, answers=Traffic(rate, 0.0, 2.0, 15.0))


STAGES = ("preflight", "server", "copy", "hold", "open", "flip", "settle")


def a_move(stage: str = "copy", **more: Any) -> Facts:
    """An open move in that stage, as the controller tells it."""
    done = STAGES[: STAGES.index(stage)]
    told: Facts = {
        "id": "m-2",
        "move": "copy_to_postgres",
        "title": "Move the data from SQLite to PostgreSQL while the service goes on",
        "stages": list(STAGES),
        "says": [f"Does {name}." for name in STAGES],
        "holds": ["hold", "open", "flip"],
        "no_return": "open",
        "begun": [*done, stage],
        "done": list(done),
        "undone": [],
        "back": False,
        "reason": "",
        "facts": {"held_ms": 0.0},
        "held_since_us": 0,
        "stage": stage,
        "decided": "open" in done,
        "open": True,
        "progress": {"stage": stage, "doing": "", "done": 0, "total": 0, "unit": "", "rate": 0.0, "left_s": None},
        "problem": None,
    }
    return {**told, **more}


def names(roles: Sequence[str], count: int = 1) -> list[str]:
    """`count` names of each role."""
    return [f"{role}-{number + 1}" for role in roles for number in range(count)]
