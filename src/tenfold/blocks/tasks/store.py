"""Jobs seen and changed from outside of a worker: with nothing but a `Database`, also when the service's code is not
loaded (the command line)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.tasks import statements as sql
from tenfold.blocks.tasks.job import JobStatus, status_of
from tenfold.blocks.tasks.policy import State
from tenfold.core.clock import Clock

PAGE = 100


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many jobs of one queue are in each state, and since when its oldest ready one is due."""

    queue: str
    ready: int = 0
    running: int = 0
    scheduled: int = 0
    dead: int = 0
    unknown: int = 0
    done: int = 0
    oldest_due_us: int | None = None


class Store:
    """The rows of jobs."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        brief = database.transaction(isolation="read committed")
        self._cancel = brief(_cancel)
        self._replay = brief(_replay)
        self._replay_all = brief(_replay_all)

    async def status(self, job_id: str) -> JobStatus | None:
        """A job; None when there is none (any more)."""
        async with self._database.read(consistency="strong") as db:
            row = await db.one_or_none(sql.FIND, of=job_id)
        return None if row is None else status_of(row)

    async def counts(self) -> list[QueueCounts]:
        """The queues that have jobs, by name."""
        async with self._database.read(consistency="strong") as db:
            rows = await db.all(sql.COUNTS)
            oldest = {row.queue: row.due_us for row in await db.all(sql.OLDEST)}
        found: dict[str, dict[str, Any]] = {}
        for row in rows:
            found.setdefault(row.queue, {})[State(row.state).name.lower()] = row.jobs
        return [QueueCounts(queue, **found[queue], oldest_due_us=oldest.get(queue)) for queue in sorted(found)]

    async def dead(self, limit: int = PAGE, after: str = "") -> list[JobStatus]:
        """Dead letters, the oldest first; `after` the id of the last one seen."""
        async with self._database.read(consistency="strong") as db:
            rows = await db.all(sql.DEAD, after=after, count=limit)
        return [status_of(row) for row in rows]

    async def replay(self, job_id: str) -> bool:
        """Makes a dead letter ready again, its attempts counted anew; whether it was one."""
        return await self._replay(job_id, self._clock.wall_us())

    async def replay_all(self, name: str) -> int:
        """The same for all dead letters of a task; how many."""
        return await self._replay_all(name, self._clock.wall_us())

    async def cancel(self, job_id: str) -> str:
        """Removes a job that waits ("cancelled"), asks a running one to end ("asked"); "" when there is neither."""
        return await self._cancel(job_id)


async def _cancel(tx: Transaction, job_id: str) -> str:
    if await tx.run(sql.CANCEL_WAITING, of=job_id):
        return "cancelled"
    return "asked" if await tx.run(sql.CANCEL_RUNNING, of=job_id) else ""


async def _replay(tx: Transaction, job_id: str, now_us: int) -> bool:
    return await tx.run(sql.REPLAY, of=job_id, to_rank=now_us) > 0


async def _replay_all(tx: Transaction, name: str, now_us: int) -> int:
    return await tx.run(sql.REPLAY_ALL, of_name=name, to_rank=now_us)
