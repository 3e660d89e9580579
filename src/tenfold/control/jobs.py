"""The jobs of a deployment as its command line sees them: a process that runs the service's code is asked, a worker
first.

Nothing here imports the service or opens its database.
"""

from __future__ import annotations

from typing import Any

from tenfold.control.place import Place
from tenfold.core.errors import Unavailable
from tenfold.hosts import wire
from tenfold.topology.working import coded

LIMIT_S = 30.0
"""How long an answer may take: writes may wait while a move passes."""

Facts = dict[str, Any]


def ask_jobs(place: Place, do: str, limit_s: float = LIMIT_S, **fields: object) -> Facts:
    """One operation on jobs (`tenfold.serve.jobs`); raises `Unavailable` when no process of the service runs."""
    current = place.read_map()
    nodes = (
        [] if current is None else sorted(coded(current), key=lambda node: (node.traffic == "off", node.role == "web"))
    )
    for node in nodes:
        try:
            return wire.call(place.run / f"{node.name}.sock", {"op": "jobs", "do": do, **fields}, limit_s)
        except wire.NotRunning:  # it is being started, say; another one knows the same
            continue
    raise Unavailable("No process of the service runs.", hint="`tenfold up` starts it.", code="TF-NOT-RUNNING")


def totals(queues: list[Facts]) -> Facts:
    """How many jobs of all queues wait (due or not), run, and are dead; `unknown`: of no task that there is."""
    names = {"waiting": ("ready", "scheduled"), "running": ("running",), "dead": ("dead",), "unknown": ("unknown",)}
    return {name: sum(int(queue[each]) for queue in queues for each in these) for name, these in names.items()}
