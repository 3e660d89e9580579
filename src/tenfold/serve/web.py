"""The web process: `python -m tenfold.serve.web`, started by a keeper.

It takes the public listener that it inherits (`TENFOLD_LISTEN_FD`), the map (`TENFOLD_MAP`), and a path for its control
socket (`TENFOLD_NODE_SOCKET`). On which addresses it accepts is up to the map (`tenfold.serve.doors`); see
docs/serving.md for the protocol and the exit codes.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import uvicorn
import uvloop

from tenfold.core.errors import TenfoldError, UsageError
from tenfold.core.files import allow_many_descriptors
from tenfold.serve import jobs
from tenfold.serve.access import AccessLog
from tenfold.serve.asgi import ResponseAbortedError, TenfoldASGI
from tenfold.serve.door import Door
from tenfold.serve.doors import Doors
from tenfold.serve.drain import Drain
from tenfold.serve.environment import Environment, inherited_listener, read_environment, read_map, stamp_of
from tenfold.serve.errorlog import error_line, log_to_stderr
from tenfold.serve.loading import load_app
from tenfold.serve.metrics import BUCKETS_S
from tenfold.serve.node import Facts, NodeSocket
from tenfold.serve.pace import gently
from tenfold.serve.private import PrivateProtocol
from tenfold.serve.process import EXIT_FATAL, MAP_LOOK_EVERY_S, PREPARE_S, exit_code, version_of
from tenfold.serve.protocol import SWEEP_S, WebProtocol
from tenfold.serve.settings import settings_of
from tenfold.topology.map import Map

LEAVE_IN_FLIGHT_S = 2
"""What is still being answered when the drain's limit has passed gets this much longer, in seconds."""

log = logging.getLogger("tenfold.serve")


