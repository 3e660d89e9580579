"""The statements of the tasks block. Each that changes a running job names its fencing pair: id and epoch."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, Update, bindparam, case, delete, func, insert, literal_column, select, update

from tenfold.blocks.database.own.tasks import tf_cron, tf_job, tf_worker
from tenfold.blocks.tasks.policy import AGE_US, CRASHES, SUSPECTS, State

job = tf_job.c
worker = tf_worker.c

# -- enqueueing -------------------------------------------------------------------------------------------------------

ADD = insert(tf_job)
FIND_SOLE = select(job.id).where(job.sole == bindparam("sole"))

# -- claiming ---------------------------------------------------------------------------------------------------------


def _picked(lane: Any, *more: Any) -> Select[Any]:
    return (
        select(job.id)
        .where(job.state == int(State.READY), lane, *more)
        .order_by(job.rank)
        .limit(bindparam("count"))
        .with_for_update(skip_locked=True)
    )


def _claim(picked: Select[Any]) -> Update:
    """As a CTE, because a subquery may be run several times by PostgreSQL, and would lock other rows each time."""
    chosen = picked.cte("picked")
    return (
        update(tf_job)
        .where(job.id.in_(select(chosen.c.id)))
        .values(
            state=int(State.RUNNING), worker=bindparam("by"), epoch=job.epoch + 1, attempt=job.attempt + 1
        )
        .returning(
            job.id, job.name, job.payload, job.epoch, job.attempt, job.crashes, job.lane, job.rank, job.bucket,
            job.cancel, job.queue, job.trace,
        )
    )  # fmt: skip


_NOT_OF = job.name.not_in(bindparam("but", expanding=True))

CLAIM = _claim(_picked(job.lane == "", job.rank >= bindparam("low")))
CLAIM_IN_LANE = _claim(_picked(job.lane == bindparam("lane")))
CLAIM_BUT = _claim(_picked(job.lane == "", job.rank >= bindparam("low"), _NOT_OF))
CLAIM_IN_LANE_BUT = _claim(_picked(job.lane == bindparam("lane"), _NOT_OF))
"""The same without jobs of some names."""

LANES = (
    select(job.lane, func.count().label("jobs"))
    .where(job.state == bindparam("state"), job.lane.in_(bindparam("lanes", expanding=True)))
    .group_by(job.lane)
)

_OF_ATTEMPT = (job.id == bindparam("of"), job.epoch == bindparam("at"), job.state == int(State.RUNNING))

# -- finishing --------------------------------------------------------------------------------------------------------

DONE = (
    delete(tf_job)
    .where(
        job.id.in_(bindparam("ids", expanding=True)),
        job.epoch == bindparam("at"),
        job.state == int(State.RUNNING),
    )
    .returning(job.id)
)
"""Many at once that have the same epoch, as nearly all have: it returns those that counted."""

DONE_ONE = delete(tf_job).where(*_OF_ATTEMPT)
CLOSE = (
    update(tf_job)
    .where(*_OF_ATTEMPT)
    .values(state=bindparam("to"), rank=bindparam("to_rank"), told=bindparam("telling"), worker="", sole=None)
)
"""Done and kept, or dead."""

LATER = (
    update(tf_job)
    .where(*_OF_ATTEMPT)
    .values(
        state=bindparam("to"), rank=bindparam("to_rank"), due_us=bindparam("to_due"), lane=bindparam("to_lane"),
        attempt=job.attempt - bindparam("unspent"), told=bindparam("telling"), worker="",
    )
)  # fmt: skip
"""It will run again: failed, or snoozed."""

PUT_BACK = (
    update(tf_job)
    .where(*_OF_ATTEMPT)
    .values(state=bindparam("to"), lane=bindparam("to_lane"), attempt=job.attempt - 1, worker="")
)
GIVE_BACK = update(tf_job).where(*_OF_ATTEMPT).values(state=int(State.READY), attempt=job.attempt - 1, worker="")
"""As if it had never been claimed; only its epoch stays, which never goes back."""

TELL = update(tf_job).where(*_OF_ATTEMPT).values(told=bindparam("telling"))

# -- what time brings -------------------------------------------------------------------------------------------------

# In the text, not beside it: a database that does not know the state may not use the index of that state.
_IS_SCHEDULED = job.state == literal_column(str(int(State.SCHEDULED)))
_IS_KEPT = job.state == literal_column(str(int(State.DONE)))

DUE = (
    update(tf_job)
    .where(
        job.id.in_(
            select(
                select(job.id)
                .where(_IS_SCHEDULED, job.rank <= bindparam("now"))
                .order_by(job.rank)
                .limit(bindparam("count"))
                .with_for_update(skip_locked=True)
                .cte("due")
                .c.id
            )
        )
    )
    .values(state=int(State.READY), rank=job.due_us - job.priority * AGE_US)
)
NEXT_DUE = select(func.min(job.rank)).where(_IS_SCHEDULED)
FORGET = delete(tf_job).where(
    job.id.in_(
        select(
            select(job.id)
            .where(_IS_KEPT, job.rank <= bindparam("now"))
            .limit(bindparam("count"))
            .with_for_update(skip_locked=True)
            .cte("old")
            .c.id
        )
    )
)
KNOWN_AGAIN = (
    update(tf_job)
    .where(job.state == int(State.UNKNOWN), job.name.in_(bindparam("names", expanding=True)))
    .values(state=int(State.READY))
)

# -- liveness ---------------------------------------------------------------------------------------------------------

REGISTER = insert(tf_worker)
BEAT = update(tf_worker).where(worker.id == bindparam("of")).values(beat=worker.beat + 1, at_us=bindparam("to_at"))
LEAVE = delete(tf_worker).where(worker.id == bindparam("of"))
WORKERS = select(worker.id, worker.beat, worker.host, worker.pid, worker.started)
HELD = select(job.id, job.epoch, job.cancel).where(job.state == int(State.RUNNING), job.worker == bindparam("by"))
BURY = delete(tf_worker).where(worker.id == bindparam("of"), worker.beat == bindparam("at_beat"))
"""Only with the beat that was seen: who beats again is not dead."""

_OF_DEAD = (job.state == int(State.RUNNING), job.worker == bindparam("by"))
PARK_CRASHED = (
    update(tf_job)
    .where(*_OF_DEAD, job.crashes >= CRASHES - 1)
    .values(
        state=int(State.DEAD), crashes=job.crashes + 1, attempt=job.attempt - 1, worker="", sole=None,
        told=bindparam("telling"), rank=bindparam("now"),
    )
)  # fmt: skip
RETURN_CRASHED = (
    update(tf_job)
    .where(*_OF_DEAD)
    .values(
        state=int(State.READY), crashes=job.crashes + 1, attempt=job.attempt - 1, worker="",
        lane=case((job.crashes >= CRASHES - 2, SUSPECTS), else_=job.lane),
    )
)  # fmt: skip
ORPHANED = select(job.worker).where(job.state == int(State.RUNNING), job.worker.not_in(select(worker.id))).distinct()
"""Holders of running jobs that have no row: a crash between two commits cannot make one, a restored backup can."""

# -- people -----------------------------------------------------------------------------------------------------------

FIND = select(tf_job).where(job.id == bindparam("of"))
CANCEL_WAITING = delete(tf_job).where(
    job.id == bindparam("of"), job.state.in_([int(State.READY), int(State.SCHEDULED), int(State.UNKNOWN)])
)
CANCEL_RUNNING = update(tf_job).where(job.id == bindparam("of"), job.state == int(State.RUNNING)).values(cancel=1)
COUNTS = select(job.queue, job.state, func.count().label("jobs")).group_by(job.queue, job.state)
OLDEST = (
    select(job.queue, func.min(job.due_us).label("due_us")).where(job.state == int(State.READY)).group_by(job.queue)
)
DEAD = (
    select(tf_job)
    .where(job.state == int(State.DEAD), job.id > bindparam("after"))
    .order_by(job.id)
    .limit(bindparam("count"))
)
_ALIVE_AGAIN = {
    "state": int(State.READY), "attempt": 0, "crashes": 0, "told": "", "cancel": 0,
    "rank": bindparam("to_rank"), "due_us": bindparam("to_rank"),
}  # fmt: skip
REPLAY = update(tf_job).where(job.id == bindparam("of"), job.state == int(State.DEAD)).values(_ALIVE_AGAIN)
REPLAY_ALL = update(tf_job).where(job.name == bindparam("of_name"), job.state == int(State.DEAD)).values(_ALIVE_AGAIN)

# -- cron -------------------------------------------------------------------------------------------------------------

FIRED = select(tf_cron.c.fired_us).where(tf_cron.c.name == bindparam("of"))
FIRST_SEEN = insert(tf_cron)
FIRE = (
    update(tf_cron)
    .where(tf_cron.c.name == bindparam("of"), tf_cron.c.fired_us < bindparam("to_fired"))
    .values(fired_us=bindparam("to_fired"))
)
