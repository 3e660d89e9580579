"""One mover's view of the world of `fake_tier`: it implements `tenfold.moves.context.Context`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from fake_world import Broken, TierWorld
from move_model import Crash

from tenfold.core.errors import TenfoldError
from tenfold.moves.context import NodeFacts, Phase, PublishResult
from tenfold.topology.map import Map, next_map
from tenfold.topology.steps import step_of
from tenfold.topology.working import coded


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
        """Clients and jobs are sent to nobody who is not ready."""
        for node in coded(made):
            was = self.world.map.node(node.name)
            if node.traffic == "on" and (was is None or was.traffic == "off"):
                if node.version in self.world.bad:
                    raise Broken(f"{node.name} gets traffic and has bad code")
                process = self.world.processes.get(node.name)
                if process is None:
                    raise Broken(f"{node.name} gets traffic and does not run")
                if not self.world.serves(process):
                    raise Broken(f"{node.name} gets traffic and is not ready")

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
        codes = {process.node.version for process in world.processes.values() if process.role != "balancer"}
        if phase == "contract":
            if not codes <= {version}:
                raise Broken(f"what {codes} need is taken away")
        else:
            known = {node.version for node in coded(self.before)}
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
