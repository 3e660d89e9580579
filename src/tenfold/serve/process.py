"""What the processes that run the service's code share: how they start and end, and how they follow the map."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

import msgspec
import uvloop

from tenfold.core.errors import TenfoldError, Unavailable, UsageError
from tenfold.core.files import allow_many_descriptors
from tenfold.serve import jobs
from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.environment import Environment, read_environment, read_map, stamp_of
from tenfold.serve.errorlog import error_line, log_to_stderr
from tenfold.serve.loading import load_app
from tenfold.serve.node import Facts
from tenfold.serve.pace import gently
from tenfold.serve.telling import Lateness, cache_numbers, cpu_s, database_numbers, job_numbers, resident
from tenfold.serve.told import HttpNumbers, NodeNumbers
from tenfold.topology.map import Map, NodeMap

EXIT_CANNOT_START = 3
"""Starting again will not help: somebody has to change something first."""
EXIT_FATAL = 70
"""The process must not go on (the outcome of a COMMIT is unknown); starting again does help."""

MAP_LOOK_EVERY_S = 0.25
PREPARE_S = 4.0
"""How long the acknowledgement of a map waits for what the map wants opened; the keeper waits 5."""

log = logging.getLogger("tenfold.serve")


def exit_code(error: BaseException) -> int:
    """Anything a person has to change first ends with 3; anything else is worth another start."""
    return EXIT_CANNOT_START if isinstance(error, TenfoldError) and not isinstance(error, Unavailable) else 1


def version_of(current: Map, node: str) -> str:
    """The version of the service's code that a map wants `node` to run; empty for the folder of tenfold.toml."""
    found = current.node(node)
    return found.version if found else ""


class ServiceProcess:
    """One process that runs the service's code and goes by a map; the base of web servers and workers."""

    def __init__(self, environment: Environment, current: Map, app: TenfoldASGI) -> None:
        self._environment = environment
        self._map = current
        self._app = app
        self._version = version_of(current, environment.node)
        self._lateness = Lateness(MAP_LOOK_EVERY_S)
        self._stamp: tuple[int, int] | None = None  # the file may have been replaced since `current` was read
        app.adopt(current)
        app.runtime.on_fatal(self._die)
        app.watch(self._look)

    @property
    def _node(self) -> NodeMap | None:
        return self._map.node(self._environment.node)

    # What a subclass has of its own

    def _leave(self) -> None:
        """Begins to leave: what was begun is finished."""
        raise NotImplementedError

    def _took_over(self, new: Map) -> None:
        """The service goes by `new` from now on."""

    async def _prepared(self) -> None:
        """Returns when what the map wants opened is open."""
        await self._app.runtime.prepared(PREPARE_S)

    def _answers(self) -> HttpNumbers | None:
        """The requests of this process; None when it takes none."""
        return None

    def _last_words(self) -> None:
        """Writes what would be lost when the process ends now."""

    # Operations of the control socket

    def _common(self) -> Facts:
        """What every such process says of itself."""
        runtime, node = self._app.runtime, self._node
        holding = runtime.holding
        return {
            "node": self._environment.node,
            "pid": os.getpid(),
            "epoch": self._map.epoch,
            "version": self._version,
            "traffic": node.traffic if node else "off",
            "jobs": runtime.busy(),
            "works": runtime.works(),
            "limits": "off" if runtime.limits.off else "on",
            "backend": holding.backend,
            "gate": "held" if holding.closed else "open",
            "held": holding.now,
            "held_total": holding.total,
            "held_longest_ms": round(holding.longest_s * 1000, 1),
        }

    async def _numbers(self, _: Facts) -> Facts:
        """What this process has counted (`tenfold.serve.told.NodeNumbers`)."""
        collectors, node = self._app.runtime.collectors(), self._node
        numbers = NodeNumbers(
            node=self._environment.node,
            role=node.role if node else "",
            pid=os.getpid(),
            cpu_s=cpu_s(),
            memory=resident(),
            loop_late_s=self._lateness.worst_s,
            http=self._answers(),
            database=database_numbers(collectors, self._app.runtime.holding),
            cache=cache_numbers(collectors),
            jobs=job_numbers(collectors),
        )
        return dict(msgspec.to_builtins(numbers))

    async def _adopt(self, request: Facts) -> Facts:
        self._take_over(read_map(self._environment.map_path))
        wanted = request.get("epoch")
        if isinstance(wanted, int) and wanted > self._map.epoch:
            raise UsageError(
                f"The map file has the epoch {self._map.epoch}, not {wanted}.",
                hint="Write the map first, then push it.",
            )
        await self._prepared()
        return {"epoch": self._map.epoch}

    async def _jobs(self, request: Facts) -> Facts:
        return await jobs.answer(self._app.runtime.tasks, request)

    async def _begin_drain(self, _: Facts) -> Facts:
        self._leave()
        return {}

    # The map

    def _take_over(self, new: Map) -> None:
        if new.epoch > self._map.epoch:
            self._app.adopt(new)
            self._map = new
            self._took_over(new)
            log.info("Adopted the map of epoch %d.", new.epoch)

    async def _look_soon(self) -> None:
        """Looks at the map file in `MAP_LOOK_EVERY_S`; by how much later that was, the loop is late."""
        slept = self._app.runtime.clock.monotonic()
        await asyncio.sleep(MAP_LOOK_EVERY_S)
        self._lateness.woke(self._app.runtime.clock.monotonic() - slept)
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

    def _die(self, error: BaseException) -> None:
        """Another process starts from what the database says; this one could only guess."""
        log.critical("The process ends at once: %s", error, exc_info=error)
        self._last_words()
        print(error_line(error), file=sys.stderr, flush=True)
        os._exit(EXIT_FATAL)


class Runs(Protocol):
    """A process that is made and can run."""

    def run(self) -> Coroutine[Any, Any, None]:
        """Runs to its end."""
        ...


def run_process(
    make: Callable[[Environment, Map, TenfoldASGI], Runs],
    *,
    listens: bool,
    beside: Callable[[NodeMap | None], bool],
    no_news: tuple[type[Exception], ...] = (),
) -> int:
    """Reads environment and map, loads the app, runs the process on uvloop; its exit code.

    `beside` says of this node whether it starts beside others that serve, and so gently. `no_news`: as `log_to_stderr`.
    """
    faulthandler.enable()
    log_to_stderr(*no_news)
    allow_many_descriptors()
    try:
        environment = read_environment(os.environ, listens=listens)
        current = read_map(environment.map_path)
        code = Path(current.code_of(version_of(current, environment.node)))
        with gently(beside(current.node(environment.node))):
            app = load_app(current.app, code)
        process = make(environment, current, app)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(process.run())
    except Exception as error:  # noqa: BLE001 - the last line of the log says why, whatever it is
        if error.__cause__ is not None or not isinstance(error, TenfoldError):
            traceback.print_exception(error)
        print(error_line(error), file=sys.stderr, flush=True)
        return exit_code(error)
    return 0
