"""Faults, and undoing them: kill, pause, restart of a node or of the keeper, a clock step, a full disk.

What has to be undone is written to disk before the fault is made, so that `tenfold heal` repairs what a killed prover
left behind. A fault says whether it had an effect; one that had none makes the run vacuous. The seam for hosts,
networks and disks: a function in `KINDS`.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from tenfold.core.clock import Clock
from tenfold.core.errors import Unavailable, UsageError
from tenfold.core.files import atomic_write
from tenfold.hosts.identity import Identity, identity_of, is_alive, open_pidfd, send_signal
from tenfold.prove.client import Connection, Target
from tenfold.prove.schedule import Amount
from tenfold.prove.workloads.base import JSON, PROBE, Request

BACK_WITHIN_S = 30.0
LOOK_S = 0.02
KEEPER = "keeper"
DATABASE = "database"
CLOCK_BACK_S = 2.0
CLOCK_TRIES = 500
FILLER = "filler"
SMALL_DISK = 1 << 30


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A running node: its name, its role, its process."""

    name: str
    role: str
    pid: int
    ready: bool


class Deployment(Protocol):
    """What faults need of the deployment. The methods block; they are called beside the loop."""

    @property
    def state(self) -> Path:
        """The state directory."""
        ...

    def nodes(self) -> list[NodeFacts]:
        """The nodes that run, the keeper among them by the name `keeper`."""
        ...

    def bring_up(self) -> None:
        """Starts what is missing, as `tenfold up` does; returns when the service answers."""
        ...


@dataclass(frozen=True, slots=True)
class Undo:
    """One line of the undo list: continue a paused process, or bring up what was killed."""

    kind: str
    target: str
    pid: int = 0
    start_ticks: int = 0
    boot: str = ""


class UndoList:
    """What has to be undone, on disk before it is done. One prover at a time."""

    def __init__(self, state: Path) -> None:
        self.path = state / "run" / "undo.json"

    def read(self) -> list[Undo]:
        """What stands in it; empty without a file."""
        try:
            return [Undo(**entry) for entry in json.loads(self.path.read_text("utf-8"))]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"The undo list {self.path} is damaged: {error}.",
                hint="Continue stopped processes by hand (kill -CONT), run `tenfold up`, then remove the file.",
            ) from None

    def add(self, undo: Undo) -> None:
        """Adds a line; it is on the disk when this returns."""
        self._write([*self.read(), undo])

    def remove(self, undo: Undo) -> None:
        """Takes a line away once it is undone."""
        self._write([entry for entry in self.read() if entry != undo])

    def _write(self, entries: Sequence[Undo]) -> None:
        atomic_write(self.path, json.dumps([asdict(entry) for entry in entries]).encode())


def select(nodes: Sequence[NodeFacts], target: str) -> list[NodeFacts]:
    """The nodes that a target means: a node's name, or a role. `UsageError` names what there is."""
    found = [node for node in nodes if target in (node.name, node.role)]
    if not found:
        known = ", ".join(sorted({name for node in nodes for name in (node.name, node.role)})) or "none"
        raise UsageError(f"There is no node or role {target!r}.", hint=f"Running here: {known}.")
    return found


