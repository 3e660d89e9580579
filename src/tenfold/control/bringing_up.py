"""How a deployment comes up: what runs already is taken over, or everything is started as the map and tenfold.toml say.

The map that was there says where the data is, which door is open and which nodes there are; tenfold.toml brings the
settings. While a move is open the map is the move's: it is started as it stands, and the move goes on afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from tenfold.control.coding import Coding
from tenfold.control.crew import SERVING, Crew, grace_of, role_of
from tenfold.control.door import prepare_door
from tenfold.control.engine import ensure_server
from tenfold.control.place import Place, next_map
from tenfold.core.errors import SpecError, TenfoldError
from tenfold.topology.map import Map, NodeMap
from tenfold.topology.targets import target_of
from tenfold.topology.wants import Wants, wants_of
from tenfold.topology.working import CODED

STARTS_AT_ONCE = 4
"""Processes that import the service at the same time."""
SERVING_IN_TURN = ("web", "balancer", "worker")
"""Clients come first: what serves them is started before what runs jobs."""
_TELL_S = 5.0

Say = Callable[[str], None]
Note = Callable[..., None]


class BringingUp:
    """Brings one deployment up; `note` writes a line of the journal before the next thing happens."""

    def __init__(self, place: Place, crew: Crew, coding: Coding, note: Note, say: Say) -> None:
        self._place = place
        self._crew = crew
        self._coding = coding
        self._note = note
        self._say = say

    async def resume(self, *, move_open: bool) -> Map | None:
        """Takes over what runs already; None when no web server does. Raises why none of them gets ready."""
        current, running = self._place.read_map(), await self._crew.kept("web")
        if current is None or not running:
            return None
        self._say("taking over what runs")
        await ensure_server(self._place, self._crew, current)
        await self._start_some(current, _expected(current, move_open=move_open))
        if not move_open:
            await self.stop_others(current)
        await self._tell(current)
        self._note("resumed", epoch=current.epoch, nodes=await self._crew.kept(*SERVING))
        return current

    async def begin(self, *, after: int, move_open: bool) -> Map:
        """A fresh start: map, migrations, web servers, balancers, workers. `after`: the highest epoch that the journal
        knows."""
        previous = self._place.read_map()
        if not move_open:
            await self._stop_workers(previous)
        wanted = await (self._as_it_stood(previous) if previous and move_open else self._first_map(previous, after))
        self._note("start", epoch=wanted.epoch, service=wanted.service)
        self._place.write_map(wanted)
        await self._rotate(wanted)
        if wanted.database.server is not None:
            self._say("starting the database")
            await ensure_server(self._place, self._crew, wanted)
        if not move_open:  # an open move has its own idea of the tables; it goes on once this is up
            self._say("bringing the database up to date")
            self._note("migrated", report=await self._crew.migrate(wants_of(wanted).version))
        if move_open:
            await self._start_some(wanted, wanted.nodes)
        else:
            await self.start_all(wanted, wanted.nodes)
            self._want_version(wanted)
        await self._coding.served(wanted)
        await self._tell(wanted)
        self._note("started", epoch=wanted.epoch, nodes=[node.name for node in wanted.nodes])
        return wanted

    # The map of a fresh start

    async def _first_map(self, previous: Map | None, after: int) -> Map:
        """tenfold.toml on the nodes that were, with the code of the folder, where the keeper really listens."""
        spec = self._place.read_spec()
        if previous is None:
            self._refuse_lost_map()
        settings = await self._where_it_listens(self._place.wanted(spec, previous, after=after))
        version, why_not = await self._coding.for_start(previous)
        if why_not:
            self._say(why_not)
        wants = msgspec.structs.replace(wants_of(previous) if previous else Wants(), version=version)
        same_names = [_started_anew(node, version) for node in (previous.nodes if previous else ())]
        wanted = target_of("change_nodes", msgspec.structs.replace(settings, nodes=tuple(same_names)), wants)
        wanted = await self._with_addresses(wanted)
        if previous is None:
            return msgspec.structs.replace(wanted, epoch=settings.epoch)
        return next_map(previous, wanted)

    async def _as_it_stood(self, previous: Map) -> Map:
        """The map of the open move, where the keeper listens now."""
        return next_map(previous, await self._where_it_listens(previous))

    async def _where_it_listens(self, wanted: Map) -> Map:
        found = await self._crew.ask("hello")
        port = int(found["port"])
        return msgspec.structs.replace(wanted, public=msgspec.structs.replace(wanted.public, port=port))

    async def _with_addresses(self, wanted: Map) -> Map:
        """Every web server that balancers are to reach has an address."""
        if wanted.public.door == "web":
            return wanted
        web = {node.name: await self._crew.address_of(node.name) for node in wanted.of_role("web")}
        nodes = (msgspec.structs.replace(node, address=web.get(node.name, "")) for node in wanted.nodes)
        return msgspec.structs.replace(wanted, nodes=tuple(nodes))

    def _refuse_lost_map(self) -> None:
        """Without a map a deployment begins on its first step, which would be the wrong database for this one."""
        wants = self._place.read_wants()
        if wants is not None and wants.database != "sqlite":
            raise SpecError(
                f"The map {self._place.map_file} is lost, and the data of this service is on a database server.",
                hint="Put it back from a backup. (Without wants.json beside it, it would begin anew and empty.)",
                code="TF-MAP-LOST",
            )

    def _want_version(self, current: Map) -> None:
        """Commands before a restart wanted a version; the restart has chosen."""
        wants = self._place.read_wants() or wants_of(current)
        self._place.write_wants(msgspec.structs.replace(wants, version=wants_of(current).version))

    # Processes

    async def start_all(self, current: Map, nodes: Iterable[NodeMap]) -> None:
        """Starts these nodes of a map, web servers, then balancers, then workers, and waits until they are ready.

        Raises why one of them does not get there; the others go on.
        """
        for failed in await self._started(current, nodes):
            raise failed

    async def _start_some(self, current: Map, nodes: Iterable[NodeMap]) -> None:
        """Starts them; one that does not get ready is no reason to stop as long as a web server does."""
        failed = await self._started(current, nodes)
        ready = {fact["node"] for fact in await self._crew.nodes() if fact["ready"] and role_of(fact["node"]) == "web"}
        if failed and not ready:
            raise failed[0]
        for error in failed:
            self._note("not-started", error=error.message)

    async def _started(self, current: Map, nodes: Iterable[NodeMap]) -> list[TenfoldError]:
        """Why nodes did not get ready, in their order."""
        failed: list[TenfoldError] = []
        turns = asyncio.Semaphore(STARTS_AT_ONCE)

        async def start(node: NodeMap) -> None:
            async with turns:
                try:
                    await self._crew.start(current, node)
                except TenfoldError as error:
                    failed.append(error)

        web, balancers, workers = ([node for node in nodes if node.role == role] for role in SERVING_IN_TURN)
        if balancers:
            try:
                await prepare_door(self._place, current)
            except TenfoldError as error:
                failed.append(error)
                balancers = []
        for these in (web, balancers, workers):
            if these:
                self._say(f"starting {', '.join(node.name for node in these)}")
                await asyncio.gather(*(start(node) for node in these))
        return failed

    async def missing(self, current: Map) -> list[NodeMap]:
        """The nodes of the map that the keeper does not keep running: those that it had given up, say."""
        kept = await self._crew.kept(*SERVING)
        return [node for node in current.nodes if role_of(node.name) in SERVING and node.name not in kept]

    async def with_version(self, current: Map, version: str) -> Map:
        """The map with that version on every web server, none of which runs, and on every worker, none of which runs
        when this returns; its database is brought up to date."""
        await self._stop_workers(current)

        def change(found: Map) -> Map:
            return msgspec.structs.replace(found, nodes=tuple(_started_anew(node, version) for node in found.nodes))

        changed = await asyncio.to_thread(self._place.change_map, change)
        self._want_version(changed)
        await self._crew.migrate(version)
        return changed

    async def settle(self, current: Map) -> None:
        """After a move: the keeper has the map's values, and runs nothing that is not in it."""
        await self._rotate(current)
        await self.stop_others(current)

    async def stop_others(self, current: Map) -> None:
        """Ends web servers, workers and balancers that run and that the map does not have."""
        others = [node for node in await self._crew.kept(*SERVING) if current.node(node) is None]
        await asyncio.gather(*(self._crew.stop(node, grace_of(current)) for node in others))
        if others:
            self._note("stopped", nodes=others)

    async def _stop_workers(self, current: Map | None) -> None:
        """They may run code that the database is about to leave behind."""
        grace_s = grace_of(current) if current else 0.0
        await asyncio.gather(*(self._crew.stop(node, grace_s) for node in await self._crew.kept("worker")))

    async def _rotate(self, current: Map) -> None:
        await self._crew.ask("rotation", size=current.log.rotate_size, keep=current.log.keep)

    async def _tell(self, current: Map) -> None:
        """Everybody who can be told hears of the map; who is silent looks at the file by itself."""
        await self._rotate(current)
        await self._crew.ask("publish", timeout_s=_TELL_S + 5, epoch=current.epoch, limit_s=_TELL_S)


def _expected(current: Map, *, move_open: bool) -> list[NodeMap]:
    """The nodes that must run now: while a move is open, it may just be stopping or starting the others."""
    return [node for node in current.nodes if not move_open or (node.role in CODED and node.traffic == "on")]


def _started_anew(node: NodeMap, version: str) -> NodeMap:
    return msgspec.structs.replace(node, version=version, traffic="on") if node.role in CODED else node
