"""How a deployment stands, as `tenfold status` tells it: gathered from keeper, controller, nodes and the map.

Whoever does not answer is left out; nothing here waits for long or changes anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from tenfold.control.crew import SERVING, role_of
from tenfold.control.jobs import ask_jobs, totals
from tenfold.control.page import NODE as PAGE
from tenfold.control.place import Place
from tenfold.core.errors import TenfoldError
from tenfold.hosts import wire
from tenfold.hosts.client import KeeperClient, left_running
from tenfold.topology.map import Map, NodeMap
from tenfold.topology.targets import waiting
from tenfold.topology.wants import wants_of
from tenfold.topology.working import CODED

CONTROLLER = "controller"
_WEB = (
    "epoch", "ready", "reason", "draining", "requests", "in_flight", "connections", "doors", "public_connections",
    "private_connections", "websockets", "limits", "jobs", "works",
)  # fmt: skip
_WORKER = ("epoch", "ready", "reason", "draining", "jobs", "works")
_BALANCER = (
    "epoch", "ready", "reason", "draining", "haproxy_pid", "version", "reloads", "starts", "servers", "requests",
    "connections", "tls",
)  # fmt: skip
"""What is told of a node's own status, by role."""
_KEEPER = ("node", "pid", "state", "restarts", "crash_loop", "exit_code", "report")

Facts = dict[str, Any]


@dataclass(frozen=True)
class Heard:
    """What everybody said, gathered by whoever asked them. `said` holds the answers of nodes to `status`, by name; who
    is silent is not in it."""

    keeper: Facts | None = None
    """Its answer to `hello`; None when there is none."""
    children: Sequence[Facts] = ()
    """The keeper's `list`; what it left running when it is gone (`orphans`)."""
    said: Mapping[str, Facts] = field(default_factory=dict)
    controller: Facts | None = None
    """Its answer to `status`."""
    move: Facts | None = None
    """The open move, as the controller tells it."""
    jobs: Facts | None = None


LOOKS = 3
"""So often everybody is asked when the map has become another one meanwhile: by the map of before, what a move has just
begun or ended would look as if it had failed."""


def facts_of(place: Place, keeper: KeeperClient, *, jobs: bool = False) -> Facts:
    """How the deployment stands, as `tenfold status --json` prints it; see `facts_from`.

    With `jobs`, `jobs` says how many wait, run and are dead, which costs the database a query.
    """
    for _ in range(LOOKS):
        current = place.read_map()
        facts = _facts_by(place, keeper, current, jobs)
        if place.read_map() == current:
            break
    return facts


def _facts_by(place: Place, keeper: KeeperClient, current: Map | None, jobs: bool) -> Facts:
    runs = _keeper_facts(keeper)
    children = keeper.nodes() if runs else orphans(place)
    said = {node: answer for node in asked(children) if (answer := _status(place, node, 2.0)) is not None}
    controller = _status(place, CONTROLLER, 5.0)
    heard = Heard(runs, children, said, controller, _open_move(place, controller))
    if jobs and any(answer.get("ready") for node, answer in said.items() if role_of(node) in CODED):
        heard = replace(heard, jobs=_jobs(place))
    return facts_from(place, current, heard)


def facts_from(place: Place, current: Map | None, heard: Heard) -> Facts:
    """How the deployment stands, from the map and what everybody said. Pure.

    `state` is `running`, `starting`, `failed`, `degraded` (something does not run that should) or `stopped`. `nodes`
    are the web servers with their version, traffic and private address, `workers` what runs jobs beside them (without
    any the web servers do), `balancers` what stands before them, `others` the nodes of further tiers; `public` says
    which of them has the door, `waiting` what tenfold.toml asks for that has no effect on this step, `dashboard` where
    the page is.
    """
    nodes, workers, balancers = (
        [_node(current, fact, names, heard) for fact in _of_role(heard, role)]
        for role, names in (("web", _WEB), ("worker", _WORKER), ("balancer", _BALANCER))
    )
    controller = _only(("pid", "state", "doing", "error", "move"), heard.controller)
    children = heard.children if heard.keeper else ()
    return {
        "service": current.service if current else None,
        "state": _state(heard, controller, [*nodes, *workers, *balancers], current),
        "address": address_of(current) if current and nodes else None,
        "step": current.step if current else None,
        "epoch": current.epoch if current else None,
        "root": str(place.root),
        "version": wants_of(current).version if current else None,
        "keeper": _only(("pid", "host", "port", "stopping"), heard.keeper),
        "controller": controller,
        "nodes": nodes,
        "workers": workers,
        "balancers": balancers,
        "jobs": heard.jobs,
        "public": _public(current),
        "routes": [msgspec.to_builtins(route) for route in current.routes] if current else [],
        "waiting": list(waiting(current)) if current else [],
        "engines": _engines(children),
        "others": _others(current, children),
        "database": _database(current),
        "move": heard.move,
        "dashboard": _dashboard(heard),
    }


def asked(children: Iterable[Facts]) -> list[str]:
    """The children that are asked how they are."""
    return [str(fact["node"]) for fact in children if role_of(fact["node"]) in SERVING or fact["node"] == PAGE]


def orphans(place: Place) -> list[Facts]:
    """What a keeper that is gone left running, by its records."""
    return [
        {"node": record.launch.node, "pid": record.process.pid, "state": "orphaned"}
        for record in left_running(place.state)
        if record.process
    ]


def _keeper_facts(keeper: KeeperClient) -> Facts | None:
    with contextlib.suppress(wire.NotRunning):
        return keeper.ask("hello")
    return None


