"""The jobs of a deployment as its command line sees them: a process that runs the service's code is asked, a worker
first.

Nothing here imports the service or opens its database.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tenfold.control.place import Place
from tenfold.core.errors import Unavailable
from tenfold.hosts import wire
from tenfold.topology.working import coded

LIMIT_S = 30.0
"""How long an answer may take: writes may wait while a move passes."""

ALIVE_S = 1.0
"""How long a process may take to say that it lives, while there is another one to ask."""

Facts = dict[str, Any]


def ask_jobs(place: Place, do: str, limit_s: float = LIMIT_S, **fields: object) -> Facts:
    """One operation on jobs (`tenfold.serve.jobs`); raises `Unavailable` when no process of the service runs."""
    current = place.read_map()
    nodes = (
        [] if current is None else sorted(coded(current), key=lambda node: (node.traffic == "off", node.role == "web"))
    )
    silent = False
    for node in nodes:
        path = place.run / f"{node.name}.sock"
        try:
            if node is not nodes[-1] and not _lives(path):  # it is paused, say; nothing was asked of it
                silent = True
                continue
            return wire.call(path, {"op": "jobs", "do": do, **fields}, limit_s)
        except wire.NotRunning:  # it is being started, say; another one knows the same
            continue
    if silent:
        raise wire.NoAnswer("No process of the service answers.", hint="`tenfold status` says what they do.")
    raise Unavailable("No process of the service runs.", hint="`tenfold up` starts it.", code="TF-NOT-RUNNING")


def _lives(path: Path) -> bool:
    """Whether a process answers at once; raises `NotRunning` when there is none."""
    try:
        wire.call(path, {"op": "status"}, ALIVE_S)
    except wire.NoAnswer:
        return False
    return True


def totals(queues: list[Facts]) -> Facts:
    """How many jobs of all queues wait (due or not), run, and are dead; `unknown`: of no task that there is."""
    names = {"waiting": ("ready", "scheduled"), "running": ("running",), "dead": ("dead",), "unknown": ("unknown",)}
    return {name: sum(int(queue[each]) for queue in queues for each in these) for name, these in names.items()}
