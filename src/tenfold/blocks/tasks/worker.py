"""The worker of one process: claims jobs, runs them, and keeps its lease; nothing that happens to the database ends it.

claim (up to 100, as many as there is room for) -> a task each -> finishes, collected for 5 ms -> one commit
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

from tenfold.blocks.database import Database
from tenfold.blocks.tasks.bell import LANE, LATER, NEW, URGENT, Bell
from tenfold.blocks.tasks.claiming import Claiming
from tenfold.blocks.tasks.cron import Crons
from tenfold.blocks.tasks.finishing import Finish, Finishing
from tenfold.blocks.tasks.job import Ending, Job
from tenfold.blocks.tasks.leases import BEAT_S, LOOK_S, Leases
from tenfold.blocks.tasks.policy import BATCH, poll_s
from tenfold.blocks.tasks.running import Running
from tenfold.blocks.tasks.task import Task
from tenfold.blocks.tasks.upkeep import Upkeep
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.core.gauge import GAUGE
from tenfold.core.randomness import Randomness
from tenfold.core.retry import Backoff

SLOTS = 200
"""Jobs that run at once in one process."""

BUSY, PAUSE_S = 8, 0.003
"""After a claim of so many jobs the next one waits a moment, so that it finds as many: a claim is a commit."""

ROOM_S = 0.02
"""How long a claim waits for room for `BATCH` / 2 jobs, when there is room for fewer."""

UNWRITTEN = 1_000
"""Finishes that may wait to be written; beyond, no job is claimed."""

DRAIN_S = 5.0
"""How long `stop` waits for jobs that run; then they are cancelled and given back."""

WATCH_S = 0.05
HEAR_S = 0.02
"""How often an idle worker looks whether another process on the same file has told it of something."""

AGAIN = Backoff(first_s=0.1, limit_s=2.0)
Step = Callable[[], Awaitable[float]]

log = logging.getLogger("tenfold.tasks")


@dataclass(slots=True)
class Counted:
    """What a worker has done since the process began."""

    claimed: int = 0
    finished: int = 0
    failed: int = 0
    completed: int = 0
    stale: int = 0
    failed_steps: int = 0


@dataclass(frozen=True, slots=True)
class TaskStats:
    """The worker of a process in numbers: what runs, and what has happened since the process began."""

    running: int = field(metadata=GAUGE)
    unwritten: int = field(metadata=GAUGE)
    """Jobs that have ended, and of which that is not written down yet."""

    claimed: int
    finished: int
    """Attempts of which the end was written down: done, failed, snoozed or given back."""

    failed: int
    """Of these, how many failed."""

    completed: int
    """Attempts that a transaction of their own completed."""

    stale: int
    """Attempts of which the end was thrown away, because somebody else had the job."""

    returned: int
    """Jobs of dead workers that this one gave back."""

    hung_threads: int = field(metadata=GAUGE)
    """Threads whose function runs on after its job is over."""

    failed_steps: int
    """Steps of the worker that were tried again, because the database was away."""


class Worker:
    """Runs between `start` and `stop`, while `on`. Everything on one loop."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        tasks: Mapping[str, Task[Any, Any]],
        *,
        bell: Bell,
        crons: Crons,
    ) -> None:
        self.on = False
        self.counted = Counted()
        self.held: dict[str, Job] = {}
        """Jobs that this process has claimed and whose end is not written down."""
        self._database = database
        self._randomness = randomness
        self._tasks = tasks
        self._bell = bell
        self._crons = crons
        self.finishing = Finishing(database, randomness, self._settled)
        self.running = Running(clock, randomness, self._finish, self._ended)
        self.leases = Leases(database, clock, randomness, self._lost)
        self.claiming = Claiming(database, clock, tasks)
        self.upkeep = Upkeep(database, clock, tasks)
        self._loops: list[asyncio.Task[None]] = []
        self._claim_now = asyncio.Event()
        self._later_now = asyncio.Event()
        self._cron_now = asyncio.Event()
        self._room = asyncio.Event()
        self._empty = 0
        self._registering = asyncio.Lock()
        self._claiming = asyncio.Lock()
        bell.heard, bell.tell_others = self.hear, self._others_may_help

    # -- lifecycle ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins its loops; they do nothing while it is off."""
        if self._loops:
            return
        self._renew()
        self.running.ending = False
        steps: list[tuple[Step, asyncio.Event | None]] = [
            (self._claim_step, self._claim_now),
            (self._later_step, self._later_now),
            (self._beat_step, None),
            (self._look_step, None),
            (self._watch_step, None),
            (self._hear_step, None),
            (self._tell_step, None),
            (self._tidy_step, None),
            (self._cron_step, self._cron_now),
        ]
        create = asyncio.get_running_loop().create_task
        self._loops = [create(self._repeat(step, event), context=Context()) for step, event in steps]

    def _renew(self) -> None:
        """What is waited for belongs to one loop, and a service may be opened again in another."""
        self._claim_now, self._later_now, self._cron_now, self._room = (asyncio.Event() for _ in range(4))
        self._registering = asyncio.Lock()
        self._claiming = asyncio.Lock()
        self.finishing.renew()

    async def stop(self) -> None:
        """Claims no more, waits `DRAIN_S` for what runs, gives the rest back, writes down what is to be written."""
        self.on = False
        if not self._loops:
            return
        await self._drained()
        loops, self._loops = self._loops, []
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await self.finishing.flushed(DRAIN_S)
        self.finishing.stop()
        self.running.stop()
        if not self.held:
            try:
                async with asyncio.timeout(DRAIN_S):
                    await self.leases.leave()
            except (TenfoldError, TimeoutError):
                log.info("The worker's row stays; the next worker removes it.")

    async def _drained(self) -> None:
        with contextlib.suppress(TimeoutError):  # what is being claimed comes, and is given back
            async with asyncio.timeout(DRAIN_S), self._claiming:
                pass
        runners = list(self.running.jobs)
        if runners:
            await asyncio.wait(runners, timeout=DRAIN_S)
        self.running.interrupt()
        if self.running.jobs:
            await asyncio.wait(list(self.running.jobs), timeout=DRAIN_S)

    def work(self, on: bool) -> None:
        """Whether it claims jobs. What it has claimed runs on in any case."""
        self.on = on
        if on:
            self._empty = 0
            self._claim_now.set()
            self._later_now.set()
            self._cron_now.set()

    async def _repeat(self, step: Step, event: asyncio.Event | None) -> None:
        """A loop that survives everything: what fails is tried again, a little later each time."""
        failures = 0
        while True:
            try:
                wait_s = await step()
                failures = 0
            except Exception as error:  # noqa: BLE001 - the database may be away in many ways; it comes back
                failures += 1
                self.counted.failed_steps += 1
                _complain(error, failures)
                wait_s = AGAIN.wait_s(failures, self._randomness)
                await asyncio.sleep(wait_s)
                continue
            if event is None:
                await asyncio.sleep(wait_s)
            elif wait_s > 0:
                await _rung(event, wait_s)

    def stats(self) -> TaskStats:
        """Its numbers."""
        counted = self.counted
        return TaskStats(
            running=len(self.running.jobs),
            unwritten=len(self.finishing),
            claimed=counted.claimed,
            finished=counted.finished,
            failed=counted.failed,
            completed=counted.completed,
            stale=counted.stale,
            returned=self.leases.returned,
            hung_threads=len(self.running.threads.hung()),
            failed_steps=counted.failed_steps,
        )

    # -- told from outside --------------------------------------------------------------------------------------------

    def hear(self, what: str) -> None:
        """There is something to do; also told by others (see bell.py)."""
        if what == LATER:
            self._later_now.set()
            return
        if what == LANE:
            self.claiming.look_at_lanes()
        elif what == URGENT:
            self.claiming.look_from_the_beginning()
        self._empty = 0
        self._claim_now.set()

    def _others_may_help(self) -> bool:
        return not self.on or self._free() < BATCH // 2

    def cancel(self, job_id: str) -> None:
        """Asks a job to end, if it runs here."""
        job = self.held.get(job_id)
        if job is not None:
            self.running.cancel(job)

    # -- the loops ----------------------------------------------------------------------------------------------------

    def _free(self) -> int:
        return min(SLOTS - len(self.running.jobs), UNWRITTEN - len(self.held))

    async def _claim_step(self) -> float:
        self._claim_now.clear()
        if not self.on:
            return 3600.0
        await self._has_room()
        if not self.leases.id:
            await self._register()
        wanted = min(self._free(), BATCH)
        me = self.leases.id
        async with self._claiming:
            if not self.on:  # it was turned off while it waited for room: nobody would see what this claims
                return 0.0
            rows, may_be_more = await self.claiming.claim(me, wanted, threads=not self.running.threads.stuck)
            for row in rows:
                self._begin(row, wanted_here=self.on and self.leases.id == me)
        self.counted.claimed += len(rows)
        if may_be_more:
            await asyncio.sleep(0)  # those that were claimed begin before the next ones are looked for
            return 0.0
        if len(rows) >= BUSY:
            await asyncio.sleep(PAUSE_S)
        self._empty = 0 if rows else self._empty + 1
        return poll_s(self._empty)

    async def _has_room(self) -> None:
        """Waits until there is room for a job, and a moment longer for that of many."""
        while self._free() <= 0:
            self._room.clear()
            await self._room.wait()
        loop = asyncio.get_running_loop()
        until = loop.time() + ROOM_S
        while self._free() < BATCH // 2 and loop.time() < until:
            self._room.clear()
            await _rung(self._room, until - loop.time())

    def _begin(self, row: Any, *, wanted_here: bool) -> None:
        job = Job(row)
        before = self.held.get(job.id)
        if before is not None:
            self.running.stale(before)
        self.held[job.id] = job
        if not wanted_here:  # it was turned off, or taken for dead, while they were being claimed
            self.running.give_back(job)
            return
        self.running.begin(job, self._tasks.get(job.name), self.claiming.token)

    async def _register(self) -> None:
        async with self._registering:
            if not self.leases.id:
                await self.leases.register()
                await self.leases.look()

    async def _later_step(self) -> float:
        self._later_now.clear()
        if not self.on:
            return 3600.0
        count, wait_s = await self.upkeep.promote()
        if count:
            self.claiming.look_from_the_beginning()
            self.hear(NEW)
        return wait_s

    async def _beat_step(self) -> float:
        if self.leases.id and await self.leases.beat():
            await self._compare()
        return BEAT_S

    async def _compare(self) -> None:
        """What this process runs, with what the database says that it runs."""
        before = {(job.id, job.epoch) for job in self.running.jobs.values() if job.ending is Ending.RUNNING}
        known = {(job.id, job.epoch) for job in self.held.values()}
        rows = await self.leases.held()
        theirs = {(name, epoch) for name, (epoch, _) in rows.items()}
        known |= {(job.id, job.epoch) for job in self.held.values()}
        lost, strays = self.leases.compared(before - theirs, theirs - known)
        for job in list(self.running.jobs.values()):
            if (job.id, job.epoch) in lost:
                self.running.stale(job)
                self._forget(job)
            elif rows.get(job.id, (0, False)) == (job.epoch, True) and not job.asked:
                self.running.cancel(job)
        for name, epoch in strays:
            await self.upkeep.give_back(name, epoch)

    async def _look_step(self) -> float:
        if self.on and self.leases.id and await self.leases.look():
            self.claiming.look_at_lanes()
            self.claiming.look_from_the_beginning()
            self._bell.ring(URGENT)
        return LOOK_S

    async def _watch_step(self) -> float:
        self.running.look_at_the_time()
        return WATCH_S

    async def _hear_step(self) -> float:
        if self._free() > 0:
            self._database.catch_up()
        return HEAR_S

    async def _tell_step(self) -> float:
        """Writes down how far jobs are."""
        for job in list(self.running.jobs.values()):
            if job.dirty and job.ending is Ending.RUNNING:
                job.dirty = False
                await self.upkeep.tell(job)
        return 0.5

    async def _tidy_step(self) -> float:
        if self.on and await self.upkeep.tidy():
            self.hear(NEW)
        return 5.0

    async def _cron_step(self) -> float:
        self._cron_now.clear()
        return await self._crons.step() if self.on else 3600.0

    # -- ends ---------------------------------------------------------------------------------------------------------

    def _finish(self, finish: Finish) -> None:
        if finish.job.ending is Ending.RUNNING:
            self.finishing.add(finish)

    def _ended(self, job: Job) -> None:
        """Its runner is over; its end may still have to be written."""
        if job.ending is not Ending.RUNNING:
            self._forget(job)
            self.counted.completed += job.ending is Ending.COMPLETED
        self._room.set()

    def _settled(self, job: Job, counted: bool) -> None:
        self._forget(job)
        if counted:
            self.counted.finished += 1
            self.counted.failed += job.failed
        else:
            self.counted.stale += 1
        if job.lane:
            self._bell.tell(LANE)
            self.hear(LANE)
        if job.later:
            self._later_now.set()
        self._room.set()

    def _forget(self, job: Job) -> None:
        if self.held.get(job.id) is job:
            del self.held[job.id]

    def _lost(self) -> None:
        """This worker was taken for dead: what it runs was given to others."""
        log.warning("This worker was silent for too long; its %d jobs were given to others.", len(self.held))
        for job in list(self.held.values()):
            self.running.stale(job)
            self._forget(job)


async def _rung(event: asyncio.Event, limit_s: float) -> None:
    """Waits until the event, or for so long; cheaper than a timeout around it."""
    if event.is_set():
        return
    timer = asyncio.get_running_loop().call_later(limit_s, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()


def _complain(error: Exception, failures: int) -> None:
    if failures == 1:
        trace = None if isinstance(error, TenfoldError) else error
        log.warning("A step of the worker failed, and is tried again: %s", error, exc_info=trace)
