"""The operation `jobs` of a process: what `tenfold jobs` lists, shows, replays and cancels, on every backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from databases import Kit
from tasks_lab import Process, opened, run, until

from tenfold.blocks.tasks import Retry
from tenfold.core.errors import NotFound, UsageError
from tenfold.hosts import wire
from tenfold.serve import jobs


async def asked(here: Process, do: str, **fields: Any) -> dict[str, Any]:
    """One operation, as it comes over the control socket."""
    request = wire.decode(wire.encode({"op": "jobs", "do": do, **fields}))
    return wire.decode(wire.encode(await jobs.answer(here.tasks, request)))


def test_jobs_are_counted_listed_shown_replayed_and_cancelled(kit: Kit, tmp_path: Path) -> None:
    here, mended = Process(), False

    @here.tasks.task(name="shaky", retry=Retry(max=1))
    async def shaky(n: int) -> None:
        if not mended:
            raise ValueError("아직 아니다 " * 200)

    @here.tasks.task(queue="later")
    async def idle() -> None: ...

    async def work() -> None:
        nonlocal mended
        async with opened(here, kit, tmp_path):
            count = jobs.PAGE + 2
            ids = [await shaky.enqueue(n) for n in range(count)]
            waits = await here.tasks.enqueue_alone(idle.with_(delay="1h"), (), {})

            async def all_dead() -> bool:
                return len(await here.tasks.dead()) == count

            await until(all_dead)
            queues = {queue["queue"]: queue for queue in (await asked(here, "counts"))["queues"]}
            assert (queues["default"]["dead"], queues["later"]["scheduled"]) == (count, 1)
            first = await asked(here, "dead")
            assert ([job["id"] for job in first["jobs"]], first["more"]) == (ids[: jobs.PAGE], True)
            assert len(wire.encode(first)) < wire.MAX_LINE
            rest = await asked(here, "dead", after=first["jobs"][-1]["id"])
            assert ([job["id"] for job in rest["jobs"]], rest["more"]) == (ids[jobs.PAGE :], False)
            shown = (await asked(here, "show", id=ids[0]))["job"]
            assert (shown["name"], shown["state"], shown["attempt"]) == ("shaky", "dead", 1)
            assert '"n":0' in shown["payload"].replace(" ", "")
            assert (await asked(here, "cancel", id=waits)) == {"cancelled": "cancelled"}
            with pytest.raises(UsageError, match="dead: there is nothing to cancel"):
                await asked(here, "cancel", id=ids[0])
            mended = True
            assert (await asked(here, "replay", id=ids[0]))["replayed"] == 1
            assert (await asked(here, "replay", task="shaky"))["replayed"] == count - 1
            assert (await asked(here, "replay", task="nobody"))["replayed"] == 0

            async def all_gone() -> bool:
                return not (await asked(here, "counts"))["queues"]

            await until(all_gone)

    run(work())


def test_a_question_that_makes_no_sense_is_told_so(kit: Kit, tmp_path: Path) -> None:
    here = Process()

    @here.tasks.task()
    async def idle() -> None: ...

    async def work() -> None:
        async with opened(here, kit, tmp_path, work=False):
            for do in ("show", "replay", "cancel"):
                with pytest.raises(NotFound, match="There is no job x"):
                    await asked(here, do, id="x")
                with pytest.raises(UsageError, match="no id"):
                    await asked(here, do)
            with pytest.raises(UsageError, match="Nobody knows"):
                await asked(here, "explode")
            job = await idle.enqueue()
            with pytest.raises(UsageError, match="is ready, and only a dead letter is replayed"):
                await asked(here, "replay", id=job)

    run(work())
