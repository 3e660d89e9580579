"""Keeps each node of a deployment on a small machine of its own while moves come and go.

A node is put into its group once it is ready: a start costs a second of a whole core, and would take ten on a small
part of one. The keeper, the controller, the mover and the dashboard stand beside the traffic and are left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from tenfold.control.crew import role_of
from tenfold.control.figures.processes import all_children, children_of, lists_children, tree_of
from tenfold.control.place import Place
from tenfold.core.errors import TenfoldError
from tenfold.hosts import wire
from tenfold.tour.caps import Caps

PARTS = {"web": 0.15, "worker": 0.15, "balancer": 0.3, "database": 0.6}
"""Of a core, for each node of a role. Web servers are small and alike, so that the load of one machine fills them; the
database server moves to a bigger one, as people do. Four web servers, all the others and the load fit on two cores."""
_EVERY_S = 0.25
_LIMIT_S = 2.0


def small_machines(children: Iterable[wire.Message]) -> list[tuple[str, int, float]]:
    """The nodes that get a machine of their own, with their pids and parts of a core: those that are ready. Pure."""
    ready = [child for child in children if child["state"] == "running" and child["pid"]]
    named = [(str(child["node"]), int(child["pid"])) for child in ready]
    return [(name, pid, PARTS[role_of(name)]) for name, pid in named if role_of(name) in PARTS]


class Capping:
    """Caps what the keeper of one place runs, as it comes."""

    def __init__(self, place: Place, caps: Caps) -> None:
        self._place = place
        self._caps = caps

    async def look(self) -> None:
        """Caps what is there and was not. A keeper that does not answer is asked again the next time."""
        with contextlib.suppress(TenfoldError, OSError):
            told = await wire.ask(self._place.run / "keeper.sock", {"op": "list"}, _LIMIT_S)
            below = children_of if lists_children() else all_children()
            for name, pid, part in small_machines(told["nodes"]):
                self._caps.cap(name, part, [one.pid for one in tree_of(pid, below)])

    async def run(self) -> None:
        """Looks until it is cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_S)
