"""The moves that lead from the map that runs to what is wanted, and the map after each of them."""

from __future__ import annotations

from typing import Literal, assert_never

import msgspec

from tenfold.core.errors import UsageError
from tenfold.topology.diff import Effect, diff
from tenfold.topology.map import DatabaseMap, Map, NodeMap
from tenfold.topology.steps import find_step, step_of
from tenfold.topology.wants import BALANCERS, Wants, web_count, worker_count
from tenfold.topology.working import CODED, coded

MoveName = Literal[
    "copy_to_postgres", "return_to_sqlite", "drop_way_back", "put_balancers", "take_balancers", "change_nodes"
]


def moves_between(current: Map, wants: Wants, content: Map | None = None) -> tuple[MoveName, ...]:
    """The moves that lead from a running map to the wants, in order; empty when it meets them.

    `content` is the map that tenfold.toml wants (its nodes are ignored); `current` without it. Values that running
    processes take over are no move. Raises `UsageError` for a way that is no longer open.
    """
    was, becomes = current.database.backend, wants.database
    up: tuple[MoveName, ...] = ("copy_to_postgres",) if (was, becomes) == ("sqlite", "postgres") else ()
    down: tuple[MoveName, ...] = ("return_to_sqlite",) if (was, becomes) == ("postgres", "sqlite") else ()
    if down and not current.database.way_back:
        raise _no_way_back(current)
    nodes: tuple[MoveName, ...] = ("change_nodes",) if _nodes_differ(current, wants, content or current) else ()
    if wants.balancers:
        return (*up, *_put(current), *nodes, *down)
    return (*up, *nodes, *_take(current), *down)


def target_of(move: MoveName, current: Map, wants: Wants, content: Map | None = None) -> Map:
    """The map as it is to be after that one move. Its epoch means nothing.

    What only the move can know is missing: the addresses of new web servers, and where a new database server is.
    `content` as in `moves_between`; its settings come with change_nodes and with no other move.
    """
    made = _target_of(move, current, wants, content or current)
    return msgspec.structs.replace(made, step=step_of(made))


def wanted_map(current: Map, wants: Wants, content: Map | None = None) -> Map:
    """`current` as it is once all moves between are through; `current` itself when there are none."""
    for move in moves_between(current, wants, content):
        current = target_of(move, current, wants, content)
    return current


def needs_new_processes(current: Map, content: Map) -> bool:
    """Whether a setting of `content` differs that a process takes only when it starts."""
    plan = diff(current, _with_settings_of(content, current))
    return any(change.effect is Effect.NEW_PROCESSES for change in plan.changes)


def waiting(content: Map) -> tuple[str, ...]:
    """What tenfold.toml asks for that has no effect before there is a load balancer: one sentence each."""
    step = find_step("load-balancer")
    if step.holds(content):
        return ()
    waits = f"for step {step.number} ({step.title})"
    routes, processes, tls = len(content.routes), content.web.processes, content.public.tls
    found = []
    if processes > 1:
        found.append(f"{processes} web processes wait {waits}; until then there is 1.")
    if routes:
        found.append(f"{routes} route{'s wait' if routes > 1 else ' waits'} {waits}.")
    if tls is not None:
        found.append(f"TLS on port {tls.port} waits {waits}.")
    return tuple(found)


def _no_way_back(current: Map) -> UsageError:
    server = current.database.server
    dump = "pg_dump --data-only --column-inserts --schema=public"
    where = f"-h {server.host} -p {server.port} -U {server.user} {server.database}" if server else current.service
    secret = f'PGPASSWORD="$(cat .tenfold/{server.secret})" ' if server else ""
    return UsageError(
        "The way back to SQLite was closed by `tenfold finalize`: the SQLite file has not followed the writes since.",
        hint=f"The data can be taken out as a dump: {secret}{dump} {where}",
        code="TF-NO-WAY-BACK",
    )


def _put(current: Map) -> tuple[MoveName, ...]:
    there = {node.name for node in current.of_role("balancer")} >= {node.name for node in _balancers()}
    return () if there and current.public.door == "balancer" else ("put_balancers",)


def _take(current: Map) -> tuple[MoveName, ...]:
    return ("take_balancers",) if current.of_role("balancer") or current.public.door == "balancer" else ()