def share(nodes: Sequence[NodeFacts], amount: Amount, turn: int = 0) -> list[NodeFacts]:
    """One of the nodes, fewer than half of them (at least one), or all. With every `turn` another one comes first."""
    count = {"one": 1, "minority": max(1, (len(nodes) - 1) // 2), "all": len(nodes)}[amount]
    first = turn % len(nodes)
    return [*nodes[first:], *nodes[:first]][:count]


def is_balanced(nodes: Sequence[NodeFacts]) -> bool:
    """Whether balancers stand before at least two web servers that are ready."""
    ready = [node.role for node in nodes if node.ready]
    return "balancer" in ready and ready.count("web") > 1


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a fault: whether it was seen to do something, the role of its victims, and whether balancers stood
    before several web servers then."""

    effect: bool
    detail: str
    role: str = ""
    balanced: bool = False


class Faults:
    """Makes faults in one deployment and undoes them."""

    def __init__(self, deployment: Deployment, clock: Clock, target: Target | None = None) -> None:
        """`target` is where the probe answers; without it clocks cannot be stepped."""
        self._deployment = deployment
        self._clock = clock
        self._target = target
        self._strikes: Callable[[], object] = lambda: None
        self._fell: Callable[[], object] = lambda: None
        self._made = 0
        self.undo_list = UndoList(deployment.state)

    async def make(
        self,
        kind: str,
        target: str,
        for_s: float = 0.0,
        *,
        amount: Amount = "one",
        strikes: Callable[[], object] = lambda: None,
        fell: Callable[[], object] = lambda: None,
    ) -> Made:
        """Makes a fault on one, a minority or all of the nodes that `target` means, at the same time.

        Undoes it after `for_s` where it lasts, and returns when the deployment is whole again. `strikes` is called
        right before the fault (of several, the first): what comes before, finding the victim and writing the undo list,
        excuses nothing. `fell` is called when a killed victim is gone (of several, the last).
        """
        if kind not in KINDS:
            raise UsageError(f"There is no fault {kind!r}.", hint=f"There are: {', '.join(KINDS)}.")
        nodes = await asyncio.to_thread(self._deployment.nodes)
        victims = share(select(nodes, target), amount, self._made)
        self._made += 1
        self._strikes, self._fell = strikes, fell
        made = await asyncio.gather(*(self._on(kind, victim, for_s) for victim in victims))
        detail = "; ".join(each.detail for each in made)
        return Made(all(each.effect for each in made), detail, victims[0].role, is_balanced(nodes))

    async def _on(self, kind: str, victim: NodeFacts, for_s: float) -> Made:
        identity = identity_of(victim.pid)
        if identity is None:
            return Made(False, f"{victim.name} was gone already")
        return await KINDS[kind](self, victim, identity, for_s)

    async def kill(self, victim: NodeFacts, identity: Identity, for_s: float) -> Made:
        """SIGKILL; the keeper brings the node back, and a killed keeper is brought back by `up`."""
        undo = Undo("up", victim.name)
        self.undo_list.add(undo)
        self._strikes()
        _signal(identity, signal.SIGKILL)
        await self._until(lambda: not is_alive(identity))
        self._fell()
        began = self._clock.monotonic()
        if victim.name == KEEPER:
            await asyncio.to_thread(self._deployment.bring_up)
        await self._replaced(victim)
        self.undo_list.remove(undo)
        return Made(True, f"pid {identity.pid} killed, whole again after {self._clock.monotonic() - began:.2f} s")

    async def pause(self, victim: NodeFacts, identity: Identity, for_s: float) -> Made:
        """SIGSTOP for `for_s`, then SIGCONT."""
        undo = Undo("continue", victim.name, identity.pid, identity.start_ticks, identity.boot)
        self.undo_list.add(undo)
        try:
            self._strikes()
            _signal(identity, signal.SIGSTOP)
            await self._until(lambda: _state(identity.pid) == "T" or not is_alive(identity))
            await asyncio.sleep(for_s)
            stopped = _state(identity.pid) == "T"
        finally:
            _signal(identity, signal.SIGCONT)
        self.undo_list.remove(undo)
        return Made(stopped, f"pid {identity.pid} stood still for {for_s:g} s")

    async def restart(self, victim: NodeFacts, identity: Identity, for_s: float) -> Made:
        """The node is asked to end and does, the keeper starts it again. A database server gets SIGINT: on SIGTERM it
        would wait until its clients have left, and ours stay."""
        undo = Undo("up", victim.name)
        self.undo_list.add(undo)
        self._strikes()
        _signal(identity, signal.SIGINT if victim.role == DATABASE else signal.SIGTERM)
        await self._until(lambda: not is_alive(identity))
        await asyncio.to_thread(self._deployment.bring_up)
        await self._replaced(victim)
        self.undo_list.remove(undo)
        return Made(True, f"pid {identity.pid} ended and was replaced")

    async def clock_step(self, victim: NodeFacts, identity: Identity, for_s: float) -> Made:
        """Sets the clock of a process with a probe back by `CLOCK_BACK_S` for `for_s`, then right again."""
        undo = Undo("clock", victim.name)
        self.undo_list.add(undo)
        try:
            self._strikes()
            stepped = await self._put_clock_off(victim.name, -CLOCK_BACK_S)
            await asyncio.sleep(for_s)
        finally:
            healed = await self._put_clock_off(victim.name, 0.0)
        if healed:
            self.undo_list.remove(undo)
        return Made(stepped and healed, f"the clock of {victim.name} stood {CLOCK_BACK_S:g} s back for {for_s:g} s")

    async def _put_clock_off(self, node: str, seconds: float) -> bool:
        """Asks until the process of that name has heard it: behind balancers, any of them may answer."""
        if self._target is None or not self._target.secret:
            return False
        body = json.dumps({"offset_s": seconds, "node": node}).encode()
        request = Request("POST", f"{PROBE}clock", "clock", "", headers=JSON, body=body)
        for _ in range(CLOCK_TRIES):
            connection = Connection(self._target.host, self._target.port)
            heard = await connection.exchange(request, {"tf-probe": self._target.secret})
            await connection.aclose()
            if heard.answer is None or heard.answer.status != 200:
                return False
            said = heard.answer.json()
            if isinstance(said, dict) and said.get("node") == node:
                return True
        return False

    async def disk_full(self, victim: NodeFacts, identity: Identity, for_s: float) -> Made:
        """Fills the file system of the state directory for `for_s`; only where it is a small one of its own."""
        filler = self._deployment.state / FILLER
        size = os.statvfs(self._deployment.state)
        if size.f_blocks * size.f_frsize > SMALL_DISK:
            raise UsageError(
                "The state directory is not on a small file system of its own, and a shared disk is not filled.",
                hint="Put it on a tmpfs or loop image below 1 GB (needs root).",
            )
        undo = Undo("disk", victim.name)
        self.undo_list.add(undo)
        try:
            self._strikes()
            full = await asyncio.to_thread(_fill, filler)
            await asyncio.sleep(for_s)
        finally:
            filler.unlink(missing_ok=True)
        self.undo_list.remove(undo)
        return Made(full, f"no room in {self._deployment.state} for {for_s:g} s")

    async def heal(self) -> list[str]:
        """Undoes everything on the list, also what another prover left; says what was done."""
        done = []
        for undo in self.undo_list.read():
            done.append(await self._undo(undo))
            self.undo_list.remove(undo)
        return done

    async def _undo(self, undo: Undo) -> str:
        if undo.kind == "continue":
            identity = Identity(undo.pid, undo.start_ticks, undo.boot)
            if not is_alive(identity):
                return f"{undo.target}: pid {undo.pid} is gone, nothing to continue"
            _signal(identity, signal.SIGCONT)
            return f"{undo.target}: pid {undo.pid} continued"
        if undo.kind == "clock":
            await self._put_clock_off(undo.target, 0.0)  # a process that was replaced since has the right time anyway
            return f"{undo.target}: its clock is right again"
        if undo.kind == "disk":
            (self._deployment.state / FILLER).unlink(missing_ok=True)
            return "the disk has room again"
        await asyncio.to_thread(self._deployment.bring_up)
        return f"{undo.target}: brought up"

    async def _replaced(self, victim: NodeFacts) -> None:
        """Waits until the node of that name is there again, with another process, and ready."""

        def back() -> bool:
            return any(
                node.name == victim.name and node.pid != victim.pid and node.ready for node in self._deployment.nodes()
            )

        await self._until(back)

    async def _until(self, happened: Callable[[], bool]) -> None:
        until = self._clock.monotonic() + BACK_WITHIN_S
        while not await asyncio.to_thread(happened):
            if self._clock.monotonic() > until:
                raise Unavailable(
                    f"The deployment did not become whole again within {BACK_WITHIN_S:g} s.",
                    hint="Look with `tenfold status` and `tenfold logs`, then run `tenfold heal`.",
                )
            await asyncio.sleep(LOOK_S)


Make = Callable[[Faults, NodeFacts, Identity, float], Awaitable[Made]]

KINDS: dict[str, Make] = {
    "kill": Faults.kill,
    "pause": Faults.pause,
    "restart": Faults.restart,
    "clock-step": Faults.clock_step,
    "disk-full": Faults.disk_full,
}


def _fill(path: Path) -> bool:
    """Writes until there is no room; whether that was reached."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    return True


def _signal(identity: Identity, number: int) -> None:
    """Sends a signal to exactly this process, never to another that got its number."""
    pidfd = open_pidfd(identity)
    if pidfd is None:
        return
    try:
        send_signal(pidfd, number)
    finally:
        os.close(pidfd)


def _state(pid: int) -> str:
    """The state letter of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""
