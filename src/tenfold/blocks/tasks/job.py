"""One attempt of a job, as the worker and the task function see it."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from tenfold.blocks.tasks.policy import State, duration_us
from tenfold.blocks.tasks.task import Task
from tenfold.core.errors import ContractError

TOLD_TEXT = 2_000
"""Characters of an error or of a progress text that are kept."""


class Told(msgspec.Struct, omit_defaults=True):
    """What a job's row says beside its state: why it failed, how far it is, what it returned."""

    error: str = ""
    progress: float | None = None
    text: str = ""
    result: Any = msgspec.UNSET


def storable(text: str) -> str:
    """A text that a row can hold: of bounded length, without NUL and without lone surrogates."""
    return text[:TOLD_TEXT].replace("\x00", "").encode("utf-8", "replace").decode()


def telling(told: Told) -> str:
    """As the row stores it; empty for nothing."""
    encoded = msgspec.json.encode(told)
    return "" if encoded == b"{}" else encoded.decode()


def told(text: str) -> Told:
    """What `telling` was given; a text that nobody of us wrote is an error text."""
    if not text:
        return Told()
    try:
        return msgspec.json.decode(text, type=Told)
    except msgspec.MsgspecError:
        return Told(error=text)


class Ending(Enum):
    """What the worker knows of an attempt that runs no more."""

    RUNNING = 0
    COMPLETED = 1
    """Finished by the job's own transaction."""

    STALE = 2
    """Somebody else has the job, or nobody: nothing of this attempt counts."""


class Job:
    """The running job, for its task function: `job = tf.tasks.current()`.

    `id` stays over all attempts; `(id, epoch)` names this one. `bucket` is where its row lives: a transaction that
    completes the job has a key of this bucket.
    """

    __slots__ = (
        "asked", "attempt", "bucket", "crashes", "deadline", "dirty", "ending", "epoch", "failed", "id", "lane", "late",
        "later", "name", "payload", "queue", "rank", "runner", "snoozed_us", "task", "told", "trace",
    )  # fmt: skip

    def __init__(self, row: Any) -> None:
        self.id: str = row.id
        self.name: str = row.name
        self.queue: str = row.queue
        self.attempt: int = row.attempt
        self.bucket: int = row.bucket
        self.epoch: int = row.epoch
        self.crashes: int = row.crashes
        self.lane: str = row.lane
        self.rank: int = row.rank
        self.payload: str = row.payload
        self.asked: bool = row.cancel != 0
        self.trace: str | None = row.trace
        self.task: Task[Any, Any] | None = None
        self.runner: asyncio.Task[None] | None = None
        self.deadline = 0.0
        self.late = False
        self.later = False
        self.ending = Ending.RUNNING
        self.failed = False
        self.snoozed_us: int | None = None
        self.told: Told | None = None
        self.dirty = False

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked to cancel it, or it does not count any more: return soon."""
        return self.asked or self.ending is Ending.STALE

    def progress(self, share: float, text: str = "") -> None:
        """Says how far it is (0 to 1); written within a second, and never more often than that."""
        self.told = Told(progress=min(max(float(share), 0.0), 1.0), text=storable(text))
        self.dirty = True

    def snooze(self, delay: str | float) -> None:
        """When the function returns, the job is not done: it runs again after `delay`. Not counted as an attempt."""
        self.snoozed_us = duration_us(delay, "snooze")


_current: ContextVar[Job | None] = ContextVar("tenfold_job", default=None)
enter_job = _current.set


def current_job() -> Job:
    """The job that the caller runs in; `ContractError` outside of one."""
    found = _current.get()
    if found is None:
        raise ContractError(
            "There is no running job here.", hint="Ask in a task function that a worker runs.", code="TF-TASK-NONE"
        )
    return found


@dataclass(frozen=True, slots=True)
class JobStatus:
    """A job from outside. `state`: ready, scheduled, running, dead, unknown (no such task in the code), done (kept)."""

    id: str
    name: str
    queue: str
    state: str
    attempt: int
    crashes: int
    due_us: int
    progress: float | None
    text: str
    error: str
    result: Any
    payload: str


def status_of(row: Any) -> JobStatus:
    """A row as people see it."""
    found = told(row.told)
    return JobStatus(
        id=row.id,
        name=row.name,
        queue=row.queue,
        state=State(row.state).name.lower(),
        attempt=row.attempt,
        crashes=row.crashes,
        due_us=row.due_us,
        progress=found.progress,
        text=found.text,
        error=found.error,
        result=None if found.result is msgspec.UNSET else found.result,
        payload=row.payload,
    )
