"""The plots of each tier: figures as one row of numbers a tier, and several rows as one. Pure.

Each tier has the four that matter (rate, errors, duration, saturation: T. Wilkie's RED method and B. Gregg's USE method
together), under the same names as in `NodeFigures`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tenfold.control.figures.model import Figures, NodeFigures, Traffic

Row = dict[str, float | None]
MACHINE, DATABASE = "machine", "database"
_SUMS = ("memory", "in_flight", "connections", "queue", "held", "pool", "pool_busy", "cache_bytes", "cache_lookups")
_DATABASE_SUMS = ("held", "pool", "pool_busy")
_HIGHEST = frozenset({"p99_ms", "read_p99_ms", "write_p99_ms", "loop_late_ms", "queue", "held", "in_flight"})
"""Of several rows the highest counts: the mean of a queue hides what the users felt."""


def rows_of(figures: Figures) -> dict[str, Row]:
    """One row for each tier that has nodes, one for the database (also where it is a file), and one for the machine."""
    roles: dict[str, list[NodeFigures]] = {}
    for node in figures.nodes:
        roles.setdefault(node.role, []).append(node)
    rows = {role: _tier(nodes) for role, nodes in roles.items()}
    if "web" in rows:
        rows["web"] |= _traffic(figures.public)
    rows[DATABASE] = rows.get(DATABASE, {}) | _database(figures)
    rows[MACHINE] = _machine(figures)
    return rows


def cores_of(figures: Figures, tier: str, most: int) -> Row:
    """How many cores each node of a tier used, of `most` nodes at most."""
    return {node.node: node.cpu for node in figures.of_role(tier)[:most] if node.cpu is not None}


def _tier(nodes: Sequence[NodeFigures]) -> Row:
    row: Row = {name: float(sum(getattr(node, name) for node in nodes)) for name in _SUMS}
    cores = [node.cpu for node in nodes if node.cpu is not None]
    row["cpu"] = sum(cores) if cores else None
    row["cpu_max"] = sum(node.cpu_max for node in nodes)
    row["loop_late_ms"] = max(node.loop_late_ms for node in nodes)
    lookups = sum(node.cache_lookups for node in nodes)
    hits = sum(node.cache_lookups * (node.cache_hits or 0.0) for node in nodes)
    row["cache_hits"] = hits / lookups if lookups else None
    return row | _sum([node.answers or node.jobs for node in nodes])


def _sum(flows: Iterable[Traffic | None]) -> Row:
    """Rates of several nodes together; percentiles only where they are those of one."""
    found = [flow for flow in flows if flow is not None]
    if len(found) == 1:
        return _traffic(found[0])
    if not found:
        return {}
    return {"rate": sum(flow.rate for flow in found), "errors": sum(flow.errors for flow in found)}


def _traffic(flow: Traffic) -> Row:
    return {"rate": flow.rate, "errors": flow.errors, "p50_ms": flow.p50_ms, "p99_ms": flow.p99_ms}


def _database(figures: Figures) -> Row:
    """The database as those see it who ask it."""
    row: Row = {name: float(sum(getattr(node, name) for node in figures.nodes)) for name in _DATABASE_SUMS}
    for prefix, flow in (("read_", figures.reads), ("write_", figures.writes)):
        row |= {f"{prefix}{name}": value for name, value in _traffic(flow).items() if name != "errors"}
    return row | _traffic(figures.queries)


def _machine(figures: Figures) -> Row:
    machine = figures.machine
    return {
        "cpu": machine.cpu,
        "cpu_max": float(machine.cores),
        "memory": float(machine.memory - machine.memory_free),
        "memory_max": float(machine.memory),
        "disk": float(machine.disk - machine.disk_free),
        "disk_max": float(machine.disk),
        "disk_busy": machine.disk_busy,
    }


def merged(rows: Sequence[tuple[float, Row]]) -> Row:
    """Several rows of one tier as one; each comes with its weight (the seconds that it is about).

    Means by weight; the highest of what is about the worst (99th percentiles, queues). What no row knows is left out.
    """
    names = dict.fromkeys(name for _weight, row in rows for name in row)
    return {name: _merged(name, [(weight, row[name]) for weight, row in rows if name in row]) for name in names}


def _merged(name: str, values: Sequence[tuple[float, float | None]]) -> float | None:
    known = [(weight, value) for weight, value in values if value is not None]
    if not known:
        return None
    if name in _HIGHEST:
        return max(value for _weight, value in known)
    weight = sum(weight for weight, _value in known)
    return sum(weight * value for weight, value in known) / weight if weight else known[-1][1]
