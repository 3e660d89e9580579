"""A deployment in virtual time, for moves of web servers and balancers: keeper, processes, maps, and what befalls them.

It implements `tenfold.moves.context.Context`. Time passes at every *point* (before and after every call of a move and
every record of the journal) and while something is waited for. `World.at` says what happens at which point: besides
what `move_model.World` knows, `kill NODE`, `nap NODE` (it stands still for 40 s), `refuse NODE` (it answers, and takes
no map over for 40 s), `keeper` (the keeper is killed; another comes after 2 s), `resume` (the controller starts what
the map has and stops what it has not), `reboot` (everything is killed, then brought up by the map).

What must hold is looked at after every step of any process, so a move that breaks it for a moment is caught.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from move_model import Crash, ModelJournal, World, hands

from tenfold.core.clock import ManualClock
from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.moves.base import Kind as Records
from tenfold.moves.base import Move, State, fold
from tenfold.moves.context import NodeFacts, Phase, PublishResult
from tenfold.moves.driver import opening, walk
from tenfold.moves.nodes.tier import Tier
from tenfold.topology.map import Map, NodeMap, next_map
from tenfold.topology.steps import step_of

READY_S = 0.5
RESTART_S = 0.3
POLL_S = 0.25
DRAIN_S = 0.4
NAP_S = 40.0
KEEPER_S = 2.0
STEP_S = 0.02
LINGER_S = 1.0
"""How long clients stay on a web server that has closed its public door."""

BEFALLS = ("kill", "nap", "refuse", "reboot", "keeper", "resume")
SHAKING = ("kill", "nap", "refuse", "reboot", "keeper")
"""What takes a process away that the move has not taken: then one that is about to come back counts as serving."""


@dataclass
class Process:
    """One child of the keeper. `epoch` is the map that it follows; 0 while it starts."""

    node: NodeMap
    role: str
    since_s: float
    """When it was started; once it is ready, since when it is."""
    settings: str
    state: str = "starting"
    until_s: float = 0.0
    """When its present state ends."""
    epoch: int = 0
    restarts: int = 0
    proved: bool = False
    """Whether it was ready once."""
    still_until_s: float = 0.0
    refuses_until_s: float = 0.0
    clients_until_s: float = 0.0
    kill_s: float = 0.0
    killed: bool = False

    @property
    def name(self) -> str:
        return self.node.name


class Broken(BaseException):
    """What must hold did not. No error of a stage, which the driver would take for a reason to undo it."""


@dataclass
class TierWorld(World):
    """The deployment. `map` is what it begins with, all of whose nodes run."""

    map: Map = None  # type: ignore[assignment]
    bad: Mapping[str, float] = field(default_factory=dict)
    """Versions of code whose processes die so many seconds after their start; 0: before they are ready."""
    failing: tuple[str, ...] = ()
    """Phases of migrations that fail."""
    contracts: bool = True
    """Whether the new code has a migration that takes something away."""
    clinging: bool = False
    """Whether clients stay for ever on a server that closed its door, and on one that is asked to end."""
    balancers_first: bool = False
    """Who adopts a new map first."""
    clock: ManualClock = field(default_factory=ManualClock)
    maps: dict[int, Map] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    published_s: float = 0.0
    keeper_back_s: float = 0.0
    door_ready: bool = False
    migrated: list[tuple[str, str]] = field(default_factory=list)
    dead: bool = False
    """Whether the mover of this life is gone: whatever of it still runs changes nothing any more."""
    down: bool = False
    """Whether everything was killed; `rising`: it is being brought up, and clients wait."""
    rising: bool = False
    changed: bool = True
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.maps[self.map.epoch] = self.map
        self.strict = not any(what.startswith(SHAKING) for what in self.at.values())
        for node in self.map.nodes:
            self.spawn(node.name)
            process = self.processes[node.name]
            process.state, process.epoch, process.proved, process.since_s = "running", self.map.epoch, True, -1000.0
            process.clients_until_s = LINGER_S

    # -- time ---------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    def point(self, what: str, *, stage: bool = True) -> None:
        if self.dead:
            raise Crash
        self.advance(1.0 if what == "rest" else STEP_S)
        if (what_befalls := self.at.get(self.points + 1, "")).startswith(BEFALLS):
            del self.at[self.points + 1]  # once, also when it ends the mover before this point is counted
            self.befall(what_befalls)
        try:
            super().point(what, stage=stage)
        except Crash:
            self.dead = True
            raise

    def advance(self, seconds: float) -> None:
        """Time passes, in small steps."""
        while seconds > 0:
            step = min(seconds, 0.1 if seconds < 2.0 else 0.25)
            self.clock.advance(step)
            seconds -= step
            for process in list(self.processes.values()):
                self.live(process)
            self.look()

    def befall(self, what: str) -> None:
        """Something happens that no move wanted."""
        kind, _, name = what.partition(" ")
        process = self.processes.get(name)
        if kind == "kill" and process is not None and process.state != "waiting":
            self.die(process)
        elif kind == "nap" and process is not None:
            process.still_until_s = self.now + NAP_S
        elif kind == "refuse" and process is not None:
            process.refuses_until_s = self.now + NAP_S
        elif kind == "keeper":
            self.lose_keeper()
        elif kind == "resume":
            self.resume()
        elif kind == "reboot":
            self.reboot()

    # -- processes ----------------------------------------------------------------------------------------------------

    def spawn(self, name: str) -> None:
        node = self.map.node(name)
        if node is None:
            raise Broken(f"{name} is started, and it is not in the map")
        if node.role == "balancer" and not self.door_ready:
            raise Broken("a balancer needs its secret before it starts")
        self.processes[name] = Process(node, node.role, self.now, self.map.app, until_s=self.now + READY_S)
        starting = sum(each.state == "starting" and not each.proved for each in self.processes.values())
        self.most_at_once = max(self.most_at_once, starting)

    def live(self, process: Process) -> None:
        """What a process does by itself."""
        if process.state == "stopping" and self.now >= process.kill_s:
            process.killed = True
            self.end(process)
        elif process.state == "waiting" and self.keeper_is_up and self.now >= process.until_s:
            self.begin_again(process)
        elif self.is_still(process):
            return
        elif process.state == "stopping" and self.now >= process.until_s:
            self.end(process)
        elif self.code_is_over(process):
            self.die(process)
        elif process.state == "starting" and self.now >= process.until_s:
            process.state, process.proved, process.epoch, self.changed = "running", True, self.map.epoch, True
            process.since_s = self.now
        elif process.state == "running" and self.now >= self.published_s + POLL_S:
            self.adopt(process)

    def is_still(self, process: Process) -> bool:
        return self.now < process.still_until_s

    def code_is_over(self, process: Process) -> bool:
        lives_s = self.bad.get(process.node.version) if process.role == "web" else None
        return (  # it dies so long after it was ready; with 0, before it is
            lives_s is not None
            and process.state in ("starting" if lives_s == 0 else "", "running")
            and self.now - process.since_s >= lives_s
        )

    def begin_again(self, process: Process) -> None:
        node = self.map.node(process.name) or process.node
        process.node, process.settings, process.since_s = node, self.map.app, self.now
        process.state, process.until_s, process.epoch = "starting", self.now + READY_S, 0
        process.restarts += 1

    def adopt(self, process: Process) -> None:
        if process.epoch != self.map.epoch and self.now >= process.refuses_until_s:
            self.changed = True
            had_door = self.accepts(process)
            process.epoch = self.map.epoch
            if had_door and not self.accepts(process):
                process.clients_until_s = self.now + LINGER_S

    def die(self, process: Process) -> None:
        """As by SIGKILL: the keeper starts it again."""
        self.changed = True
        if process.state == "stopping":
            self.end(process)
        else:
            process.state, process.until_s, process.epoch = "waiting", self.now + RESTART_S, 0
            process.still_until_s = process.refuses_until_s = 0.0

    def end(self, process: Process) -> None:
        self.changed = True
        if self.processes.get(process.name) is process:
            del self.processes[process.name]
        process.state = "ended"

    @property
    def keeper_is_up(self) -> bool:
        return not self.down and self.now >= self.keeper_back_s

    def need_keeper(self) -> None:
        if not self.keeper_is_up:
            raise Unavailable("There is no keeper.", code="TF-NOT-RUNNING")

    def lose_keeper(self) -> None:
        """What was asked to end ends, and the next keeper, which does not know of that, starts it again."""
        self.keeper_back_s = self.now + KEEPER_S
        for process in self.processes.values():
            if process.state == "stopping":
                process.state = "running"
                self.die(process)

    def resume(self) -> None:
        """What a controller does when it starts."""
        if not self.keeper_is_up:
            return
        for node in self.map.nodes:
            if node.name not in self.processes:
                self.spawn(node.name)
        for process in list(self.processes.values()):
            if self.map.node(process.name) is None and process.state != "stopping":
                self.begin_stop(process, 40.0)

    def reboot(self) -> None:
        """Everything is gone, the mover too; then `tenfold up` starts what the map has."""
        self.processes.clear()
        self.down, self.dead = True, True
        raise Crash

    def bring_up(self) -> None:
        """After a reboot, before the next mover."""
        if self.down:
            self.rising, self.down = True, False
            for node in self.map.nodes:
                self.spawn(node.name)
            self.advance(2.0)
            self.rising, self.changed = False, True

    def come_to_rest(self) -> None:
        """Time passes until nothing is under way, a minute at most."""
        for _ in range(120):
            self.advance(0.5)
            if self.keeper_is_up and all(self.rests(process) for process in self.processes.values()):
                return

    def rests(self, process: Process) -> bool:
        return process.state == "running" and process.epoch == self.map.epoch and not self.is_still(process)

    def begin_stop(self, process: Process, grace_s: float) -> None:
        self.changed = True
        if process.state == "stopping":
            process.kill_s = min(process.kill_s, self.now + grace_s)
        elif process.state == "waiting":
            self.end(process)
        else:
            busy = 1e9 if self.clinging and process.proved else DRAIN_S
            process.state, process.until_s, process.kill_s = "stopping", self.now + busy, self.now + grace_s

    # -- what must hold -----------------------------------------------------------------------------------------------

    def follows(self, process: Process) -> Map:
        return self.maps[process.epoch or self.map.epoch]

    def accepts(self, process: Process) -> bool:
        """Whether it accepts on the public socket."""
        if not self.serves(process):
            return False
        seen = self.follows(process)
        node = seen.node(process.name)
        if process.role == "balancer":
            return True
        return node is not None and seen.public.door == "web" and node.traffic == "on"

    def serves(self, process: Process) -> bool:
        """Whether it works; one that something killed comes back, and nothing else was to be expected of a move."""
        if self.strict:
            return process.state == "running"
        return process.proved and process.state in ("running", "waiting", "starting")

    def servers_of(self, balancer: Process) -> list[str]:
        return [node.name for node in self.follows(balancer).of_role("web") if node.address and node.traffic == "on"]

    def reaches(self, name: str) -> bool:
        """Whether a request that a balancer sends to a web server is answered."""
        process = self.processes.get(name)
        if process is None or not self.serves(process):
            return False
        node = self.follows(process).node(name)
        return node is not None and bool(node.address)

    def look(self) -> None:
        """Asserts what must hold at every moment; only when something has changed since it was looked at."""
        if self.down or self.rising or not self.changed:
            return
        self.changed = False
        accepting = [process for process in self.processes.values() if self.accepts(process)]
        if not accepting:
            raise Broken(f"nobody serves the public door: {self.picture()}")
        for balancer in accepting:
            if balancer.role == "balancer":
                servers = self.servers_of(balancer)
                if not servers:
                    raise Broken(f"{balancer.name} has no server: {self.picture()}")
                lost = [name for name in servers if not self.reaches(name)]
                if lost:
                    raise Broken(f"{balancer.name} sends requests to {lost}, which do not answer: {self.picture()}")

    def picture(self) -> str:
        lines = [
            f"{process.name}: {process.state}, epoch {process.epoch}, accepts {self.accepts(process)}"
            for process in self.processes.values()
        ]
        nodes = [f"{node.name} {node.traffic} {node.address}" for node in self.map.nodes]
        return "; ".join([f"map {self.map.epoch}, door {self.map.public.door}", *nodes, *lines, *self.trail[-12:]])


class TierContext:
    """One mover's view of that world: `tenfold.moves.context.Context`."""

    def __init__(self, world: TierWorld, before: Map, wanted: Map, term: int) -> None:
        self.world = world
        self.before = before
        self.wanted = wanted
        self.term = term
        self.clock = world.clock
        self.move_id = "m-1"
        self.service = before.service
        self.metadata: Any = None
        self.root, self.state = Path(before.root), Path(before.state)
        self.sqlite_path = Path(before.database.path)

    def current(self) -> Map:
        return self.world.map

    def p99(self) -> float | None:
        return None

    async def publish(self, change: Callable[[Map], Map], *, patience_s: float = 15.0) -> PublishResult:
        world = self.world
        world.point("publish")
        content = change(world.map)
        made = next_map(world.map, msgspec.structs.replace(content, step=step_of(content)))
        self._judge(made)
        world.map = world.maps[made.epoch] = made
        world.published_s, world.changed = world.now, True
        world.look()
        world.point("published")
        world.need_keeper()
        until_s = world.now + patience_s
        while (silent := self._tell(made.epoch)) and world.now < until_s:
            world.advance(0.25)
        acked = tuple(name for name, process in world.processes.items() if process.epoch >= made.epoch)
        world.point("told")
        return PublishResult(made.epoch, acked, silent)

    def _judge(self, made: Map) -> None:
        """Clients are sent to nobody who is not ready."""
        for node in made.of_role("web"):
            was = self.world.map.node(node.name)
            if node.traffic == "on" and (was is None or was.traffic == "off"):
                if node.version in self.world.bad:
                    raise Broken(f"clients are sent to bad code ({node.name})")
                process = self.world.processes.get(node.name)
                if process is None:
                    raise Broken(f"{node.name} gets clients and does not run")
                if not self.world.serves(process):
                    raise Broken(f"{node.name} gets clients and is not ready")

    def _tell(self, epoch: int) -> dict[str, str]:
        silent = {}
        running = [process for process in self.world.processes.values() if process.state != "waiting"]
        for process in sorted(running, key=lambda each: (each.role == "balancer") != self.world.balancers_first):
            if process.state == "running" and not self.world.is_still(process):
                self.world.adopt(process)
                self.world.look()
            if process.epoch < epoch:
                silent[process.name] = f"{process.name} did not answer"
        return silent

    async def address_of(self, node: str) -> str:
        return f"127.0.0.1:{20000 + int(node.rpartition('-')[2])}"

    async def prepare_door(self) -> None:
        self.world.point("prepare")
        self.world.door_ready = True

    async def start_node(self, node: str) -> None:
        world = self.world
        world.point(f"start {node}")
        world.need_keeper()
        process = world.processes.get(node)
        if process is not None and process.state == "stopping":
            raise Broken(f"{node} is started while it ends")
        if process is None:
            world.spawn(node)
        until_s = world.now + 60.0
        while (there := world.processes.get(node)) is None or there.state != "running":
            world.point(f"starting {node}")
            if there is None or there.restarts >= 3 or world.now > until_s:
                if there is not None:
                    world.begin_stop(there, 2.0)
                    world.advance(3.0)
                raise TenfoldError(f"{node} ended before it was ready.", code="TF-NODE-FAILED")
            await self._pass(0.1)
        world.point(f"started {node}")

    async def _pass(self, seconds: float) -> None:
        """Others go on meanwhile."""
        await asyncio.sleep(0)
        if self.world.dead:
            raise Crash
        self.world.advance(seconds)

    async def node_facts(self) -> dict[str, NodeFacts]:
        self.world.point("facts")
        self.world.need_keeper()
        return {
            process.name: NodeFacts(
                process.name,
                process.role,
                process.state,
                process.state == "running",
                process.restarts,
                self.world.now - process.since_s if process.state == "running" else 0.0,
            )
            for process in self.world.processes.values()
        }

    async def node_status(self, node: str) -> dict[str, Any]:
        world = self.world
        world.point(f"status {node}")
        process = world.processes.get(node)
        if process is None or process.state != "running" or world.is_still(process):
            return {}
        stay = world.clinging or world.accepts(process) or world.now < process.clients_until_s
        return {"ready": True, "public_connections": 3 if stay and process.role == "web" else 0}

    async def stop_node(self, node: str, grace_s: float) -> str:
        world = self.world
        world.point(f"stop {node}")
        world.need_keeper()
        process = world.processes.get(node)
        if process is None:
            return "gone"
        world.begin_stop(process, grace_s)
        world.look()
        while process.state == "stopping":
            world.point(f"stopping {node}")
            world.need_keeper()
            await self._pass(0.2)
        world.point(f"stopped {node}")
        return "killed" if process.killed else "drained"

    async def migrate(self, version: str, phase: Phase) -> dict[str, Any]:
        world = self.world
        world.point(f"migrate {phase}")
        world.need_keeper()
        if phase in world.failing:
            raise TenfoldError(f"The migration {phase} fails here.", code="TF-MIGRATE")
        codes = {process.node.version for process in world.processes.values() if process.role == "web"}
        if phase == "contract":
            if not codes <= {version}:
                raise Broken(f"what {codes} need is taken away")
        else:
            known = {node.version for node in self.before.of_role("web")}
            if version in codes - known:
                raise Broken("new code ran before its tables")
        world.migrated.append((version, phase))
        world.point(f"migrated {phase}")
        return {"applied": [phase], "left": ["0002"] if world.contracts else []}

    async def migration_pending(self, version: str, phase: Phase) -> bool:
        self.world.point(f"pending {phase}")
        return (version, phase) not in self.world.migrated

    async def ensure_server(self) -> Any:
        raise AssertionError("these moves need no database server")

    async def remove_server(self) -> None:
        raise AssertionError("these moves need no database server")

    async def connect_owner(self) -> Any:
        raise AssertionError("these moves need no database server")


