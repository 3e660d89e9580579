"""Several processes on one database publish and deliver; those that deliver are killed, again and again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from events_lab import Lab, Node, run
from events_process import told

SUPPORT = Path(__file__).parents[2] / "support"
EACH = 60


async def process(lab: Lab, name: str, kill_after: int) -> asyncio.subprocess.Process:
    words = [str(SUPPORT / "events_process.py"), told(lab.config), name, "0", str(EACH), str(kill_after)]
    return await asyncio.create_subprocess_exec(
        sys.executable, *words, stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(SUPPORT)}
    )


async def published(process: asyncio.subprocess.Process) -> list[str]:
    """The codes whose transactions it saw committed, until it ends or is done."""
    assert process.stdout is not None
    found = []
    while line := (await process.stdout.readline()).decode().strip():
        if line == "done":
            break
        if line != "ready":
            found.append(line)
    return found


def test_every_committed_event_is_counted_exactly_once_whoever_is_killed(lab: Lab) -> None:
    watcher = Node()

    async def work() -> None:
        await watcher.database.start(lab.config, print)
        await watcher.events.cursors.register("counter", ("link.made",), "beginning")
        running, codes = [], []
        try:
            for name, kill_after in (("a", 3), ("b", 2), ("c", 4)):
                running.append(await process(lab, name, kill_after))
            for found in await asyncio.gather(*map(published, running)):
                codes += found
            ended = await asyncio.gather(*[each.wait() for each in running])
            assert ended == [-signal.SIGKILL] * 3, "each took over from one before it, and was killed"
            running.append(await process(lab, "d", 0))
            codes += await published(running[-1])
            for _ in range(4_000):
                counted = [await watcher.counted(code) for code in codes]
                if counted == [1] * len(codes):
                    return
                assert max(counted) <= 1, "nothing is counted twice"
                await asyncio.sleep(0.01)
            missing = [code for code, n in zip(codes, counted, strict=True) if n != 1]
            raise AssertionError(f"{len(missing)} of {len(codes)} were not counted: {missing[:5]}")
        finally:
            for each in running:
                if each.returncode is None:
                    each.kill()
                await each.wait()
            await watcher.database.stop()

    run(work())
