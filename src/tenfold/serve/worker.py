"""The worker process: `python -m tenfold.serve.worker`, started by a keeper.

It loads the app as a web process does and opens its lifespan, and takes no connections: what it works on are jobs and
events. Whether it takes any is up to the map (topology/working.py). Its control socket answers `status`, `map` and
`drain`; see docs/serving.md for the protocol and the exit codes, which are those of the web process.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

from tenfold.core.errors import Unavailable
from tenfold.core.lifecycle import within
from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.environment import Environment
from tenfold.serve.lifespan import InnerLifespan
from tenfold.serve.node import Facts, NodeSocket
from tenfold.serve.process import ServiceProcess, run_process
from tenfold.serve.settings import settings_of
from tenfold.topology.map import Map

LOOK_EVERY_S = 0.05
TRY_AGAIN_S = 1.0
"""How long a worker rests before it tries again to open a service whose database is away."""

log = logging.getLogger("tenfold.serve")


class WorkerProcess(ServiceProcess):
    """One worker, from its first job to its last."""

    def __init__(self, environment: Environment, current: Map, app: TenfoldASGI) -> None:
        super().__init__(environment, current, app)
        self._waits_for = "The process is starting."
        """Why it has not opened the service; empty once it has."""
        self._leaving = asyncio.Event()
        self._hurried = False

    async def run(self) -> None:
        """Works until drained. Raises what kept the service from starting."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._leave)
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        operations = {
            "status": self._status,
            "numbers": self._numbers,
            "map": self._adopt,
            "drain": self._begin_drain,
            "jobs": self._jobs,
        }
        node = NodeSocket(self._environment.socket_path, operations)
        await node.start()
        watch = loop.create_task(self._watch())
        try:
            await self._live()
        finally:
            watch.cancel()
            await node.stop()

    async def _live(self) -> None:
        while not self._leaving.is_set():
            try:
                lifespan = await self._open()
            except Unavailable as error:  # its database is away: nobody is helped by another process
                await self._rest(error)
                continue
            self._waits_for = ""
            await self._leaving.wait()
            await self._finish()
            if (failure := await lifespan.shutdown()) is not None:
                log.error("The service did not end in order: %s", failure)

    async def _open(self) -> InnerLifespan:
        """The framework's lifespan too: tasks may use what the service opens there."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        lifespan = InnerLifespan(self._app, scope)
        failure = await lifespan.startup()
        if failure is not None:
            raise self._app.startup_error or RuntimeError(f"The framework did not start: {failure}")
        return lifespan

    async def _rest(self, error: Unavailable) -> None:
        self._app.startup_error = None
        if error.message != self._waits_for:
            self._waits_for = error.message
            log.warning("The worker waits: %s", error.message)
        await within(self._leaving, TRY_AGAIN_S)

    async def _finish(self) -> None:
        """Waits for the jobs that were begun, as long as a drain may take; what is left then is given back."""
        loop = asyncio.get_running_loop()
        limit_s = settings_of(self._map).drain_limit_s
        deadline = loop.time() + limit_s
        while self._app.runtime.busy() and not self._hurried and loop.time() < deadline:  # noqa: ASYNC110 - as in drain.py
            await asyncio.sleep(LOOK_EVERY_S)
        if left := self._app.runtime.busy():
            log.warning("The drain's limit of %g s has passed with %d jobs running.", limit_s, left)

    # Operations of the control socket

    async def _status(self, _: Facts) -> Facts:
        ready, reason = self._ready()
        reason = reason or self._app.runtime.tasks.trouble()
        facts = {"ready": ready, "reason": reason, "draining": self._leaving.is_set()}
        return {**self._common(), **facts}

    def _ready(self) -> tuple[bool, str]:
        return (False, self._waits_for) if self._waits_for else self._app.ready()

    # Inside

    async def _watch(self) -> None:
        """Looks at the map file in case no keeper pushes."""
        while True:
            await self._look_soon()

    def _leave(self) -> None:
        self._app.leaving = "The process is leaving: it finishes the jobs that it has begun."
        self._app.runtime.leave()
        self._leaving.set()

    def _interrupted(self) -> None:
        """The first Ctrl-C drains, the second does not wait."""
        self._hurried = self._leaving.is_set()
        self._leave()


def main() -> int:
    """Runs the worker; returns its exit code. It starts beside those that serve."""
    return run_process(WorkerProcess, listens=False, beside=lambda node: True)


if __name__ == "__main__":
    sys.exit(main())
