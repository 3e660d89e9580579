"""Looks at a running deployment: what its processes say in numbers, what the kernel says of them, and the machine.

A look changes nothing and waits for nobody longer than `LIMIT_S`; who does not answer is `silent`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from msgspec import structs

from tenfold.control.crew import role_of
from tenfold.control.figures import answers
from tenfold.control.figures.answers import Child
from tenfold.control.figures.caps import Caps, mounts_in
from tenfold.control.figures.lines import Line
from tenfold.control.figures.look import Look, NodeLook
from tenfold.control.figures.machine import machine_look
from tenfold.control.figures.processes import (
    Children,
    all_children,
    children_of,
    lists_children,
    read,
    tree_of,
    up_ticks,
)
from tenfold.control.figures.sessions import Sessions
from tenfold.control.place import Place
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.hosts.client import left_running

LIMIT_S = 1.0
"""How long an answer may take."""
JOBS_EVERY_S = 5.0
"""How often somebody is asked how many jobs are due: it costs the database a query."""
KEEPER = "keeper"
_CODED = ("web", "worker")
_SPEAKING = (*_CODED, "balancer")
_THREADED = ("balancer", "database")
"""Roles that use as many cores as there are; all others have one event loop, and so one core."""


class Sampler:
    """Looks at the deployment of one place; one look at a time. `close` it in the end, or use it as a context."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self._place = place
        self._clock = clock
        self._lines: dict[str, Line] = {}
        self._children: tuple[Child, ...] | None = None
        self._haproxies: dict[str, int] = {}
        self._sessions = Sessions()
        self._due: int | None = None
        self._due_at: float | None = None
        self._map_stamp = (0, 0)
        self._data = ""
        self._mounts = mounts_in(read("/proc/self/mountinfo").decode(errors="replace"))
        self._lists_children = lists_children()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the conversations with the nodes. A later look begins them anew."""
        for line in self._lines.values():
            line.close()
        self._lines.clear()

    async def look(self) -> Look:
        """One look. Nothing of the deployment's makes it fail: what cannot be seen is missing in it."""
        listed = answers.children_in(await self._ask(KEEPER, answers.LIST))
        children = self._running(listed)
        at_us, at_s, ticks = self._clock.wall_us(), self._clock.monotonic(), up_ticks()
        caps = Caps(self._mounts)
        machine = machine_look(self._place.state, caps)
        seen = self._seen(children, caps, machine.cores)
        told = await asyncio.gather(*(self._told(node) for node in seen), self._count_jobs(children, at_s))
        nodes = tuple(node for node in told if node is not None)
        mute = [child.node for child in children if child.state == "running" and not _spoke(child.node, nodes)]
        return Look(
            at_us=at_us,
            at_s=at_s,
            up_ticks=ticks,
            machine=machine,
            nodes=nodes,
            silent=(*mute, *([KEEPER] if listed is None else [])),
            backend=self._backend(),
            due=self._due,
        )

    # Who runs

    def _running(self, listed: tuple[Child, ...] | None) -> tuple[Child, ...]:
        """Who runs by the keeper; when it does not answer, who ran before, or else who it left running."""
        if listed is not None:
            self._children = tuple(child for child in listed if child.runs)
        elif self._children is None:
            self._children = tuple(
                Child(record.launch.node, "running", record.process.pid)
                for record in left_running(self._place.state)
                if record.process
            )
        self._forget_all_but({KEEPER, *(child.node for child in self._children)})
        return self._children

    def _forget_all_but(self, names: set[str]) -> None:
        for gone in [name for name in self._lines if name.partition(" ")[0] not in names]:
            self._lines.pop(gone).close()
        self._haproxies = {name: pid for name, pid in self._haproxies.items() if name in names}

    # What the kernel says

    def _seen(self, children: Sequence[Child], caps: Caps, cores: int) -> list[NodeLook]:
        below = children_of if self._lists_children else all_children()
        found = [self._node(child, caps, cores, below) for child in children]
        keeper = self._line(KEEPER).peer()
        if keeper:  # all the others are its children, and end as such: it counts for itself only
            own = tuple(structs.replace(one, ended_s=0.0) for one in tree_of(keeper, lambda _pid: ()))
            found.append(NodeLook(KEEPER, KEEPER, keeper, own, min(1.0, caps.cores(keeper))))
        return [node for node in found if node.processes]

    def _node(self, child: Child, caps: Caps, cores: int, below: Children) -> NodeLook:
        role, pid = role_of(child.node) or child.node, child.pid or 0
        processes = tree_of(pid, below)
        beside = self._haproxies.get(child.node, 0)
        if beside and all(one.pid != beside for one in processes):  # left by the balancer before this one
            processes += tree_of(beside, below)
        return NodeLook(
            node=child.node,
            role=role,
            pid=pid,
            processes=processes,
            cpu_max=min(float(cores) if role in _THREADED else 1.0, caps.cores(pid)),
            sessions=self._sessions.count(processes[1:]) if role == "database" else 0,
        )

    # What nodes say

    async def _told(self, node: NodeLook) -> NodeLook:
        if node.role == "balancer":
            balancer = answers.balancer_in(await self._ask(node.node, answers.STATUS))
            self._haproxies[node.node] = balancer.life if balancer else 0
            return structs.replace(node, balancer=balancer)
        if node.role in _CODED:
            numbers = answers.numbers_in(await self._ask(node.node, answers.NUMBERS))
            ours = numbers is not None and numbers.pid == node.pid
            return structs.replace(node, numbers=numbers if ours else None)
        return node

    async def _count_jobs(self, children: Sequence[Child], now: float) -> None:
        """Asks a worker, or else a web server, how many jobs are due; the answer is remembered until the next time."""
        if self._due_at is not None and now - self._due_at < JOBS_EVERY_S:
            return
        self._due_at = now
        ready = [child.node for child in children if child.state == "running" and role_of(child.node) in _CODED]
        names = sorted(ready, key=lambda name: (role_of(name) != "worker", name))
        # A line of its own: the numbers must not wait for a database.
        self._due = answers.due_in(await self._ask(names[0], answers.COUNTS, " jobs")) if names else None

    async def _ask(self, node: str, question: bytes, beside: str = "") -> bytes | None:
        return await self._line(node, beside).ask(question, LIMIT_S)

    def _line(self, node: str, beside: str = "") -> Line:
        line = self._lines.get(node + beside)
        if line is None:
            line = self._lines[node + beside] = Line(self._place.run / f"{node}.sock")
        return line

    # What the map says

    def _backend(self) -> str:
        """Where the data is. The map is read again when its file is another one."""
        with contextlib.suppress(OSError, TenfoldError):
            found = os.stat(self._place.map_file)
            stamp = (found.st_ino, found.st_mtime_ns)
            if stamp != self._map_stamp:
                current = self._place.read_map()
                self._map_stamp, self._data = stamp, current.database.backend if current else ""
        return self._data


def _spoke(name: str, nodes: Sequence[NodeLook]) -> bool:
    """Whether a node told its numbers, or is one that has none."""
    node = next((each for each in nodes if each.node == name), None)
    if node is None:
        return role_of(name) not in _SPEAKING
    return node.role not in _SPEAKING or node.numbers is not None or node.balancer is not None
