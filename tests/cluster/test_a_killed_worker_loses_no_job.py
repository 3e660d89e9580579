"""Real processes and a real SIGKILL: the jobs of the dead run again within the lease and five seconds, effects once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import SqliteKit
from tasks_lab import Process, run, until
from tasks_worker import declared

from tenfold.blocks.tasks.policy import SILENT_S

JOBS = 10
SUPPORT = Path(__file__).parents[1] / "support"


class Told:
    """A worker process and what it has said."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, str(SUPPORT / "tasks_worker.py"), str(path)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self._said = b""

    def said(self, word: str) -> set[int]:
        """The jobs of which it has said so."""
        assert self.process.stdout is not None
        self._said += self.process.stdout.read() or b""
        lines = [line.split() for line in self._said.decode().splitlines()]
        return {int(line[1]) if len(line) > 1 else 0 for line in lines if line and line[0] == word}

    def end(self) -> None:
        """Kills it, whatever it is doing."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def worker(path: Path) -> Iterator[Told]:
    told = Told(path)
    try:
        yield told
    finally:
        told.end()


@pytest.mark.parametrize("stopped", [False, True], ids=["killed", "stopped for good"])
def test_the_jobs_of_a_dead_worker_run_again_in_time_and_have_their_effect_once(tmp_path: Path, stopped: bool) -> None:
    kit, home = SqliteKit(), Process()
    declared(home)
    config = kit.create(tmp_path, home.database.metadata)
    hold = tmp_path / "hold"
    hold.touch()  # no job ends before the other process has begun it, however long that takes to start

    async def work() -> None:
        await home.open(config, work=False)
        slow = home.tasks._names["slow"]
        with worker(config.path) as first:
            await until(lambda: first.said("ready"))
            for n in range(JOBS):
                await slow.with_(key="k").enqueue(n, str(hold))
            await until(lambda: len(first.said("began")) == JOBS)
            with worker(config.path) as second:
                await until(lambda: second.said("ready"))
                await asyncio.sleep(0.7)  # whoever is stopped in the middle of a commit keeps the file from everybody
                at = time.monotonic()
                first.process.send_signal(signal.SIGSTOP if stopped else signal.SIGKILL)
                if not stopped:
                    first.process.wait()
                await until(lambda: len(second.said("began")) == JOBS, SILENT_S + 5)
                assert time.monotonic() - at < SILENT_S + 5
                hold.unlink()
                if stopped:  # it comes back, and finds that nothing of it counts any more
                    first.process.send_signal(signal.SIGCONT)
                await until(lambda: len(second.said("ended")) == JOBS)
                await asyncio.sleep(0.5)
                assert first.said("ended") == set()
                assert await home.counted("k") == JOBS
        await home.close()
        assert kit.outside("SELECT count(*) FROM tf_job") == [(0,)]

    run(work())
