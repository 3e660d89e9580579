"""One proof: load while faults are made, healing, final reads, checkers, verdicts.

The run itself decides nothing about promises: workloads bring their checkers, `judging` judges what concerns the
deployment as a whole (requests that nobody may lose, moves, kills), and this module adds healing.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError, UsageError
from tenfold.core.randomness import Randomness
from tenfold.drivers.sqlite import open_reader
from tenfold.prove.client import Target
from tenfold.prove.connections import Ground, Visitors
from tenfold.prove.faults import Deployment, Faults, Made
from tenfold.prove.history import History, Window, read_history
from tenfold.prove.judging import judge_requests
from tenfold.prove.load import Load, Reached
from tenfold.prove.moves import KINDS as MOVES
from tenfold.prove.moves import Movable, Mover
from tenfold.prove.schedule import Planned
from tenfold.prove.verdict import Finder, Sometimes, Verdict, combine, faults_took_effect, judge, not_run
from tenfold.prove.workloads import KNOWN, Workload

HEALED_WITHIN_S = 60.0
DISK_NOT_RUN = "needs --disk-full, and the state on a small file system of its own (root makes one)"
VISITORS_FROM = 1_000_000_000
"""Clients of connections are numbered from here, far above those of the load."""


@dataclass(frozen=True)
class Order:
    """What is to be run: rate in requests a second, faults by the schedule, workloads by name. `connections`: whether
    clients of every kind of connection come beside the load; they speak to the probe."""

    seed: int
    rate: float
    seconds: float
    faults: tuple[Planned, ...]
    workloads: tuple[str, ...]
    database: Path | None = None
    """The SQLite file whose integrity is checked at the end."""
    connections: bool = False


@dataclass
class Outcome:
    """What a run came to. `partial`: it was interrupted, and judged as far as it went."""

    verdicts: list[Verdict]
    reached: Reached | None = None
    partial: bool = False
    notes: list[str] = field(default_factory=list)


@dataclass
class _Healing:
    """What is known about the end of the run."""

    healed: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    faults: int = 0


Say = Callable[[str], None]


class Provable(Deployment, Movable, Protocol):
    """A deployment under proof: faults are made in it, and it can be moved."""


class Proof:
    """One run against one deployment; its history goes to `history_path`."""

    def __init__(
        self,
        order: Order,
        target: Target,
        deployment: Provable,
        history_path: Path,
        *,
        clock: Clock,
        randomness: Randomness,
        say: Say = lambda text: None,
    ) -> None:
        self._order = order
        self._clock = clock
        self._say = say
        self._history_path = history_path
        self._history = History(history_path, order.seed, {"rate": order.rate, "seconds": order.seconds})
        run = f"r{order.seed:x}-{clock.wall_us():x}"  # not of the seed alone: the same seed again is another run
        self._workloads = [make_workload(name, run) for name in order.workloads]
        self._load = Load(target, self._workloads, self._history.add, clock=clock, randomness=randomness)
        self._visitors = self._made_visitors(target, run, randomness) if order.connections else None
        self._faults = Faults(deployment, clock, target)
        self._mover = Mover(deployment, clock)
        self._deployment = deployment
        self._healing = _Healing()
        self._integrity: list[Verdict] = []
        self._load_is_over = False

    def _made_visitors(self, target: Target, run: str, randomness: Randomness) -> Visitors:
        numbers = itertools.count(VISITORS_FROM)
        return Visitors(Ground(target, run, self._history.add, self._load.now_us, randomness, numbers))

    async def run(self) -> Outcome:
        """Runs to the end, or until cancelled: then what was made is undone and what was seen is judged."""
        try:
            return await self._run()
        finally:
            if self._visitors is not None:
                await self._visitors.abandon()

    async def _run(self) -> Outcome:
        reached, partial = None, False
        injecting = asyncio.create_task(self._inject())
        if self._visitors is not None:
            self._visitors.start()
        try:
            reached = await self._load.run(self._order.rate, self._order.seconds)
            self._load_is_over = True
            await injecting
        except asyncio.CancelledError:
            partial = True
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            injecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await injecting
        if self._visitors is not None:
            self._healing.trouble += await self._visitors.stop()
        await self._heal()
        if not partial:
            self._healing.trouble += [f"never answered: {each}" for each in await self._final_reads()]
        await self._load.close()
        self._check_database()
        self._history.close()
        return self._judged(reached, partial)

    async def _final_reads(self) -> list[str]:
        missing = await self._load.final_reads()
        return missing + (await self._visitors.final_reads() if self._visitors is not None else [])

    async def _inject(self) -> None:
        began = self._clock.monotonic()
        for number, planned in enumerate(self._order.faults):
            await asyncio.sleep(max(0.0, began + planned.at_s - self._clock.monotonic()))
            if self._load_is_over:  # a fault without load proves nothing
                left = len(self._order.faults) - number
                self._healing.healed.append(
                    f"{left} faults did not fit into the run: this machine was too slow for them"
                )
                return
            await self._make(planned)

    async def _make(self, planned: Planned) -> None:
        start, gone, struck = self._load.now_us(), 0, False

        def fell() -> None:
            nonlocal gone
            gone = self._load.now_us()

        def strikes() -> None:  # looking for the victim takes its time, and excuses nothing
            nonlocal start, struck
            if not struck:
                start, struck = self._load.now_us(), True

        try:
            made = await self._made(planned, strikes, fell)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, the run goes on and says so
            made = Made(False, f"{type(error).__name__}: {error}")
            self._healing.trouble.append(f"{planned.kind} {planned.target}: {made.detail}")
        self._healing.faults += 1
        self._history.add_window(
            Window(
                kind=planned.kind,
                target=planned.target,
                start_us=start,
                end_us=self._load.now_us(),
                effect=made.effect,
                detail=made.detail,
                fell_us=gone,
                role=made.role,
                balanced=made.balanced,
            )
        )
        self._say(f"{planned.kind} {planned.target}: {made.detail}")

    async def _made(self, planned: Planned, strikes: Callable[[], None], fell: Callable[[], None]) -> Made:
        if planned.kind in MOVES:
            return await self._mover.make(planned.kind, planned.target, strikes=strikes)
        return await self._faults.make(
            planned.kind, planned.target, planned.for_s, amount=planned.amount, strikes=strikes, fell=fell
        )

    async def _heal(self) -> None:
        """Undoes what is left, and waits until everything runs and is ready."""
        began = self._clock.monotonic()
        try:
            self._healing.healed += await self._faults.heal()
            while not await asyncio.to_thread(self._whole):
                if self._clock.monotonic() - began > HEALED_WITHIN_S:
                    self._healing.trouble.append(f"not whole {HEALED_WITHIN_S:g} s after the last fault")
                    return
                await asyncio.sleep(0.1)
        except TenfoldError as error:
            self._healing.trouble.append(str(error))

    def _whole(self) -> bool:
        nodes = self._deployment.nodes()
        return any(node.role == "keeper" for node in nodes) and all(node.ready for node in nodes)

    def _check_database(self) -> None:
        path = self._order.database
        if path is None:
            return
        try:
            with contextlib.closing(open_reader(path)) as connection:
                found = connection.execute("PRAGMA integrity_check").fetchone()[0]
        except (TenfoldError, sqlite3.Error) as error:
            found = str(error)
        finder = Finder()
        if found != "ok":
            finder.add("damaged", str(path), f"integrity_check: {found}")
        self._integrity = [judge("P1", finder.findings("integrity_check", 1, "databases"), workload="database")]

    def _judged(self, reached: Reached | None, partial: bool) -> Outcome:
        recording = read_history(self._history_path)
        happened = [] if partial or not self._order.faults else faults_took_effect(recording.windows)
        parts = [verdict for workload in self._workloads for verdict in workload.check(recording)]
        parts += [*judge_requests(recording, happened), *self._integrity]
        if all(planned.kind != "disk-full" for planned in self._order.faults):
            parts.append(not_run("P1", DISK_NOT_RUN, workload="disk full"))
        if not partial:
            parts.append(self._healed())
        return Outcome(combine(parts), reached, partial, self._healing.healed)

    def _healed(self) -> Verdict:
        finder = Finder()
        for sentence in self._healing.trouble:
            finder.add("not-healed", "", sentence)
        made = [Sometimes("a fault to heal from", self._healing.faults)] if self._order.faults else []
        findings = finder.findings("healing", max(1, self._healing.faults), "faults")
        return judge("P10", findings, workload="deployment", sometimes=made)


def make_workload(name: str, run: str) -> Workload:
    """A workload by its name; `UsageError` names those there are."""
    try:
        return KNOWN[name](run)
    except KeyError:
        raise UsageError(f"There is no workload {name!r}.", hint=f"There are: {', '.join(KNOWN)}.") from None


def recheck(path: Path, workloads: Sequence[str]) -> list[Verdict]:
    """The verdicts over a saved history, by the checkers of today; `SpecError` when the file is damaged."""
    recording = read_history(path)
    names = [name for name in workloads if recording.of(name)]
    parts = [verdict for name in names for verdict in make_workload(name, "recheck").check(recording)]
    return combine([*parts, *judge_requests(recording, [])])