def _status(place: Place, node: str, limit_s: float) -> Facts | None:
    with contextlib.suppress(TenfoldError):
        return wire.call(place.run / f"{node}.sock", {"op": "status"}, limit_s)
    return None


def _only(names: Iterable[str], answer: Facts | None) -> Facts | None:
    return {name: answer[name] for name in names} if answer is not None else None


def _of_role(heard: Heard, role: str) -> list[Facts]:
    """The nodes of a tier by the keeper, or by their records when it is gone."""
    these = [fact for fact in heard.children if role_of(fact["node"]) == role]
    return [{name: fact[name] for name in _KEEPER if name in fact} for fact in these]


def _node(current: Map | None, fact: Facts, names: tuple[str, ...], heard: Heard) -> Facts:
    own = heard.said.get(str(fact["node"]), {})
    said = {name: own[name] for name in names if name in own}
    return {**fact, **_mapped(current.node(fact["node"]) if current else None), "ready": False, **said}


def _mapped(node: NodeMap | None) -> Facts:
    """What the map says of a node; one that is not in it (it is just leaving, say) has no clients."""
    if node is None:
        return {"traffic": "off"}
    if node.role not in CODED:
        return {}
    return {"version": node.version, "traffic": node.traffic, "address": node.address}


def _dashboard(heard: Heard) -> Facts | None:
    """Where the page is and what it may do; None where there is none. Without an `address` it does not answer (yet)."""
    fact = next((each for each in heard.children if each["node"] == PAGE), None)
    if fact is None:
        return None
    own = heard.said.get(PAGE, {})
    told: Facts = {name: fact[name] for name in _KEEPER if name in fact}
    return told | {name: own[name] for name in ("address", "mode", "token") if name in own}


def _open_move(place: Place, controller: Facts | None) -> Facts | None:
    """The move that is open, with its progress."""
    if controller is None or controller["move"] is None:
        return None
    with contextlib.suppress(TenfoldError):
        move = wire.call(place.run / f"{CONTROLLER}.sock", {"op": "move"}, 5.0)["move"]
        return dict(move) if move else None
    return None


def _jobs(place: Place) -> Facts | None:
    """How many jobs wait, run and are dead; None when nobody can say so at once."""
    with contextlib.suppress(TenfoldError):
        return totals(ask_jobs(place, "counts", 2.0)["queues"])
    return None


def _public(current: Map | None) -> Facts | None:
    """Which tier accepts the clients' connections, and the encrypted address when there is one."""
    if current is None:
        return None
    door = current.public.door
    return {"door": door, "tls": tls_address_of(current)}


def _engines(children: Sequence[Facts]) -> list[Facts]:
    """The servers of programs that are not ours, such as the database's."""
    names = ("node", "pid", "state", "restarts", "crash_loop", "exit_code")
    return [{name: fact[name] for name in names} for fact in children if role_of(fact["node"]) == "database"]


def _others(current: Map | None, children: Sequence[Facts]) -> list[Facts]:
    """The nodes of the map that are none of those above, with their role: of a tier that only the map knows yet."""
    told = ("web", "worker", "balancer", "database")
    nodes = {node.name: node.role for node in current.nodes if node.role not in told} if current else {}
    return [
        {**{name: fact[name] for name in _KEEPER}, "role": nodes[fact["node"]]}
        for fact in children
        if fact["node"] in nodes
    ]


def _database(current: Map | None) -> Facts | None:
    """Where the data is; `way_back` says whether it can still go back where it came from."""
    if current is None:
        return None
    database, server = current.database, current.database.server
    on_server = database.backend == "postgres" and server is not None
    where = f"{server.host}:{server.port}/{server.database}" if on_server and server else database.path
    return {"backend": database.backend, "where": where, "gate": database.gate, "way_back": database.way_back}


def _state(heard: Heard, controller: Facts | None, nodes: list[Facts], current: Map | None) -> str:
    if heard.keeper is None:
        return "degraded" if nodes else "stopped"
    if controller is not None and controller["state"] in ("starting", "failed"):
        return str(controller["state"])
    ready = {node["node"] for node in nodes if node["ready"]}
    wanted = {node.name for node in current.nodes if node.traffic == "on"} if current else set()
    if heard.move is not None:
        wanted -= _moved(wanted, heard.children)
    return "running" if ready and ready >= wanted and controller is not None else "degraded"


def _moved(wanted: set[str], children: Sequence[Facts]) -> set[str]:
    """The nodes that the open move is just starting (in the map, and not yet ready in their first life) or stopping.

    One that has ended by itself is none of them: a move may not hide what is broken.
    """
    known = {str(fact["node"]): fact for fact in children}
    return {name for name in wanted if name not in known or _begins(known[name]) or known[name]["state"] == "stopping"}


def _begins(fact: Facts) -> bool:
    return bool(fact["state"] == "starting" and not fact["restarts"])


def dialable(host: str) -> str:
    """Where a client on this machine reaches a listening address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - recognised, not bound


def _shown(host: str) -> str:
    reached = dialable(host)
    return f"[{reached}]" if ":" in reached else reached


def address_of(current: Map) -> str:
    """The public address as a browser takes it."""
    return f"http://{_shown(current.public.host)}:{current.public.port}"


def tls_address_of(current: Map) -> str | None:
    """The encrypted public address; None where there is none: before the step with a load balancer, too."""
    tls = current.public.tls
    return f"https://{_shown(current.public.host)}:{tls.port}" if tls and current.public.door == "balancer" else None
