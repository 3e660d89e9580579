"""Running one attempt of a job to its outcome."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

import msgspec

from tenfold.blocks.database.scope import RequestScope, enter_scope
from tenfold.blocks.database.token import Token
from tenfold.blocks.tasks import statements as sql
from tenfold.blocks.tasks.finishing import Finish
from tenfold.blocks.tasks.job import Ending, Job, Told, enter_job, storable, telling
from tenfold.blocks.tasks.policy import State
from tenfold.blocks.tasks.task import Task
from tenfold.blocks.tasks.threads import Threads
from tenfold.core.clock import Clock
from tenfold.core.errors import ContractError
from tenfold.core.randomness import Randomness
from tenfold.core.trace import Traces, parse_traceparent
from tenfold.core.units import format_duration

GRACE_S = 5.0
"""How long a job that was cancelled at its timeout may take to end; after that it is over without it."""

RESULT_LIMIT = 60_000

log = logging.getLogger("tenfold.tasks")


class Running:
    """The jobs that run in this process. `ended(job)` is called when a runner has ended, `finish` with the outcome."""

    def __init__(
        self, clock: Clock, randomness: Randomness, finish: Callable[[Finish], None], ended: Callable[[Job], None]
    ) -> None:
        self.jobs: dict[asyncio.Task[None], Job] = {}
        self.threads = Threads()
        self.ending = False
        """Whether the worker stops: what is cancelled now is given back."""
        self._clock = clock
        self._randomness = randomness
        self._traces = Traces(randomness)
        self._finish = finish
        self._ended = ended

    def begin(self, job: Job, task: Task[Any, Any] | None, token: Token) -> None:
        """Starts an attempt, or decides without one: of an unknown name, cancelled, with arguments that do not fit."""
        job.task = task
        if task is None:
            self._put_back(job, State.UNKNOWN, job.lane)
        elif job.asked:
            self._finish(Finish(job))
        elif task.lane and not job.lane:  # it got its limit after the job was enqueued
            self._put_back(job, State.READY, task.lane)
        else:
            self._start(job, task, token)

    def _start(self, job: Job, task: Task[Any, Any], token: Token) -> None:
        try:
            args, kwargs = task.codec.decode(job.payload)
        except (msgspec.MsgspecError, ContractError) as error:
            job.failed = True
            self._dead(job, f"Its arguments do not fit the function any more: {error}")
            return
        job.deadline = self._clock.monotonic() + task.options.timeout_us / 1e6
        run = self._run(job, task, token, args, kwargs)
        job.runner = asyncio.get_running_loop().create_task(run, context=Context())
        self.jobs[job.runner] = job

    async def _run(self, job: Job, task: Task[Any, Any], token: Token, args: Any, kwargs: Any) -> None:
        enter_job(job)
        scope = RequestScope(request_id=job.id, token=token)
        if job.trace is not None:  # else it begins one of its own, if it ever asks for it
            scope.trace = self._traces.next(parse_traceparent(job.trace))
        enter_scope(scope)
        runner = job.runner
        assert runner is not None, "it is set before its first step"
        try:
            if task.is_async:
                result = await task.function(*args, **kwargs)
            else:
                result = await self._beside(job, task, args, kwargs)
            self._returned(job, task, result)  # here, so that what cannot be written down fails the job
        except asyncio.CancelledError:
            self._interrupted(job, task)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a task function raises is its failure
            self._failed(job, task, error)
        finally:
            del self.jobs[runner]
            self._ended(job)

    async def _beside(self, job: Job, task: Task[Any, Any], args: Any, kwargs: Any) -> Any:
        """A blocking function, in a thread. It cannot be stopped: at its timeout it goes on, and counts no more."""
        context = copy_context()

        def call() -> Any:
            job.deadline = self._clock.monotonic() + task.options.timeout_us / 1e6  # its turn came only now
            return context.run(task.function, *args, **kwargs)

        job.deadline = float("inf")
        return await self.threads.run(job, call)

    def stop(self) -> None:
        """Waits for no thread."""
        self.threads.stop()

    # -- from outside -------------------------------------------------------------------------------------------------

    def look_at_the_time(self) -> None:
        """Ends what has run for too long; called every 50 ms or so."""
        now = self._clock.monotonic()
        for runner, job in list(self.jobs.items()):
            if now < job.deadline:
                continue
            if not job.late:
                job.late = True
                job.deadline = now + GRACE_S
                runner.cancel()
            elif job.ending is Ending.RUNNING and job.task is not None:  # it does not listen
                job.deadline = float("inf")
                self._failed(job, job.task, _timeout(job.task))
                job.ending = Ending.STALE
        if self.threads.look():
            self._give_back_what_waits()

    def _give_back_what_waits(self) -> None:
        """Jobs that wait for a thread while all hang: elsewhere there may be one."""
        for runner, job in list(self.jobs.items()):
            waits = job.task is not None and not job.task.is_async and not self.threads.has(job)
            if waits and job.ending is Ending.RUNNING and not job.late and not job.asked:
                self._put_back(job, State.READY, job.lane)
                job.ending = Ending.STALE
                runner.cancel()

    def cancel(self, job: Job) -> None:
        """Somebody asked to cancel it."""
        job.asked = True
        if job.runner is not None:
            job.runner.cancel()

    def stale(self, job: Job) -> None:
        """It does not count any more."""
        job.ending = Ending.STALE
        if job.runner is not None:
            job.runner.cancel()

    def give_back(self, job: Job) -> None:
        """It has not begun, and will not begin here."""
        self._put_back(job, State.READY, job.lane)

    def interrupt(self) -> None:
        """Cancels all of them, to give them back."""
        self.ending = True
        for runner in list(self.jobs):
            runner.cancel()

    # -- outcomes -----------------------------------------------------------------------------------------------------

    def _interrupted(self, job: Job, task: Task[Any, Any]) -> None:
        if job.ending is not Ending.RUNNING:
            return
        if job.asked:
            self._finish(Finish(job))
        elif job.late:
            self._failed(job, task, _timeout(task))
        elif self.ending:
            self._put_back(job, State.READY, job.lane)
        else:
            self._failed(job, task, asyncio.CancelledError("the task function cancelled itself"))

    def _returned(self, job: Job, task: Task[Any, Any], result: Any) -> None:
        if job.ending is not Ending.RUNNING:
            return
        if job.snoozed_us is not None:
            self._again(job, task, job.snoozed_us, unspent=1, told=job.told or Told())
        elif task.options.keep_us:
            until = self._clock.wall_us() + task.options.keep_us
            values = {"to": int(State.DONE), "to_rank": until, "telling": telling(_with_result(job, result))}
            self._finish(Finish(job, sql.CLOSE, values))
        else:
            self._finish(Finish(job))

    def _failed(self, job: Job, task: Task[Any, Any], error: BaseException) -> None:
        if job.ending is not Ending.RUNNING:
            if job.ending is Ending.COMPLETED:
                log.error("Job %s (%s) failed after it was completed.", job.id, job.name, exc_info=error)
            return
        job.failed = True
        retry = task.options.retry
        text = storable(f"{type(error).__name__}: {error}")
        if retry.goes_on(job.attempt, error):
            wait_s = retry.wait_s(job.attempt, self._randomness)
            log.info("Job %s (%s), attempt %d, failed: %s", job.id, job.name, job.attempt, text)
            self._again(job, task, round(wait_s * 1e6), unspent=0, told=Told(error=text))
        else:
            log.warning(
                "Job %s (%s) is a dead letter after %d attempts.", job.id, job.name, job.attempt, exc_info=error
            )
            self._dead(job, text)

    def _again(self, job: Job, task: Task[Any, Any], wait_us: int, *, unspent: int, told: Told) -> None:
        job.later = True
        due_us = self._clock.wall_us() + wait_us
        values = {"to": int(State.SCHEDULED), "to_rank": due_us, "to_due": due_us, "to_lane": task.lane}
        self._finish(Finish(job, sql.LATER, {**values, "unspent": unspent, "telling": telling(told)}))

    def _put_back(self, job: Job, to: State, lane: str) -> None:
        self._finish(Finish(job, sql.PUT_BACK, {"to": int(to), "to_lane": lane}))

    def _dead(self, job: Job, why: str) -> None:
        values = {"to": int(State.DEAD), "to_rank": self._clock.wall_us(), "telling": telling(Told(error=why))}
        self._finish(Finish(job, sql.CLOSE, values))


def _timeout(task: Task[Any, Any]) -> TimeoutError:
    return TimeoutError(f"it took longer than {format_duration(task.options.timeout_us / 1e6)}")


def _with_result(job: Job, result: Any) -> Told:
    """What is kept of a job that is done."""
    found = job.told or Told()
    try:
        encoded = msgspec.json.encode(result)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        return Told(error=f"Its result cannot be kept: {error}", text=found.text)
    if len(encoded) > RESULT_LIMIT:
        return Told(error=f"Its result has {len(encoded):,} bytes; allowed: {RESULT_LIMIT:,}.", text=found.text)
    return Told(progress=found.progress, text=found.text, result=msgspec.Raw(encoded))
