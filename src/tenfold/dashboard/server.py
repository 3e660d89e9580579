"""The dashboard from its socket to its end: what it listens on, its control socket, and when it is time to leave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator

import uvicorn

from tenfold.control.answering import answer_on
from tenfold.control.place import Place
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.dashboard.app import Dashboard
from tenfold.dashboard.door import NODE, address_of, open_door, rules_of
from tenfold.hosts import wire
from tenfold.topology.dashboard import DashboardMap

LEAVE_S = 1
"""Seconds that answers which were begun get when it leaves; streams are ended at once."""
HEAD_MAX = 64 * 1024
"""Bytes of a request's head: browsers send the cookies of every port of this host. Without a bound (httptools has none)
anybody who reaches the port could fill our memory."""
LOOK_S = 1.0
"""How often it looks whether its settings have changed."""


class _Uvicorn(uvicorn.Server):
    """uvicorn that leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


class Server:
    """One dashboard. Raises why it cannot begin: no map, a host that is not ours."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self._place = place
        self._settings = self._read()
        self._listener = open_door(place, self._settings)
        self._address = address_of(self._listener)
        port = int(self._listener.getsockname()[1])
        self._dashboard = Dashboard(place, clock, rules_of(place, self._settings), port)
        self._uvicorn = _Uvicorn(_config(self._dashboard))

    def _read(self) -> DashboardMap:
        current = self._place.read_map()
        if current is None:
            raise Unavailable(f"There is no map in {self._place.state}.", hint="Start it with `tenfold up`.")
        return current.dashboard

    async def run(self) -> None:
        """Serves until SIGTERM, or until the settings are others."""
        leave = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, leave.set)
        control = await answer_on(self._place.run / f"{NODE}.sock", NODE, {"status": self._status})
        await self._dashboard.start()
        serving = asyncio.create_task(self._uvicorn.serve(sockets=[self._listener]))
        watching = asyncio.create_task(self._watch(leave))
        leaving = asyncio.create_task(leave.wait())
        await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
        watching.cancel()
        leaving.cancel()
        await self._dashboard.stop()
        self._uvicorn.should_exit = True
        await serving
        control.close()

    async def _watch(self, leave: asyncio.Event) -> None:
        while not leave.is_set():
            await asyncio.sleep(LOOK_S)
            with contextlib.suppress(TenfoldError):  # a map that cannot be read says nothing about the settings
                if self._read() != self._settings:
                    leave.set()

    async def _status(self, _message: wire.Message) -> wire.Message:
        return {
            "node": NODE,
            "pid": os.getpid(),
            "ready": self._uvicorn.started,
            "address": self._address,
            "mode": self._settings.mode,
            "token": self._dashboard.needs_token,
            "viewers": self._dashboard.viewers,
        }


def _config(dashboard: Dashboard) -> uvicorn.Config:
    return uvicorn.Config(
        dashboard.app,
        loop="none",
        lifespan="off",
        interface="asgi3",
        ws="none",
        http="h11",
        h11_max_incomplete_event_size=HEAD_MAX,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=LEAVE_S,
        limit_concurrency=256,
    )
