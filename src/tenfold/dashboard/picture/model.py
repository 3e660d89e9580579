"""The picture as data, the same for the page and for the terminal. Every text in it is a name or a word of a catalogue,
so that whoever draws it can say it in any language."""

from __future__ import annotations

from typing import Literal

import msgspec

from tenfold.control.figures.model import Traffic

Health = Literal["well", "starting", "leaving", "ill", "gone"]
"""`ill`: it runs and is not ready. `gone`: it should run and does not."""


class Part(msgspec.Struct, frozen=True):
    """What lives inside a node rather than on a node of its own: the app, its cache, its database file, its jobs."""

    kind: Literal["app", "cache", "database", "jobs"]
    health: Health = "well"
    traffic: Traffic | None = None
    gate: Literal["", "open", "held"] = ""
    values: dict[str, float] = {}


class Program(msgspec.Struct, frozen=True):
    """A process of its own that a node leads, by the name that `tenfold break` knows: the HAProxy of a balancer."""

    name: str
    pid: int
    faults: tuple[str, ...] = ()


class Node(msgspec.Struct, frozen=True):
    """One box. `clients`: whether work is sent to it; a new one gets none before it has shown that it works.

    `faults` are those that can be made on it (`tenfold break --how`). `values` are figures by the names of
    `NodeFigures`; `says` is the node's own reason, in English, when it is not well.
    """

    name: str
    role: str
    health: Health
    clients: bool = True
    says: str = ""
    version: str = ""
    pid: int = 0
    restarts: int = 0
    faults: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    values: dict[str, float] = {}
    engine: str = ""
    """The program behind it as people know it, where it is not its tier's: a move has two databases at once."""
    program: Program | None = None


class Tier(msgspec.Struct, frozen=True):
    """One row of boxes, from the users at the top downwards. `users` is the first tier and has no nodes."""

    role: str
    nodes: tuple[Node, ...] = ()
    health: Health = "well"
    backend: str = ""
    """The engine's name as people know it ("PostgreSQL"), where the tier has one."""
    beside: str = ""
    """The role of the tier that it stands beside (workers beside web servers), instead of a row of its own."""


class Arrow(msgspec.Struct, frozen=True):
    """What flows from one tier to another. `gate` is `held` while a move lets new work wait there: so much of it
    is `waiting`."""

    source: str
    target: str
    kind: Literal["requests", "queries", "lookups", "jobs", "replication"]
    traffic: Traffic | None = None
    gate: Literal["", "open", "held"] = ""
    waiting: int = 0


class StageNow(msgspec.Struct, frozen=True):
    """One stage of the open move. `decides`: the point of no return lies after it."""

    name: str
    says: str
    state: Literal["done", "now", "to come"]
    holds: bool = False
    decides: bool = False


class MoveNow(msgspec.Struct, frozen=True):
    """The move that is open. `done` of `total` in `unit`, `rate` of them a second, as far as the stage counts
    something."""

    id: str
    name: str
    title: str
    stages: tuple[StageNow, ...]
    back: bool = False
    decided: bool = False
    reason: str = ""
    doing: str = ""
    done: float = 0
    total: float = 0
    unit: str = ""
    rate: float = 0
    left_s: float | None = None
    held_ms: float = 0.0


class LoadNow(msgspec.Struct, frozen=True):
    """The load that was started from the page: requests a second that are asked for, and seconds until it stops."""

    rate: float
    left_s: float


class Picture(msgspec.Struct, frozen=True):
    """The deployment at `at_us` (microseconds since 1970), with figures over the `window_s` seconds before.

    `state` as `tenfold status` says it. `controller` and `keeper`: whether they answer; the traffic does not need them.
    """

    service: str
    state: Literal["running", "starting", "failed", "degraded", "stopped"]
    at_us: int
    step: int = 0
    epoch: int = 0
    version: str = ""
    address: str = ""
    tls_address: str = ""
    window_s: float = 0.0
    tiers: tuple[Tier, ...] = ()
    arrows: tuple[Arrow, ...] = ()
    move: MoveNow | None = None
    load: LoadNow | None = None
    controller: bool = True
    keeper: bool = True
    limits_off: bool = False
    way_back: bool = False
    """Whether the database before this one can still be gone back to (until `finalize`)."""
    says: tuple[str, ...] = ()
    """Sentences that a person has to know, in English: errors, what waits for a step."""
