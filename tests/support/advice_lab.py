"""Maps of the steps that exist, and figures of deployments that do the same every second, for tests of the advice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tenfold.control.figures.model import Figures, Machine, NodeFigures, Traffic
from tenfold.topology.map import Map, NodeMap, ServerMap, map_of
from tenfold.topology.spec import parse_spec

SPEC = '[service]\nname = "shop"\napp = "shop.app:app"\n'
SERVER = ServerMap("127.0.0.1", 5432, "shop", "tenfold", "secrets/postgres", 16)
GIB = 1024**3
MACHINE = {"cores": 8, "cpu": 0.5, "memory": 16 * GIB, "memory_free": 8 * GIB, "disk": 100 * GIB, "disk_free": 50 * GIB}
NOW = 1_700_000_000


def a_map(*, server: bool = False, web: int = 1, workers: int = 0, balancers: int = 0, **database: Any) -> Map:
    """A map with so many nodes; `server`: the data is on PostgreSQL. More are fields of its database."""
    made = map_of(parse_spec(SPEC), root="/srv/shop", state="/srv/shop/.tenfold", previous=None)
    sizes = {"web": web, "worker": workers, "balancer": balancers}
    nodes = tuple(NodeMap(f"{role}-{n}", role) for role, count in sizes.items() for n in range(1, count + 1))
    data = msgspec.structs.replace(
        made.database,
        **{"backend": "postgres" if server else "sqlite", "server": SERVER if server else None} | database,
    )
    public = msgspec.structs.replace(made.public, door="balancer" if balancers else "web")
    return msgspec.structs.replace(made, nodes=nodes, database=data, public=public)


STEP_1 = a_map()
STEP_2 = a_map(server=True)
STEP_3 = a_map(server=True, web=2, balancers=2)


def every_second(
    current: Map,
    seconds: int = 30,
    *,
    cpu: Mapping[str, float] | None = None,
    of_nodes: Mapping[str, Any] | None = None,
    machine: Mapping[str, Any] | None = None,
    begins: int = NOW,
    **more: Any,
) -> list[Figures]:
    """Windows of a second each. `cpu`: cores by role or node (0.1 for others); `of_nodes`: more fields by role.

    Others are fields of the figures: `rate=100`, `reads=Traffic(...)`.
    """
    rate = more.pop("rate", 100.0)
    told = {"public": Traffic(rate, 0.0, 4.0, 20.0), **more}
    host = Machine(**{**MACHINE, **(machine or {})})
    names = [(node.name, node.role) for node in current.nodes]
    names += [("database", "database")] if current.database.backend == "postgres" else []
    nodes = tuple(_node(name, role, cpu or {}, of_nodes or {}) for name, role in names)
    return [
        Figures(at_us=(begins + second) * 1_000_000, window_s=1.0, machine=host, nodes=nodes, **told)
        for second in range(1, seconds + 1)
    ]


def _node(name: str, role: str, cpu: Mapping[str, float], of_nodes: Mapping[str, Any]) -> NodeFigures:
    most = 8.0 if role in ("database", "balancer") else 1.0
    fields = {"cpu": cpu.get(name, cpu.get(role, 0.1)), "cpu_max": most, **of_nodes.get(role, {})}
    return NodeFigures(name, role, 100, **fields)


def traffic(rate: float, p50_ms: float | None = None, p99_ms: float | None = None, errors: float = 0.0) -> Traffic:
    """Traffic that passes without errors."""
    return Traffic(rate, errors, p50_ms, p99_ms)


def joined(*parts: Sequence[Figures]) -> list[Figures]:
    """Parts of a history, in a row."""
    return [window for part in parts for window in part]
