"""The tasks block: jobs that are enqueued in the transaction, run at least once, and whose effects in the same database
happen exactly once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.tasks import statements as sql
from tenfold.blocks.tasks.bell import CANCEL, TOPIC, URGENT, Bell
from tenfold.blocks.tasks.cron import Crons, Missed, made
from tenfold.blocks.tasks.enqueueing import Enqueueing
from tenfold.blocks.tasks.errors import JobRefused, StaleAttempt
from tenfold.blocks.tasks.job import Ending, Job, JobStatus, current_job
from tenfold.blocks.tasks.policy import Retry, duration_us
from tenfold.blocks.tasks.store import QueueCounts, Store
from tenfold.blocks.tasks.task import Mark, Options, Order, Task, checked_priority, checked_queue
from tenfold.blocks.tasks.worker import TaskStats, Worker
from tenfold.core.clock import Clock
from tenfold.core.errors import ContractError
from tenfold.core.randomness import Randomness
from tenfold.topology.map import Map

__all__ = [
    "Job",
    "JobRefused",
    "JobStatus",
    "Order",
    "QueueCounts",
    "Retry",
    "StaleAttempt",
    "Store",
    "Task",
    "TaskStats",
    "Tasks",
]

P = ParamSpec("P")
R = TypeVar("R")


class Tasks:
    """Task functions and their jobs. Made by `Tenfold`; its worker runs between `start` and `stop` while `working`."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness) -> None:
        self._database = database
        self._clock = clock
        self._names: dict[str, Task[Any, Any]] = {}
        self._bell = Bell(database)
        self._store = Store(database, clock)
        self._enqueueing = Enqueueing(database, clock, randomness, self._bell)
        self._crons = Crons(database, clock, self._enqueueing)
        self.worker = Worker(database, clock, randomness, self._names, bell=self._bell, crons=self._crons)
        """The worker of this process; for tests and measurements."""
        database.listen(TOPIC, self._heard)

    # -- lifecycle ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begins to look for jobs, if this process works."""
        self._enqueueing.names.renew()
        self._crons.forget()
        self.worker.start()

    async def stop(self) -> None:
        """Runs no new job; those that run are finished, or given back."""
        await self.worker.stop()
        self._bell.stop()

    def adopt(self, new: Map) -> None:
        """Goes by a newer map."""

    def work(self, on: bool) -> None:
        """Whether this process runs jobs; when not, it finishes those that it has begun."""
        self.worker.work(on)

    def busy(self) -> int:
        """Jobs of this process that run, or whose end is not written down yet."""
        return len(self.worker.held)

    def trouble(self) -> str:
        """What keeps this process from running some jobs; empty when nothing does."""
        if not self.worker.running.threads.stuck:
            return ""
        return "all threads hang in jobs that are over, so no job of a `def` task begins here; see its log"

    def stats(self) -> TaskStats:
        """What the worker of this process does and has done."""
        return self.worker.stats()

    # -- declaring ----------------------------------------------------------------------------------------------------

    def task(
        self,
        name: str | None = None,
        *,
        queue: str = "default",
        retry: Retry | None = None,
        timeout: str | float = "60s",
        priority: int = 0,
        unique: tuple[str, ...] | None = None,
        concurrency: int | None = None,
        keep: str | float = "0s",
    ) -> Mark:
        """Marks a function as a task; `async def`, or `def`, which runs in a thread.

        `name` (default: the function's) is what jobs are stored under: it stays when the function moves. `unique`
        names arguments: while a job with the same values waits or runs, enqueueing returns its id. `concurrency`: how
        many run at once over all workers. `keep`: how long the result can be asked for. `ContractError`
        TF-TASK-OPTIONS, TF-TASK-FUNCTION or TF-TASK-TWICE when that is not possible.
        """
        if concurrency is not None and (isinstance(concurrency, bool) or concurrency < 1):
            raise ContractError(f"concurrency is {concurrency!r}; allowed: 1 or more, or None.", code="TF-TASK-OPTIONS")
        options = Options(
            queue=checked_queue(queue),
            retry=Retry() if retry is None else retry,
            timeout_us=duration_us(timeout, "timeout"),
            priority=checked_priority(priority),
            unique=unique,
            concurrency=concurrency,
            keep_us=duration_us(keep, "keep"),
        )

        def mark(function: Callable[..., Any], /) -> Task[Any, Any]:
            return self._declared(Task(self, function, name or function.__name__, options))

        return mark

    def _declared(self, task: Task[P, R]) -> Task[P, R]:
        if not 0 < len(task.name) <= 200 or not task.name.isprintable() or task.name.startswith("tf:"):
            raise ContractError(
                f"A task cannot be named {task.name!r}; allowed: 1 to 200 printable characters.",
                code="TF-TASK-OPTIONS",
            )
        if task.name in self._names:
            raise ContractError(
                f"There are two tasks with the name {task.name!r}.",
                hint="Give one of them another: @tf.tasks.task('name').",
                code="TF-TASK-TWICE",
            )
        self._names[task.name] = task
        return task

    def cron(
        self, expression: str, *, missed: Missed = "once", zone: str = "UTC"
    ) -> Callable[[Task[[], R]], Task[[], R]]:
        """Enqueues a task without arguments by the clock: `@tf.tasks.cron("*/5 * * * *")` above `@tf.tasks.task()`.

        Five fields in the hours of `zone`; no time fires twice, whoever looks. Times that passed while no worker ran:
        one job for all of them ("once"), or none ("skip"). `ContractError` TF-TASK-CRON when it is not possible.
        """

        def mark(task: Task[[], R]) -> Task[[], R]:
            self._crons.known.append(made(task, expression, missed, zone))
            return task

        return mark

    # -- enqueueing ---------------------------------------------------------------------------------------------------

    async def enqueue(
        self, tx: Transaction, task: Task[P, Any] | Order[P, Any], *args: P.args, **kwargs: P.kwargs
    ) -> str:
        """Enqueues a job in the caller's transaction, of any key: it is there exactly if the commit is. The job's id.

        `JobRefused` when the arguments do not fit or have more than 64 KB.
        """
        order = task.plain if isinstance(task, Task) else task
        return await self._enqueueing.within(tx, order, args, kwargs)

    def named(self, name: str) -> Task[Any, Any] | None:
        """The task of that name, if this service has it."""
        return self._names.get(name)

    async def enqueue_alone(self, order: Order[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Enqueues a job in a transaction of its own; what `task.enqueue(...)` calls."""
        return await self._enqueueing.alone(order, args, kwargs)

    # -- inside of a job ----------------------------------------------------------------------------------------------

    def current(self) -> Job:
        """The job that the caller runs in; `ContractError` TF-TASK-NONE outside of one."""
        return current_job()

    async def complete(self, tx: Transaction) -> None:
        """Finishes the running job with this transaction: its effects and its end are one commit, exactly once.

        `StaleAttempt` when this attempt does not count any more; then the transaction does not commit. `ContractError`
        TF-TASK-SHARD when the transaction has not the key's bucket that the job was enqueued with.
        """
        job = current_job()
        if tx.bucket != job.bucket:
            raise ContractError(
                f"The job {job.name} lives in bucket {job.bucket}, the transaction in {tx.bucket}.",
                hint="Enqueue it in a transaction of the key that completes it, or `with_(key=...)`.",
                code="TF-TASK-SHARD",
            )
        if not await tx.run(sql.DONE_ONE, of=job.id, at=job.epoch):
            raise StaleAttempt(
                f"This attempt of job {job.id} does not count any more.", hint="Return; another one has it."
            )
        tx.on_commit(partial(_completed, job))

    # -- from outside -------------------------------------------------------------------------------------------------

    async def status(self, job_id: str) -> JobStatus | None:
        """A job; None when it is done (and not kept), cancelled, or never was."""
        return await self._store.status(job_id)

    async def cancel(self, job_id: str) -> str:
        """Cancels a job: "cancelled" when it waited, "asked" when it runs (it is told so), "" when there is none."""
        found = await self._store.cancel(job_id)
        if found == "asked":
            self.worker.cancel(job_id)
            self._bell.tell(CANCEL + job_id)
        return found

    async def dead(self, limit: int = 100, after: str = "") -> list[JobStatus]:
        """Dead letters, the oldest first; `after` the id of the last one seen."""
        return await self._store.dead(limit, after)

    async def replay(self, job: str | Task[Any, Any]) -> int:
        """Makes a dead letter ready again by its id, or all of a task; how many."""
        if isinstance(job, Task):
            return await self.replay_named(job.name)
        count = await self._store.replay(job)
        if count:
            self._bell.ring(URGENT)
        return int(count)

    async def replay_named(self, name: str) -> int:
        """Makes all dead letters of a task ready again, also of one that the code does not have any more; how many."""
        if count := await self._store.replay_all(name):
            self._bell.ring(URGENT)
        return count

    async def counts(self) -> list[QueueCounts]:
        """How many jobs of each queue are in each state."""
        return await self._store.counts()

    def _heard(self, texts: list[str] | None) -> None:
        for text in [URGENT] if texts is None else texts:
            if text.startswith(CANCEL):
                self.worker.cancel(text.removeprefix(CANCEL))
            else:
                self.worker.hear(text)


def _completed(job: Job) -> None:
    job.ending = Ending.COMPLETED
