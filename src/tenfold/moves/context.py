"""What a move is given: the deployment as a move sees it. `control` implements it, and tests have a small one.

A move's builder takes a `Context` and returns a `Move`; everything that its stages touch, they reach from here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tenfold.core.clock import Clock
from tenfold.core.redact import Secret
from tenfold.moves.base import Move
from tenfold.topology.map import Map, ServerMap

if TYPE_CHECKING:
    import sqlalchemy as sa

Phase = Literal["expand", "contract"]
"""A half of a version's migrations: what only adds runs before its code does, the rest once the old code is gone."""

HELD_PATIENCE_S = 1.0
"""How long a process that does not answer is waited for while writes are held: the fence protects them all the same."""


@dataclass(frozen=True, slots=True)
class PublishResult:
    """Who took over a map: `acked` by node name, and for each that did not, why (`silent`)."""

    epoch: int
    acked: tuple[str, ...]
    silent: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every process that runs has taken it over."""
        return not self.silent


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What the keeper knows of a node that it runs, or ran and still lists."""

    name: str
    role: str
    """"web", "worker", "balancer", "database" ...; empty for one of which nobody knows it."""
    state: str
    """The keeper's own word: "running", "starting", "stopping", "ended", "failed", "waiting" ..."""
    ready: bool
    restarts: int
    """How often the keeper has started it again since it was asked to run it."""
    ready_s: float
    """For how long its present process has been ready, in seconds, as far as the keeper saw it; 0 while it is not."""

    @property
    def kept(self) -> bool:
        """Whether the keeper keeps it running: not one that ended, was given up or is being stopped."""
        return not self.ended and self.state != "stopping"

    @property
    def ended(self) -> bool:
        """Whether it runs no longer, and nobody starts it again."""
        return self.state in ("ended", "failed")


@dataclass(frozen=True, slots=True)
class Access:
    """How the owner of the database connects: what `asyncpg.connect` takes. The password shows itself nowhere."""

    host: str
    port: int
    database: str
    user: str
    password: Secret
    tls: str = "disable"


class Context(Protocol):
    """The deployment as a move sees it. Every method may raise `Fenced`: a successor is in charge, stop at once."""

    @property
    def root(self) -> Path:
        """The folder of tenfold.toml."""
        ...

    @property
    def state(self) -> Path:
        """Its `.tenfold`."""
        ...

    @property
    def sqlite_path(self) -> Path:
        """The SQLite file of the service, on every step."""
        ...

    @property
    def service(self) -> str:
        """The service's name."""
        ...

    @property
    def metadata(self) -> sa.MetaData:
        """The tables of the service's code. Raises `AppError` when the app cannot be imported."""
        ...

    @property
    def clock(self) -> Clock:
        """The clock of the process."""
        ...

    @property
    def term(self) -> int:
        """The term of this mover: higher than that of every mover before it, 1 and more."""
        ...

    @property
    def move_id(self) -> str:
        """The name of this move in the journal and in `tf_move`: the same for every mover that carries it on."""
        ...

    @property
    def wanted(self) -> Map:
        """The map as it is to be in the end, with the names of its nodes. Its epoch means nothing.

        Made once, when the move begins, and kept in its BEGIN record (`wanted`): every mover of this move sees the
        same. When the move is only planned it is made from the map as it is now.
        """
        ...

    @property
    def before(self) -> Map:
        """The map as it was when the move began, from its BEGIN record (`before`): what an undone move gives back."""
        ...

    def current(self) -> Map:
        """The map as it is now (read from the disk)."""
        ...

    def p99(self) -> float | None:
        """The 99th percentile of the service's answers over the last seconds, in seconds; None when it is not known."""
        ...

    async def publish(self, change: Callable[[Map], Map], *, patience_s: float = 15.0) -> PublishResult:
        """Writes `change(current)` as the next epoch, makes every node that runs take it over, and says who did.

        Waits for those that do not at most `patience_s` seconds; it never raises because of them. When `change` changes
        nothing, the present epoch is published once more, so it is safe to repeat.
        """
        ...

    async def ensure_server(self) -> ServerMap:
        """Makes the database server run and answer, with the service's database and roles; where it is.

        A supervised one is made when there is none; one that the user runs is looked at. Safe to repeat.
        """
        ...

    async def remove_server(self) -> None:
        """Stops a supervised server and removes its data; leaves one that the user runs alone. Safe to repeat."""
        ...

    async def connect_owner(self) -> Access:
        """How the owner connects to the service's database; the server must run."""
        ...

    async def address_of(self, node: str) -> str:
        """Where a web node is reached by the balancers: "127.0.0.1:PORT", always the same for the same name."""
        ...

    async def prepare_door(self) -> None:
        """Makes what balancers need before they start: their secret, a certificate where one is wanted (`wanted`).

        Raises, with a hint, when HAProxy is not there or too old, or a certificate is not usable. Safe to repeat.
        """
        ...

    async def start_node(self, node: str) -> None:
        """Starts a node of the present map, and waits until it is ready.

        One that runs and is ready is left alone. Raises why it does not get ready; it runs no longer then. Safe to
        repeat.
        """
        ...

    async def node_facts(self) -> dict[str, NodeFacts]:
        """The nodes that the keeper runs, by name. Raises when there is no keeper that answers."""
        ...

    async def node_status(self, node: str) -> dict[str, Any]:
        """What a node says of itself (its `status`); empty when it does not answer within a second or two."""
        ...

    async def stop_node(self, node: str, grace_s: float) -> str:
        """Ends a node after it has finished what it had begun, and removes it from the keeper's list.

        `drained`; `killed` after `grace_s` seconds; `gone` when the keeper has none of that name. Safe to repeat.
        """
        ...

    async def migrate(self, version: str, phase: Phase) -> dict[str, Any]:
        """Applies one half of a version's migrations, in a process of its own with that version's code; its report.

        Raises why it cannot. Safe to repeat.
        """
        ...

    async def migration_pending(self, version: str, phase: Phase) -> bool:
        """Whether `migrate` would change anything now."""
        ...


Builder = Callable[[Context], Awaitable[Move]]
"""Makes a move. It may look (at sizes, versions), for what the plan says; it changes nothing."""