class EmbeddedServer(uvicorn.Server):
    """uvicorn without its signal handling (a signal means a drain here, not a shutdown), and without listeners of its
    own: connections come through doors."""

    doors: Doors

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the framework, then opens the doors."""
        await super().startup(sockets=[])
        await self.doors.serve()

    def connect(self, door: Door) -> WebProtocol:
        """The protocol of one connection that came through `door`."""
        kind = PrivateProtocol if door.private else WebProtocol
        protocol = kind(self.config, self.server_state, self.lifespan.state)
        protocol.door = door
        return protocol

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


class WebProcess:
    """One web process, from its listener to its last connection."""

    def __init__(self, environment: Environment, current: Map, app: TenfoldASGI) -> None:
        self._environment = environment
        self._map = current
        self._app = app
        self._version = version_of(current, environment.node)
        # The public door closes its own copy; this one stays to be handed back for as long as the process lives.
        self._listener = inherited_listener(environment.listen_fd)
        self._server = EmbeddedServer(_config(app, current))
        self._doors = Doors(environment.node, self._listener, self._server.connect)
        self._server.doors = self._doors
        self._drain = Drain(self._server, self._doors, app.runtime.busy)
        self._opening: asyncio.Task[None] | None = None
        self._calling_back: set[asyncio.Task[None]] = set()
        self._stamp: tuple[int, int] | None = None  # the file may have been replaced since `current` was read
        app.access = AccessLog(sys.stdout.fileno(), app.runtime.clock)
        app.adopt(current)
        self._doors.follow(current)
        app.runtime.on_fatal(self._die)
        app.watch(self._look)

    async def run(self) -> None:
        """Serves until drained. Raises what kept the service from starting."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._leave)
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        operations = {
            "status": self._status,
            "durations": self._durations,
            "map": self._adopt,
            "drain": self._begin_drain,
            "call_back": self._call_back,
            "jobs": self._jobs,
        }
        node = NodeSocket(self._environment.socket_path, operations, listener_fd=self._listener.fileno())
        await node.start()
        watch = loop.create_task(self._watch())
        try:
            await self._server.serve(sockets=[])
        except SystemExit:
            raise self._app.startup_error or RuntimeError("The framework did not start; see above.") from None
        finally:
            watch.cancel()
            await node.stop()
            if self._app.access is not None:
                self._app.access.close()

    # Operations of the control socket

    async def _status(self, _: Facts) -> Facts:
        ready, reason = self._ready()
        return {
            "node": self._environment.node,
            "pid": os.getpid(),
            "epoch": self._map.epoch,
            "version": self._version,
            "ready": ready,
            "reason": reason,
            "draining": self._drain.begun,
            "requests": self._app.metrics.total(),
            "in_flight": self._app.metrics.in_flight,
            "connections": len(self._server.server_state.connections),
            "jobs": self._app.runtime.busy(),
            "works": self._app.runtime.works(),
            "limits": "off" if self._app.runtime.limits.off else "on",
            **self._front(),
            **self._holding(),
        }

    def _ready(self) -> tuple[bool, str]:
        if not self._server.started:
            return False, "The process is starting."
        ready, reason = self._app.ready()
        if ready and (missing := self._doors.missing):
            return False, missing
        return ready, reason

    async def _durations(self, _: Facts) -> Facts:
        return {"pid": os.getpid(), "bounds": BUCKETS_S, "counts": self._app.metrics.durations()}

    def _front(self) -> Facts:
        node = self._map.node(self._environment.node)
        public, private = self._doors.public, self._doors.private
        return {
            "traffic": node.traffic if node else "off",
            "address": node.address if node else "",
            "doors": {"public": public.is_open, "private": private.is_open},
            "public_connections": public.count,
            "private_connections": private.count,
            "websockets": len(public.websockets) + len(private.websockets),
        }

    def _holding(self) -> Facts:
        holding = self._app.runtime.holding
        return {
            "backend": holding.backend,
            "gate": "held" if holding.closed else "open",
            "held": holding.now,
            "held_total": holding.total,
            "held_longest_ms": round(holding.longest_s * 1000, 1),
        }

    async def _adopt(self, request: Facts) -> Facts:
        self._take_over(read_map(self._environment.map_path))
        wanted = request.get("epoch")
        if isinstance(wanted, int) and wanted > self._map.epoch:
            raise UsageError(
                f"The map file has the epoch {self._map.epoch}, not {wanted}.",
                hint="Write the map first, then push it.",
            )
        await asyncio.gather(self._doors.settled(PREPARE_S), self._app.runtime.prepared(PREPARE_S))
        return {"epoch": self._map.epoch}

    async def _call_back(self, _: Facts) -> Facts:
        task = asyncio.get_running_loop().create_task(self._doors.call_back(), name="call back")
        self._calling_back.add(task)
        task.add_done_callback(self._calling_back.discard)
        return {}

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
            self._server.config.ws_max_size = settings_of(new).body_limit
            self._doors.follow(new)
            self._open_doors()
            log.info("Adopted the map of epoch %d.", new.epoch)

    def _open_doors(self) -> None:
        """Opens what is to be open, if that was not possible until now; nobody waits for it."""
        if self._doors.missing and (self._opening is None or self._opening.done()):
            self._opening = asyncio.get_running_loop().create_task(self._doors.try_again(), name="open doors")

    async def _watch(self) -> None:
        """Looks at the map file in case no keeper pushes, and for connections that are too slow."""
        loop = asyncio.get_running_loop()
        swept = loop.time()
        while True:
            await asyncio.sleep(MAP_LOOK_EVERY_S)
            self._look()
            self._open_doors()
            now = loop.time()
            if now - swept >= SWEEP_S:
                swept = now
                self._doors.sweep(now)

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
        self._app.leaving = "The process is leaving: it finishes what its clients have begun."
        self._app.runtime.leave()
        self._drain.begin(settings_of(self._map).drain_limit_s)

    def _interrupted(self) -> None:
        """The first Ctrl-C drains, the second does not wait."""
        if self._drain.begun:
            self._drain.leave_now()
        self._leave()

    def _die(self, error: BaseException) -> None:
        """Another process starts from what the database says; this one could only guess."""
        log.critical("The process ends at once: %s", error, exc_info=error)
        if self._app.access is not None:
            self._app.access.flush()
        print(error_line(error), file=sys.stderr, flush=True)
        os._exit(EXIT_FATAL)


def _config(app: TenfoldASGI, current: Map) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=WebProtocol,
        loop="uvloop",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        ws="none",  # ours is imported when the first WebSocket comes
        ws_max_size=settings_of(current).body_limit,
        timeout_keep_alive=round(settings_of(current).keep_alive_s),
        timeout_graceful_shutdown=LEAVE_IN_FLIGHT_S,
    )


def main() -> int:
    """Runs the web process; returns its exit code."""
    faulthandler.enable()
    log_to_stderr(ResponseAbortedError)
    allow_many_descriptors()
    try:
        environment = read_environment(os.environ)
        current = read_map(environment.map_path)
        code = Path(current.code_of(version_of(current, environment.node)))
        node = current.node(environment.node)
        with gently(node is not None and node.traffic == "off"):
            app = load_app(current.app, code)
        process = WebProcess(environment, current, app)
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