def _nodes_differ(current: Map, wants: Wants, content: Map) -> bool:
    """Whether other processes of the service's code are wanted than run."""
    if needs_new_processes(current, content):
        return True
    return set(_coded_after(current, wants, content, stay=True)) != set(coded(current))


def _target_of(move: MoveName, current: Map, wants: Wants, content: Map) -> Map:
    match move:
        case "copy_to_postgres":
            return _with_database(current, backend="postgres", standby="", gate="open", way_back=True)
        case "return_to_sqlite":
            return _with_database(current, backend="sqlite", standby="", gate="open", way_back=False)
        case "drop_way_back":
            return _with_database(current, way_back=False)
        case "put_balancers":
            others = tuple(node for node in current.nodes if node.role != "balancer")
            return _with_nodes(current, "balancer", (*others, *_balancers()))
        case "take_balancers":
            rest = (node for node in current.nodes if node.role != "balancer")
            return _with_nodes(current, "web", tuple(_without_address(node) for node in rest))
        case "change_nodes":
            after = _coded_after(current, wants, content, stay=not needs_new_processes(current, content))
            others = tuple(node for node in current.nodes if node.role not in CODED)
            return msgspec.structs.replace(_with_settings_of(content, current), nodes=(*after, *others))
        case _:
            assert_never(move)


def _with_database(current: Map, **changes: str | bool) -> Map:
    return msgspec.structs.replace(current, database=msgspec.structs.replace(current.database, **changes))


def _with_nodes(current: Map, door: Literal["web", "balancer"], nodes: tuple[NodeMap, ...]) -> Map:
    public = msgspec.structs.replace(current.public, door=door)
    return msgspec.structs.replace(current, public=public, nodes=nodes)


def _balancers() -> tuple[NodeMap, ...]:
    return tuple(NodeMap(f"balancer-{number}", "balancer") for number in range(1, BALANCERS + 1))


def _without_address(node: NodeMap) -> NodeMap:
    return msgspec.structs.replace(node, address="") if node.role == "web" else node


def _with_settings_of(content: Map, current: Map) -> Map:
    """The settings of tenfold.toml on what runs: nodes, door, and where the data is change only by a move."""
    public = msgspec.structs.replace(content.public, door=current.public.door)
    return msgspec.structs.replace(
        content,
        epoch=current.epoch,
        step=current.step,
        public=public,
        database=_database_of(content.database, current.database),
        nodes=current.nodes,
    )


def _database_of(content: DatabaseMap, current: DatabaseMap) -> DatabaseMap:
    server = current.server
    if server is not None and content.server is not None:
        server = msgspec.structs.replace(server, pool=content.server.pool)
    kept = {name: getattr(current, name) for name in ("backend", "standby", "gate", "way_back")}
    return msgspec.structs.replace(content, server=server, **kept)


def _coded_after(current: Map, wants: Wants, content: Map, *, stay: bool) -> tuple[NodeMap, ...]:
    """Web servers and workers after change_nodes; `stay`: those that run the wanted code need not be replaced."""
    counts = {"web": web_count(content, wants), "worker": worker_count(content, wants)}
    return tuple(node for role in CODED for node in _after(current, role, counts[role], wants.version, stay=stay))


def _after(current: Map, role: str, count: int, version: str, *, stay: bool) -> tuple[NodeMap, ...]:
    serving = [node for node in current.of_role(role) if node.traffic == "on" and node.version == version]
    kept = sorted(serving, key=lambda node: _order(node.name))[:count] if stay else []
    # Old and new run side by side for a while, so a new one cannot have the name of one that leaves.
    taken = {node.name for node in current.nodes}
    free = [f"{role}-{number}" for number in range(1, count + len(taken) + 1) if f"{role}-{number}" not in taken]
    new = (NodeMap(name, role, version=version) for name in free[: count - len(kept)])
    return tuple(sorted((*kept, *new), key=lambda node: _order(node.name)))


def _order(name: str) -> tuple[int, int, str]:
    """Names in the order in which people count: web-2 before web-10, and names without a number after those."""
    _, _, number = name.rpartition("-")
    return (0, int(number), name) if number.isascii() and number.isdigit() else (1, 0, name)


__all__ = ["MoveName", "moves_between", "needs_new_processes", "target_of", "waiting", "wanted_map", "web_count"]
