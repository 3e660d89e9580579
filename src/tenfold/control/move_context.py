"""The deployment as a move sees it (`moves.context.Context`): what the mover hands to the stages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tenfold.control import engine, servers
from tenfold.control.crew import Crew, role_of
from tenfold.control.door import find_haproxy, prepare_door
from tenfold.control.latency import Latency
from tenfold.control.place import Place
from tenfold.core.clock import Clock
from tenfold.core.errors import Unavailable, UsageError
from tenfold.core.journal import Fenced, Journal
from tenfold.core.redact import Secret
from tenfold.engines.postgres import parse_url
from tenfold.hosts import wire
from tenfold.moves.context import HELD_PATIENCE_S, Access, NodeFacts, Phase, PublishResult
from tenfold.topology.map import Map, ServerMap
from tenfold.topology.steps import step_of
from tenfold.topology.wants import Wants, refuse_small_pool, wants_of

if TYPE_CHECKING:
    import sqlalchemy as sa

_TELL_LIMIT_S = 5.0
_LOOK_S = 0.05


class Way(msgspec.Struct, frozen=True):
    """Where a move leads: from the map `before` to the map `wanted`, on the way to the wants. In its BEGIN record."""

    before: Map
    wanted: Map
    wants: Wants


class MoveContext:
    """One mover's view. `journal` and `term` say whether this mover is still in charge.

    `opened` is set once the move is in the journal; before, while it is only looked at, nothing is made or removed.
    `standing`: the map on which a move is planned that only comes after others; the map on disk without it.
    """

    def __init__(
        self,
        place: Place,
        journal: Journal,
        clock: Clock,
        *,
        term: int,
        move_id: str,
        way: Way,
        standing: Map | None = None,
    ) -> None:
        self._place = place
        self._journal = journal
        self._crew = Crew(place, clock)
        self._way = way
        self._standing = standing
        self._server: ServerMap | None = None
        self.latency = Latency(place, self._crew, clock)
        self.opened = False
        self.clock = clock
        self.term = term
        self.move_id = move_id

    @property
    def root(self) -> Path:
        return self._place.root

    @property
    def state(self) -> Path:
        return self._place.state

    @property
    def sqlite_path(self) -> Path:
        return Path(self.current().database.path)

    @property
    def service(self) -> str:
        return self.current().service

    @cached_property
    def metadata(self) -> sa.MetaData:
        from tenfold.control.migrate import load_service  # noqa: PLC0415 - most moves need no SQLAlchemy

        current = self.current()
        return load_service(current, wants_of(current).version).metadata

    @property
    def knows_tables(self) -> bool:
        """Whether anybody has asked for the tables, so that the move depends on them."""
        return "metadata" in self.__dict__

    @property
    def wanted(self) -> Map:
        return self._way.wanted

    @property
    def before(self) -> Map:
        return self._way.before

    def current(self) -> Map:
        found = self._standing or self._place.read_map()
        if found is None:
            raise Unavailable(f"There is no map in {self.state}.", hint="Start the service with `tenfold up`.")
        return found

    def p99(self) -> float | None:
        """The 99th percentile of the service's answers over the last seconds, in seconds; None when it is not known."""
        return self.latency.p99()

    async def publish(self, change: Callable[[Map], Map], *, patience_s: float = 15.0) -> PublishResult:
        new = await asyncio.to_thread(self._place.change_map, lambda current: self._changed(current, change))
        held = new.database.gate == "held"
        return await self._tell(new.epoch, min(patience_s, HELD_PATIENCE_S) if held else patience_s)

    def _changed(self, current: Map, change: Callable[[Map], Map]) -> Map:
        """Under the map's lock, which a successor also takes when it claims its term: it is before us or after us."""
        self.still_in_charge()
        new = change(current)
        return msgspec.structs.replace(new, step=step_of(new))

    def still_in_charge(self) -> None:
        """Raises `Fenced` when another mover has a higher term."""
        if self._journal.refresh() > self.term:
            raise Fenced(
                f"A mover with term {self._journal.epoch} has taken over; the one with term {self.term} stops.",
                hint="Nothing is to be done: the move goes on without it.",
            )

    async def _tell(self, epoch: int, patience_s: float) -> PublishResult:
        """Tells every node of the map, again until all have it or the patience is over."""
        deadline = self.clock.monotonic() + patience_s
        while True:
            limit_s = max(_LOOK_S, min(_TELL_LIMIT_S, deadline - self.clock.monotonic()))
            try:
                answer = await self._crew.ask("publish", timeout_s=limit_s + 5.0, epoch=epoch, limit_s=limit_s)
            except (wire.NotRunning, wire.NoAnswer):  # the keeper was killed; the next one is on its way
                if self.clock.monotonic() >= deadline:
                    raise
            else:
                result = PublishResult(epoch, tuple(answer["acked"]), dict(answer["missing"]))
                if result.complete or self.clock.monotonic() >= deadline:
                    return result
            await asyncio.sleep(_LOOK_S)

    async def look_ahead(self) -> list[str]:
        """What is worth knowing of the engines that the move needs first. Raises what stands against them."""
        if self.wanted.of_role("balancer") and not self.current().of_role("balancer"):
            await find_haproxy()
        return await self._look_at_server()

    async def _look_at_server(self) -> list[str]:
        """For a move that makes a server; one that the map names already is not looked at."""
        if self.wanted.database.backend != "postgres" or self.current().database.server is not None:
            return []
        spec = self._place.read_spec()
        refuse_small_pool(len(self.wanted.of_role("web")), len(self.wanted.of_role("worker")), spec.database.pool)
        if spec.database.url is not None:
            login = parse_url(spec.database.url.reveal())
            found = await servers.look_at_server(self._place, login, spec.database.pool)
        else:
            size = self.sqlite_path.stat().st_size if self.sqlite_path.exists() else 0
            found = await servers.look_at_machine(self._place, self.service, size)
        for finding in found:
            if finding.blocking:
                raise UsageError(finding.sentence, hint=finding.hint, code=finding.code)
        return [str(finding) for finding in found]

    async def ensure_server(self) -> ServerMap:
        self.still_in_charge()
        current, spec = self.current(), self._place.read_spec()
        known = current.database.server
        if known is not None:
            await engine.ensure_server(self._place, self._crew, current)
            self._server = known
        elif not self.opened:
            raise UsageError("There is no database server yet, and planning makes none.", code="TF-MOVE")
        elif spec.database.url is not None:
            login = parse_url(spec.database.url.reveal())
            self._server = await engine.adopt_server(self._place, login, spec.database.pool)
        else:
            self._server = await self._engine().make(spec.database.pool)
        return self._server

    async def remove_server(self) -> None:
        self.still_in_charge()
        current = self.current()
        if current.database.backend == "postgres" or not self.opened:
            raise UsageError("The data is on that server: it is not removed.", code="TF-MOVE")
        known = current.database.server
        supervised = known.supervised if known else self._place.read_spec().database.url is None
        if supervised:
            await self._engine().remove()
        else:
            engine.secrets_of(self._place).forget(engine.OWNER, engine.WEB)

    def _engine(self) -> engine.Engine:
        return engine.Engine(self._place, self._crew, self.service, self.clock)

    async def connect_owner(self) -> Access:
        server = self.current().database.server or self._server or await self.ensure_server()
        login = engine.owner_login(self._place, server)
        return Access(login.host, login.port, login.database, login.user, Secret(login.password), login.tls)

    # What serves

    async def address_of(self, node: str) -> str:
        return await self._crew.address_of(node)

    async def prepare_door(self) -> None:
        self.still_in_charge()
        await prepare_door(self._place, self.wanted)

    async def start_node(self, node: str) -> None:
        self.still_in_charge()
        current = self.current()
        found = current.node(node)
        if found is None:
            raise UsageError(f"{node} is not in the map, so it is not started.", code="TF-MOVE")
        await self._crew.start(current, found)

    async def node_facts(self) -> dict[str, NodeFacts]:
        return {
            str(fact["node"]): NodeFacts(
                name=str(fact["node"]),
                role=role_of(str(fact["node"])),
                state=str(fact["state"]),
                ready=bool(fact["ready"]),
                restarts=int(fact["restarts"]),
                ready_s=float(fact.get("ready_s") or 0.0),
            )
            for fact in await self._crew.nodes()
        }

    async def node_status(self, node: str) -> dict[str, Any]:
        return await self._crew.status(node)

    async def stop_node(self, node: str, grace_s: float) -> str:
        self.still_in_charge()
        return await self._crew.stop(node, grace_s)

    async def migrate(self, version: str, phase: Phase) -> dict[str, Any]:
        self.still_in_charge()
        return await self._crew.migrate(version, phase)

    async def migration_pending(self, version: str, phase: Phase) -> bool:
        return await self._crew.migration_pending(version, phase)
