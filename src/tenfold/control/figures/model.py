"""Figures of a deployment over one window of time: what its parts did, and how much of what they have they used."""

from __future__ import annotations

import msgspec


class Traffic(msgspec.Struct, frozen=True):
    """What passed in a window: per second, of these failed per second, and how long it took in milliseconds.

    The percentiles are None where nothing passed, or where nobody measures how long it takes.
    """

    rate: float = 0.0
    errors: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None


class NodeFigures(msgspec.Struct, frozen=True):
    """One node in a window.

    `cpu` is in cores; `cpu_max` is how many it can use at most: 1 for a process with one event loop, a cap of its
    cgroup, or the cores of the machine. `memory` is in bytes. What a node does not have is None or 0.
    """

    node: str
    role: str
    """As in the map (`web`, `worker`, `balancer`, `database`), and for others the name itself."""
    pid: int = 0
    cpu: float | None = None
    cpu_max: float = 1.0
    memory: int = 0
    answers: Traffic | None = None
    """What it answered to those before it."""
    reads: Traffic | None = None
    writes: Traffic | None = None
    """What it asked of the database."""
    jobs: Traffic | None = None
    in_flight: int = 0
    connections: int = 0
    queue: int = 0
    """Who waits before it: requests at a balancer; jobs that are due, told of one node of those that run them."""
    held: int = 0
    """Transactions that wait at the gate."""
    pool: int = 0
    pool_busy: int = 0
    loop_late_ms: float = 0.0
    cache_hits: float | None = None
    """Share of look-ups that its cache answered, 0 to 1."""
    cache_bytes: int = 0
    cache_lookups: float = 0.0
    """Per second."""


class Machine(msgspec.Struct, frozen=True):
    """One host: cores, cores in use by everybody, memory in bytes, and the disk of the state directory."""

    cores: int = 1
    cpu: float = 0.0
    memory: int = 0
    memory_free: int = 0
    disk: int = 0
    disk_free: int = 0
    disk_busy: float | None = None
    """Share of the time in which the disk worked, 0 to 1; None where it cannot be told."""


class Figures(msgspec.Struct, frozen=True):
    """Everything that was measured over the `window_s` seconds before `at_us` (microseconds since 1970).

    `public` is what the users saw of the service, all web servers together; `reads` and `writes` what all processes
    asked of the database, `queries` both together. `silent` are nodes that did not answer.
    """

    at_us: int
    window_s: float
    machine: Machine
    nodes: tuple[NodeFigures, ...] = ()
    public: Traffic = Traffic()
    silent: tuple[str, ...] = ()
    reads: Traffic = Traffic()
    writes: Traffic = Traffic()
    queries: Traffic = Traffic()

    def node(self, name: str) -> NodeFigures | None:
        """The figures of one node."""
        return next((each for each in self.nodes if each.node == name), None)

    def of_role(self, role: str) -> tuple[NodeFigures, ...]:
        """The figures of one tier."""
        return tuple(each for each in self.nodes if each.role == role)
