"""The prover's tabs against the block itself, in processes that hear nothing of each other: its verdict is `holds`.

What a tab has to keep to see no past is up to the block's cookies. Were the prover to keep less, it would call a break
what no browser can see; were it to keep more, it would miss one.
"""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path

import msgspec
from databases import Kit
from sessions_lab import Browser, Process
from sessions_lab import run_two as run

from tenfold.core.randomness import SeededRandomness
from tenfold.prove.history import Operation, Recording, Status
from tenfold.prove.probe.jobs import increment_session, look_at_session
from tenfold.prove.verdict import Outcome
from tenfold.prove.workloads.base import Answer, Request
from tenfold.prove.workloads.tabs import TabsWorkload

TABS = 5
REQUESTS = 600


async def answered(process: Process, request: Request) -> Answer:
    """What the probe does for that request, in that process."""
    do = partial(increment_session, process.tf, 1) if request.method == "POST" else partial(look_at_session, process.tf)
    got = await Browser(process).send(do, method=request.method, cookies=request.headers.get("cookie", ""))
    return Answer(got.status, {"set-cookie": "\n".join(got.all("set-cookie"))}, msgspec.json.encode(got.result))


def test_tabs_with_the_cookies_of_a_browser_see_no_past_in_processes_that_hear_nothing(
    kit: Kit, tmp_path: Path
) -> None:
    workload, randomness, clock = TabsWorkload("run"), SeededRandomness(5), itertools.count(1)
    operations: list[Operation] = []

    async def ask(process: Process, tab: int, request: Request) -> None:
        sent, answer = next(clock), await answered(process, request)
        value = workload.observed(request, answer, Status.OK)
        assert answer.status == 200
        operations.append(
            Operation(tab, request.function, request.key, value, sent, sent, next(clock), Status.OK, workload="tabs")
        )

    async def test(here: Process, there: Process) -> None:
        for process in (here, there):
            process.tf.database.listen("tf:session", lambda texts: None)
        for step in range(REQUESTS):
            await ask((here, there)[randomness.bytes(1)[0] % 2], step % TABS, workload.next(step % TABS, randomness))
        there.sessions._memory.clear()  # nothing is believed for longer than 5 s
        for request in workload.final():
            await ask(there, TABS, request)

    run(kit, tmp_path, test)
    verdicts = workload.check(Recording(tuple(operations), (), 5))
    assert {verdict.id: verdict.verdict for verdict in verdicts} == {"P1": Outcome.HOLDS, "P8": Outcome.HOLDS}, verdicts
    assert max(verdict.n for verdict in verdicts) > REQUESTS / 2