Maker = Callable[[Tier], Move]


@dataclass(frozen=True)
class Scene:
    """A move between two maps."""

    name: str
    make: Maker
    before: Map
    wanted: Map
    bad: Mapping[str, float] = field(default_factory=dict)
    failing: tuple[str, ...] = ()
    contracts: bool = True
    """Whether the new code has a migration that takes something away."""
    clinging: bool = False
    balancers_first: bool = False

    def world(self, at: Mapping[int, str]) -> TierWorld:
        world = TierWorld(
            at=dict(at),
            map=self.before,
            bad=self.bad,
            failing=self.failing,
            contracts=self.contracts,
            clinging=self.clinging,
            balancers_first=self.balancers_first,
            door_ready=True,
        )
        world.door_ready = self.before.public.door == "balancer"
        return world

    def move(self, world: TierWorld, term: int) -> Move:
        async def sleep(seconds: float) -> None:
            world.point("sleep")
            await asyncio.sleep(0)
            if world.dead:
                raise Crash
            world.advance(seconds)

        context: Any = TierContext(world, self.before, self.wanted, term)
        return self.make(Tier(context, sleep))


@dataclass
class Run:
    """How a move ended in a scene."""

    scene: Scene
    state: State
    world: TierWorld
    journal: ModelJournal

    @property
    def finished(self) -> bool:
        return self.state.result == "finished"


