"""The operation `jobs` of a process that runs the service's code: jobs are counted, shown, replayed and cancelled by
one that has the database open anyhow. Answers fit into one line of the control socket, in any script.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tenfold.core.errors import NotFound, UsageError

if TYPE_CHECKING:
    from tenfold.blocks.tasks import JobStatus, Tasks

PAGE = 25
"""Dead letters in one answer."""
BRIEF, WHOLE = 160, 2_000
"""Characters of a text that are told: in a list, and of one job."""

Facts = dict[str, Any]


async def answer(tasks: Tasks, request: Facts) -> Facts:
    """What `do` asks for: `counts`; `dead` (`after` an id); `show`, `cancel` (`id`); `replay` (`id`, or `task`).

    Raises `NotFound` for a job that there is not, and what the database raises.
    """
    match request.get("do"):
        case "counts":
            return {"queues": [asdict(queue) for queue in await tasks.counts()]}
        case "dead":
            found = await tasks.dead(PAGE, str(request.get("after") or ""))
            return {"jobs": [brief(job) for job in found], "more": len(found) == PAGE}
        case "show":
            return {"job": _told(await _found(tasks, _id_in(request)), WHOLE)}
        case "replay" if request.get("task"):
            return {"replayed": await tasks.replay_named(str(request["task"]))}
        case "replay":
            return {"replayed": await _replayed(tasks, _id_in(request))}
        case "cancel":
            return {"cancelled": await _cancelled(tasks, _id_in(request))}
    raise UsageError(f"Nobody knows what to do with jobs by {request.get('do')!r}.")


def brief(job: JobStatus) -> Facts:
    """A job of a list, without its arguments."""
    told = _told(job, BRIEF)
    return {name: told[name] for name in ("id", "name", "queue", "state", "attempt", "crashes", "error")}


def _told(job: JobStatus, limit: int) -> Facts:
    facts = asdict(job)
    result = facts.pop("result")
    facts["result"] = None if result is None else str(result)
    return {name: value[:limit] if isinstance(value, str) else value for name, value in facts.items()}


def _id_in(request: Facts) -> str:
    found = request.get("id")
    if not isinstance(found, str) or not found:
        raise UsageError("There is no id of a job.", hint="`tenfold jobs --dead` lists those of dead letters.")
    return found


async def _found(tasks: Tasks, job_id: str) -> JobStatus:
    if (job := await tasks.status(job_id)) is not None:
        return job
    raise NotFound(
        f"There is no job {job_id[:BRIEF]}.", hint="A job that is done is not kept, unless its task says `keep`."
    )


async def _replayed(tasks: Tasks, job_id: str) -> int:
    job = await _found(tasks, job_id)
    if not (replayed := await tasks.replay(job_id)):
        raise UsageError(f"The job {job_id} is {job.state}, and only a dead letter is replayed.")
    return replayed


async def _cancelled(tasks: Tasks, job_id: str) -> str:
    job = await _found(tasks, job_id)
    if not (cancelled := await tasks.cancel(job_id)):
        raise UsageError(f"The job {job_id} is {job.state}: there is nothing to cancel.")
    return cancelled
