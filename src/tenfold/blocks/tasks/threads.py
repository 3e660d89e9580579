"""The threads of blocking task functions. One that hangs cannot be stopped: it is counted until it returns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tenfold.blocks.tasks.job import Job

THREADS = 8
"""Blocking functions that run at once in a process."""

log = logging.getLogger("tenfold.tasks")


class Threads:
    """The threads of one worker."""

    def __init__(self) -> None:
        self.stuck = False
        """Whether all of them hang, as of the last `look`: no blocking function would begin here."""
        self._pool: ThreadPoolExecutor | None = None
        self._busy: set[Job] = set()  # changed by the threads, one operation each

    def run(self, job: Job, function: Callable[[], Any]) -> asyncio.Future[Any]:
        """Runs a job's function when a thread is free."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="tenfold-task")
        busy = self._busy

        def call() -> Any:
            busy.add(job)
            try:
                return function()
            finally:
                busy.discard(job)

        return asyncio.get_running_loop().run_in_executor(self._pool, call)

    def has(self, job: Job) -> bool:
        """Whether the job has got a thread."""
        return job in self._busy

    def hung(self) -> list[Job]:
        """The jobs that are over, at their timeout or because they were cancelled, and whose function runs on."""
        return [job for job in list(self._busy) if job.runner is None or job.runner.done()]

    def look(self) -> bool:
        """Whether all hang now; the log says so when that changes."""
        hung = self.hung()
        before, self.stuck = self.stuck, len(hung) >= THREADS
        if self.stuck and not before:
            names = ", ".join(sorted({job.name for job in hung}))
            log.error(
                "All %d threads hang in jobs that are over (%s): this process begins no job of a `def` task until one "
                "returns. Give what they wait for a timeout of its own; a restart frees them.", THREADS, names,
            )  # fmt: skip
        elif before and not self.stuck:
            log.info("A thread is free again: jobs of `def` tasks begin here.")
        return self.stuck

    def stop(self) -> None:
        """Waits for no thread."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool, self._busy, self.stuck = None, set(), False