def converge_scene(runner: asyncio.Runner, scene: Scene, at: Mapping[int, str]) -> Run:
    """Movers follow each other until the move is closed; then time passes until everything has come to rest."""
    world = scene.world(at)
    journal = ModelJournal(world)
    state: State | None = None
    while state is None or not state.result:
        state = runner.run(_live(scene, world, journal))
    world.bring_up()
    world.dead = False
    world.come_to_rest()
    return Run(scene, state, world, journal)


async def _live(scene: Scene, world: TierWorld, journal: ModelJournal) -> State | None:
    world.dead = False
    world.bring_up()
    term = journal.epoch + 1
    move = scene.move(world, term)
    try:
        known = fold(journal.records)
        journal.append(Records.TERM if known.id else Records.BEGIN, {} if known.id else opening(move, "m-1"), term)
        return await walk(move, fold(journal.records), hands(world, journal, term))
    except Crash:
        return None


def check_run(run: Run) -> None:
    """Exactly the wanted or exactly the old topology, no process more or less, and the journal agrees."""
    scene, world = run.scene, run.world
    assert run.state.result in ("finished", "undone")
    assert fold(run.journal.records).result == run.state.result
    wanted = expected(scene) if run.finished else scene.before
    assert same(world.map, wanted), f"{run.state.result}: {world.map}\nis not\n{wanted}"
    running = {process.name: process for process in world.processes.values()}
    assert set(running) == {node.name for node in wanted.nodes}, f"{run.state.result}: {world.picture()}"
    for node in wanted.nodes:
        process = running[node.name]
        assert process.state == "running", world.picture()
        assert process.epoch == world.map.epoch, world.picture()
        assert process.node.version == node.version
        if world.strict and node.role == "web":
            assert process.settings == wanted.app, f"{node.name} runs with settings of another map"


def expected(scene: Scene) -> Map:
    """The wanted map with the addresses that only the move can know."""
    balanced = scene.wanted.public.door == "balancer"
    nodes = tuple(
        msgspec.structs.replace(node, address=f"127.0.0.1:{20000 + int(node.name.rpartition('-')[2])}")
        if node.role == "web" and balanced
        else node
        for node in scene.wanted.nodes
    )
    return msgspec.structs.replace(scene.wanted, nodes=nodes)


def same(one: Map, other: Map) -> bool:
    """Whether two maps say the same, whatever their epochs."""
    level = msgspec.structs.replace(other, epoch=one.epoch, step=step_of(other))
    return msgspec.json.encode(one) == msgspec.json.encode(level)
