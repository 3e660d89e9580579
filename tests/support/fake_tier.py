"""A deployment in virtual time, for moves of web servers, workers and balancers.

Time passes at every *point* (before and after every call of a move and every record of the journal) and while something
is waited for. `World.at` says what happens at which point: besides what `move_model.World` knows, `kill NODE`, `nap
NODE` (it stands still for 40 s), `refuse NODE` (it answers, and takes no map over for 40 s), `keeper` (the keeper is
killed; another comes after 2 s), `resume` (the controller starts what the map has and stops what it has not), `reboot`
(everything is killed, then brought up by the map). The world itself is in fake_world.py, a mover's view of it in
fake_context.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from fake_context import TierContext
from fake_world import Broken, TierWorld
from move_model import Crash, ModelJournal, hands

from tenfold.moves.base import Kind as Records
from tenfold.moves.base import Move, State, fold
from tenfold.moves.driver import opening, walk
from tenfold.moves.nodes.tier import Tier
from tenfold.topology.map import Map
from tenfold.topology.steps import step_of
from tenfold.topology.working import CODED

__all__ = ["Broken", "Run", "Scene", "check_run", "converge_scene"]

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
        if world.strict and node.role in CODED:
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
