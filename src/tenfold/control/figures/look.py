"""What one look at a deployment saw, raw: counters that only grow, gauges, and when it was. Pure data.

Two looks make figures (`tenfold.control.figures.between`).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tenfold.serve.told import NodeNumbers


class ProcessLook(msgspec.Struct, frozen=True):
    """One process. `began` is its start in clock ticks since boot: with the pid it names one process for ever.

    `cpu_s`: its own processor seconds; `ended_s`: those of its children that have ended, as the kernel adds them up.
    `memory`: resident bytes, of which `shared` belong to others too.
    """

    pid: int
    parent: int
    began: int
    cpu_s: float = 0.0
    ended_s: float = 0.0
    memory: int = 0
    shared: int = 0


class BalancerNumbers(msgspec.Struct, frozen=True):
    """Counts of one HAProxy since it was started; `life` is its pid. `queue`: requests that wait in it (a gauge).

    `age_s`: how old the numbers were when they were told.
    """

    life: int = 0
    requests: int = 0
    failed: int = 0
    connections: int = 0
    in_flight: int = 0
    queue: int = 0
    age_s: float = 0.0


class NodeLook(msgspec.Struct, frozen=True):
    """One node. `processes`: its own first, then all that it started, and engines that work for it.

    `numbers` and `balancer` are None when it did not tell them. `sessions`: connections of clients that a database
    server has. `cpu_max` in cores.
    """

    node: str
    role: str
    pid: int
    processes: tuple[ProcessLook, ...] = ()
    cpu_max: float = 1.0
    numbers: NodeNumbers | None = None
    balancer: BalancerNumbers | None = None
    sessions: int = 0


class MachineLook(msgspec.Struct, frozen=True):
    """One host. `busy_s`: seconds of all its cores together since it was started; `disk_busy_s` of its disk, None where
    it cannot be told. The rest as in `Machine`."""

    cores: int = 1
    busy_s: float = 0.0
    memory: int = 0
    memory_free: int = 0
    disk: int = 0
    disk_free: int = 0
    disk_busy_s: float | None = None


class Look(msgspec.Struct, frozen=True):
    """One look. `at_us` is wall time and may step; `at_s` is monotonic; `up_ticks` are clock ticks since boot.

    `silent` are those that should have told their numbers and did not. `backend` is where the data is by the map.
    `due`: jobs that could run and wait; None when nobody said so.
    """

    at_us: int
    at_s: float
    up_ticks: int
    machine: MachineLook
    nodes: tuple[NodeLook, ...] = ()
    silent: tuple[str, ...] = ()
    backend: str = ""
    due: int | None = None


def window_start(looks: Sequence[Look], now_s: float, window_s: float) -> Look | None:
    """The look that figures are counted from: the youngest that is `window_s` old, else the oldest; None without any.
    `looks` are in order of time, `now_s` is monotonic."""
    old = [look for look in looks if now_s - look.at_s >= window_s]
    return old[-1] if old else (looks[0] if looks else None)
