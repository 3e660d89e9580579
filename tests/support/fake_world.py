"""The world of `fake_tier`: keeper, processes, maps, and what befalls them, in virtual time.

What must hold is looked at after every step of any process, so a move that breaks it for a moment is caught.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from move_model import Crash, World

from tenfold.core.clock import ManualClock
from tenfold.core.errors import Unavailable
from tenfold.topology.map import Map, NodeMap
from tenfold.topology.working import coded, works

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
        lives_s = self.bad.get(process.node.version) if process.role != "balancer" else None
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
        self._look_at_jobs()
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

    def _look_at_jobs(self) -> None:
        """By the newest map somebody who works runs the jobs."""
        working = [node.name for node in coded(self.map) if works(self.map, node.name)]
        if not any(name in self.processes and self.serves(self.processes[name]) for name in working):
            raise Broken(f"nobody runs jobs: {self.picture()}")

    def picture(self) -> str:
        lines = [
            f"{process.name}: {process.state}, epoch {process.epoch}, accepts {self.accepts(process)}"
            for process in self.processes.values()
        ]
        nodes = [f"{node.name} {node.traffic} {node.address}" for node in self.map.nodes]
        return "; ".join([f"map {self.map.epoch}, door {self.map.public.door}", *nodes, *lines, *self.trail[-12:]])
