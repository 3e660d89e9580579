"""The lines of a job are found with those of the request that enqueued it: both are in one trace."""

from __future__ import annotations

import asyncio
from pathlib import Path

from databases import Kit
from tasks_lab import Process, opened, run, until

from tenfold.blocks.database import Transaction
from tenfold.blocks.database.scope import RequestScope, current_scope, enter_scope, leave_scope
from tenfold.core.trace import Trace

REQUEST = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", False)
NONE = "nothing was enqueued within a trace"


def within_a_trace(key: str | None = None) -> RequestScope:
    """The scope of a request, as the web process enters it."""
    scope = RequestScope(request_id="r", idempotency_key=key, fingerprint=b"f" * 32)
    scope.trace = REQUEST
    return scope


def test_a_job_continues_the_trace_of_the_request_that_enqueued_it(kit: Kit, tmp_path: Path) -> None:
    here = Process()
    seen: dict[str, Trace | None] = {}

    @here.tasks.task()
    async def note(name: str) -> None:
        scope = current_scope()
        assert scope is not None
        seen[name] = scope.trace
        if name == "alone":
            await note.enqueue("by a job")

    async def enqueue(tx: Transaction) -> None:
        await here.count(tx, "k")
        await here.tasks.enqueue(tx, note, "in a transaction")

    async def work() -> None:
        async with opened(here, kit, tmp_path):
            await note.enqueue("outside")
            for key in (None, "once"):
                entered = enter_scope(within_a_trace(key))
                try:
                    await asyncio.gather(*(note.enqueue(name) for name in ("alone", f"{key} alone")))
                    await here.within("k", enqueue)
                finally:
                    leave_scope(entered)
            await until(lambda: len(seen) == 6 and not here.tasks.busy())

    run(work())
    assert seen.pop("outside") is None
    by_a_job, alone = seen.pop("by a job"), seen["alone"]
    spans = set()
    for trace in seen.values():
        assert trace is not None, NONE
        assert (trace.trace_id, trace.parent_id, trace.sampled) == (REQUEST.trace_id, REQUEST.span_id, False)
        spans.add(trace.span_id)
    assert len(spans | {REQUEST.span_id}) == len(seen) + 1, "each is a span of its own"
    assert by_a_job is not None, NONE
    assert alone is not None, NONE
    assert by_a_job.trace_id == REQUEST.trace_id


def test_another_attempt_is_in_the_same_trace_and_a_trace_that_is_none_harms_nobody(kit: Kit, tmp_path: Path) -> None:
    here = Process()
    seen: list[Trace] = []

    @here.tasks.task()
    async def note() -> None:
        scope = current_scope()
        assert scope is not None
        assert scope.trace is not None, NONE
        seen.append(scope.trace)
        if len(seen) < 2:
            here.tasks.current().snooze("10ms")

    async def work() -> None:
        async with opened(here, kit, tmp_path, work=False):
            entered = enter_scope(within_a_trace())
            await note.enqueue()
            leave_scope(entered)
            here.tasks.work(True)
            await until(lambda: len(seen) == 2 and not here.tasks.busy())
            here.tasks.work(False)
            entered = enter_scope(within_a_trace())
            await note.enqueue()
            leave_scope(entered)
            kit.outside("UPDATE tf_job SET trace = 'nonsense'")
            here.tasks.work(True)
            await until(lambda: len(seen) == 3)

    run(work())
    assert [trace.trace_id for trace in seen[:2]] == [REQUEST.trace_id] * 2
    assert seen[0].span_id != seen[1].span_id
    assert seen[2].trace_id != REQUEST.trace_id
