"""The web process: `python -m tenfold.serve.web`, started by a keeper.

It takes the public listener that it inherits (`TENFOLD_LISTEN_FD`), the map (`TENFOLD_MAP`), and a path for its control
socket (`TENFOLD_NODE_SOCKET`). On which addresses it accepts is up to the map (`tenfold.serve.doors`); see
docs/serving.md for the protocol and the exit codes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn

from tenfold.serve.access import AccessLog
from tenfold.serve.asgi import ResponseAbortedError, TenfoldASGI
from tenfold.serve.door import Door
from tenfold.serve.doors import Doors
from tenfold.serve.drain import Drain
from tenfold.serve.environment import Environment, inherited_listener
from tenfold.serve.metrics import BUCKETS_S
from tenfold.serve.node import Facts, NodeSocket
from tenfold.serve.noted import fitting
from tenfold.serve.private import PrivateProtocol
from tenfold.serve.process import PREPARE_S, ServiceProcess, run_process
from tenfold.serve.protocol import SWEEP_S, WebProtocol
from tenfold.serve.settings import settings_of
from tenfold.serve.telling import http_numbers
from tenfold.serve.told import HttpNumbers
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


class WebProcess(ServiceProcess):
    """One web process, from its listener to its last connection."""

    def __init__(self, environment: Environment, current: Map, app: TenfoldASGI) -> None:
        super().__init__(environment, current, app)
        # The public door closes its own copy; this one stays to be handed back for as long as the process lives.
        self._listener = inherited_listener(environment.listen_fd)
        self._server = EmbeddedServer(_config(app, current))
        self._doors = Doors(environment.node, self._listener, self._server.connect)
        self._server.doors = self._doors
        self._drain = Drain(self._server, self._doors, app.runtime.busy)
        self._opening: asyncio.Task[None] | None = None
        self._calling_back: set[asyncio.Task[None]] = set()
        app.access = AccessLog(sys.stdout.fileno(), app.runtime.clock)
        self._doors.follow(current)

    async def run(self) -> None:
        """Serves until drained. Raises what kept the service from starting."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._leave)
        loop.add_signal_handler(signal.SIGINT, self._interrupted)
        operations = {
            "status": self._status,
            "durations": self._durations,
            "numbers": self._numbers,
            "told": self._told,
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
            **self._common(),
            "ready": ready,
            "reason": reason or self._app.runtime.tasks.trouble(),
            "draining": self._drain.begun,
            "requests": self._app.metrics.total(),
            "in_flight": self._app.metrics.in_flight,
            "connections": len(self._server.server_state.connections),
            **self._front(),
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

    def _answers(self) -> HttpNumbers:
        app = self._app
        return http_numbers(app.metrics, app.runtime.collectors(), len(self._server.server_state.connections))

    async def _told(self, _: Facts) -> Facts:
        """The slowest requests of the last ten minutes, and the last that failed (`tenfold.serve.told.Told`)."""
        noted = self._app.noted
        slowest = noted.slowest(self._app.runtime.clock.monotonic())
        return {"slow": fitting(slowest), "failed": fitting(noted.failures())}

    def _front(self) -> Facts:
        node = self._node
        public, private = self._doors.public, self._doors.private
        return {
            "address": node.address if node else "",
            "doors": {"public": public.is_open, "private": private.is_open},
            "public_connections": public.count,
            "private_connections": private.count,
            "websockets": len(public.websockets) + len(private.websockets),
        }

    async def _prepared(self) -> None:
        await asyncio.gather(self._doors.settled(PREPARE_S), super()._prepared())

    async def _call_back(self, _: Facts) -> Facts:
        task = asyncio.get_running_loop().create_task(self._doors.call_back(), name="call back")
        self._calling_back.add(task)
        task.add_done_callback(self._calling_back.discard)
        return {}

    # Inside

    def _took_over(self, new: Map) -> None:
        self._server.config.ws_max_size = settings_of(new).body_limit
        self._doors.follow(new)
        self._open_doors()

    def _open_doors(self) -> None:
        """Opens what is to be open, if that was not possible until now; nobody waits for it."""
        if self._doors.missing and (self._opening is None or self._opening.done()):
            self._opening = asyncio.get_running_loop().create_task(self._doors.try_again(), name="open doors")

    async def _watch(self) -> None:
        """Looks at the map file in case no keeper pushes, and for connections that are too slow."""
        loop = asyncio.get_running_loop()
        swept = loop.time()
        while True:
            await self._look_soon()
            self._open_doors()
            now = loop.time()
            if now - swept >= SWEEP_S:
                swept = now
                self._doors.sweep(now)

    def _leave(self) -> None:
        self._app.leaving = "The process is leaving: it finishes what its clients have begun."
        self._app.runtime.leave()
        self._drain.begin(settings_of(self._map).drain_limit_s)

    def _interrupted(self) -> None:
        """The first Ctrl-C drains, the second does not wait."""
        if self._drain.begun:
            self._drain.leave_now()
        self._leave()

    def _last_words(self) -> None:
        if self._app.access is not None:
            self._app.access.flush()


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
    """Runs the web process; returns its exit code. One that gets no clients yet starts beside those that serve."""
    return run_process(
        WebProcess,
        listens=True,
        beside=lambda node: node is not None and node.traffic == "off",
        no_news=(ResponseAbortedError,),
    )


if __name__ == "__main__":
    sys.exit(main())
