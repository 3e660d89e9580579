"""The worker process: `python -m tenfold.serve.worker`, started by a keeper.

It loads the app as a web process does and opens its lifespan, and takes no connections: what it works on are jobs and
events. Whether it takes any is up to the map (topology/working.py). Its control socket answers `status`, `map` and
`drain`; see docs/serving.md for the protocol and the exit codes, which are those of the web process.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import sys
import traceback
from pathlib import Path

import uvloop

from tenfold.core.errors import TenfoldError, Unavailable, UsageError
from tenfold.core.files import allow_many_descriptors
from tenfold.serve import jobs
from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.environment import Environment, read_environment, read_map, stamp_of
from tenfold.serve.errorlog import error_line, log_to_stderr
from tenfold.serve.lifespan import InnerLifespan
from tenfold.serve.loading import load_app
from tenfold.serve.node import Facts, NodeSocket
from tenfold.serve.pace import gently
from tenfold.serve.process import EXIT_FATAL, MAP_LOOK_EVERY_S, PREPARE_S, exit_code, version_of
from tenfold.serve.settings import settings_of
from tenfold.topology.map import Map

LOOK_EVERY_S = 0.05
TRY_AGAIN_S = 1.0
"""How long a worker rests before it tries again to open a service whose database is away."""

log = logging.getLogger("tenfold.serve")


class WorkerProcess:
    """One worker, from its first job to its last."""

    def __init__(self, environment: Environment, current: Map, app: TenfoldASGI) -> None:
        self._environment = environment
        self._map = current
        self._app = app
        self._version = version_of(current, environment.node)
        self._waits_for = "The process is starting."
        """Why it has not opened the service; empty once it has."""
        self._leaving = asyncio.Event()
        self._hurried = False
        self._stamp: tuple[int, int] | None = None  # the file may have been replaced since `current` was read
        app.adopt(current)
        app.runtime.on_fatal(self._die)
        app.watch(self._look)

    async def run(self) -> None:
        """Works until drained. Raises what kept the service from starting."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._leave)
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        operations = {"status": self._status, "map": self._adopt, "drain": self._begin_drain, "jobs": self._jobs}
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
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._leaving.wait(), TRY_AGAIN_S)

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
        node, holding = self._map.node(self._environment.node), self._app.runtime.holding
        return {
            "node": self._environment.node,
            "pid": os.getpid(),
            "epoch": self._map.epoch,
            "version": self._version,
            "ready": ready,
            "reason": reason,
            "draining": self._leaving.is_set(),
            "traffic": node.traffic if node else "off",
            "jobs": self._app.runtime.busy(),
            "works": self._app.runtime.works(),
            "backend": holding.backend,
            "gate": "held" if holding.closed else "open",
            "held": holding.now,
            "held_total": holding.total,
            "held_longest_ms": round(holding.longest_s * 1000, 1),
        }

    def _ready(self) -> tuple[bool, str]:
        return (False, self._waits_for) if self._waits_for else self._app.ready()

    async def _adopt(self, request: Facts) -> Facts:
        self._take_over(read_map(self._environment.map_path))
        wanted = request.get("epoch")
        if isinstance(wanted, int) and wanted > self._map.epoch:
            raise UsageError(
                f"The map file has the epoch {self._map.epoch}, not {wanted}.",
                hint="Write the map first, then push it.",
            )
        await self._app.runtime.prepared(PREPARE_S)
        return {"epoch": self._map.epoch}

    async def _jobs(self, request: Facts) -> Facts:
        return await jobs.answer(self._app.runtime.tasks, request)

    async def _begin_drain(self, _: Facts) -> Facts:
        self._leave()
        return {}

    # Inside

    def _take_over(self, new: Map) -> None:
        if new.epoch > self._map.epoch:
            self._app.adopt(new)
            self._map = new
            log.info("Adopted the map of epoch %d.", new.epoch)

    async def _watch(self) -> None:
        """Looks at the map file in case no keeper pushes."""
        while True:
            await asyncio.sleep(MAP_LOOK_EVERY_S)
            self._look()

    def _look(self) -> None:
        """Looks at the map file, and adopts it when it was replaced."""
        self._app.looked()
        stamp = stamp_of(self._environment.map_path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._take_over(read_map(self._environment.map_path))
        except TenfoldError as error:
            log.error("The new map is not adopted: %s", error)

    def _leave(self) -> None:
        self._app.leaving = "The process is leaving: it finishes the jobs that it has begun."
        self._app.runtime.leave()
        self._leaving.set()

    def _interrupted(self) -> None:
        """The first Ctrl-C drains, the second does not wait."""
        self._hurried = self._leaving.is_set()
        self._leave()

    def _die(self, error: BaseException) -> None:
        """Another process starts from what the database says; this one could only guess."""
        log.critical("The process ends at once: %s", error, exc_info=error)
        print(error_line(error), file=sys.stderr, flush=True)
        os._exit(EXIT_FATAL)


def main() -> int:
    """Runs the worker; returns its exit code."""
    faulthandler.enable()
    log_to_stderr()
    allow_many_descriptors()
    try:
        environment = read_environment(os.environ, listens=False)
        current = read_map(environment.map_path)
        code = Path(current.code_of(version_of(current, environment.node)))
        with gently(wanted=True):  # it starts beside those that serve
            app = load_app(current.app, code)
        process = WorkerProcess(environment, current, app)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(process.run())
    except Exception as error:  # noqa: BLE001 - the last line of the log says why, whatever it is
        if error.__cause__ is not None or not isinstance(error, TenfoldError):
            traceback.print_exception(error)
        print(error_line(error), file=sys.stderr, flush=True)
        return exit_code(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
