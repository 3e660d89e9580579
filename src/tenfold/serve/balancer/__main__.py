"""The balancer process: `python -m tenfold.serve.balancer`, started by a keeper with what environment.py names."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import grp
import logging
import os
import pwd
import signal
import sys
import traceback
from pathlib import Path

from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.errors import TenfoldError, Unavailable, UsageError
from tenfold.core.files import allow_many_descriptors
from tenfold.engines.haproxy.basis import Identity
from tenfold.engines.haproxy.frontends import PUBLIC
from tenfold.engines.haproxy.programs import Program, choose, installed
from tenfold.engines.haproxy.servers import LAST_RESORT, WEB
from tenfold.hosts.commands import output_of
from tenfold.hosts.process import Reaper
from tenfold.serve.balancer.encrypted import OPERATION, EncryptedListener
from tenfold.serve.balancer.engine import Haproxies
from tenfold.serve.balancer.folder import Folder
from tenfold.serve.balancer.follow import LOOK_EVERY_S, Follower
from tenfold.serve.balancer.launch import folder_of
from tenfold.serve.balancer.policy import descriptors_for
from tenfold.serve.environment import Environment, inherited_listener, read_environment, read_map, stamp_of
from tenfold.serve.errorlog import error_line, log_to_stderr
from tenfold.serve.node import Facts, NodeSocket
from tenfold.topology.map import Map

EXIT_CANNOT_START = 3
"""Starting again will not help: somebody has to change something first."""
MAP_LOOK_EVERY_S = 0.25
USERS = ("haproxy", "nobody")
"""As whom HAProxy serves when we are root: the first of these that there is."""

log = logging.getLogger("tenfold.balancer")


class BalancerProcess:
    """One balancer, from its start to the end of its HAProxy."""

    def __init__(self, environment: Environment, current: Map, program: Program) -> None:
        self._environment = environment
        self._map = current
        self._listener = inherited_listener(environment.listen_fd)
        self._folder = Folder(folder_of(Path(current.state), environment.node))
        self._haproxies = Haproxies(self._folder, program, Reaper(), SYSTEM_CLOCK, sys.stdout.fileno())
        others = [node.name for node in current.of_role("balancer") if node.name != environment.node]
        self._encrypted = EncryptedListener(environment.socket_path.parent, others)
        limit = descriptors_for(allow_many_descriptors())
        self._follower = Follower(
            environment.node,
            listen_fd=self._listener.fileno(),
            folder=self._folder,
            haproxies=self._haproxies,
            encrypted=self._encrypted,
            identity=identity(),
            clock=SYSTEM_CLOCK,
            descriptors=limit,
        )
        self._stamp: tuple[int, int] | None = None
        self._leaving = asyncio.Event()

    async def run(self) -> None:
        """Serves until drained. Raises what kept HAProxy from serving."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._leaving.set)
        node = NodeSocket(
            self._environment.socket_path,
            {"status": self._status, "map": self._adopt, "drain": self._drain},
            listener_fd=self._listener.fileno(),
            hands={OPERATION: lambda: self._encrypted.descriptor},
        )
        await node.start()
        tasks: list[asyncio.Task[None]] = []
        try:
            await self._follower.begin(self._map)
            tasks = [loop.create_task(work) for work in (self._follower.keep(self._leaving.is_set), self._look())]
            await self._ended(tasks)
            await self._follower.close()
            await asyncio.gather(self._follower.leave(), self._follower.call_back())
        finally:
            for task in tasks:
                task.cancel()
            await node.stop()

    async def _ended(self, tasks: list[asyncio.Task[None]]) -> None:
        """Waits until we are to leave. A task that failed is a fault of ours: it ends us, and HAProxy serves on."""
        leaving = asyncio.ensure_future(self._leaving.wait())
        done, _ = await asyncio.wait([leaving, *tasks], return_when=asyncio.FIRST_COMPLETED)
        if leaving not in done:
            leaving.cancel()
            for task in done:
                task.result()
        for task in tasks:
            task.cancel()
        log.info("The balancer leaves: it finishes what its clients have begun.")

    # Operations of the control socket

    async def _status(self, _: Facts) -> Facts:
        ready, reason = self._ready()
        life = self._haproxies.serving
        follower = self._follower
        seen = follower.seen
        clients = seen.stats.frontend(PUBLIC)  # HAProxy's own totals count what we ask it, too
        return {
            "node": self._environment.node,
            "role": "balancer",
            "pid": os.getpid(),
            "haproxy_pid": life.pid if life is not None and life.runs else None,
            "version": seen.info.version if seen.info else "",
            "epoch": follower.applied.epoch if follower.applied else 0,
            "ready": ready,
            "reason": reason,
            "draining": self._leaving.is_set(),
            "reloads": follower.counts.reloads,
            "restarts": follower.counts.restarts,
            "restart_ms": follower.counts.restart_ms,
            "leaving": self._haproxies.leaving,
            "requests": clients.requests if clients else 0,
            "failed": clients.answers_5xx if clients else 0,
            "connections": clients.current if clients else 0,
            "queue": seen.stats.waiting,
            "age_s": round(SYSTEM_CLOCK.monotonic() - seen.at, 3) if seen.at else 0.0,
            "tls": self._map.public.tls.port if self._map.public.tls else 0,
            "servers": self._servers(),
        }

    def _servers(self) -> list[Facts]:
        return [
            {
                "name": one.name,
                "state": one.status,
                "current": one.current,
                "queue": one.queue,
                "weight": one.weight,
                "ejected": one.name in self._follower.ejected,
            }
            for one in self._follower.seen.stats.servers
            if one.backend == WEB and one.name != LAST_RESORT
        ]

    def _ready(self) -> tuple[bool, str]:
        life, follower = self._haproxies.serving, self._follower
        if self._leaving.is_set():
            return False, "The balancer is leaving."
        if follower.problem is not None:
            return False, follower.problem.message
        if life is None or not life.runs or life.ready_at is None:
            return False, "HAProxy is being started."
        if follower.applied is None or follower.applied.epoch < self._map.epoch:
            return False, f"The map of epoch {self._map.epoch} is being applied."
        return True, ""

    async def _adopt(self, request: Facts) -> Facts:
        self._take_over(read_map(self._environment.map_path))
        wanted = request.get("epoch")
        if isinstance(wanted, int) and wanted > self._map.epoch:
            raise UsageError(
                f"The map file has the epoch {self._map.epoch}, not {wanted}.",
                hint="Write the map first, then push it.",
            )
        await self._follower.follow(self._map)
        return {"epoch": self._map.epoch}

    async def _drain(self, _: Facts) -> Facts:
        self._leaving.set()
        return {}

    # Inside

    def _take_over(self, new: Map) -> bool:
        newer = new.epoch > self._map.epoch
        if newer:
            self._map = new
            log.info("Adopted the map of epoch %d.", new.epoch)
        return newer

    async def _look(self) -> None:
        """Looks at the map file in case no keeper pushes, and at HAProxy every second."""
        loop = asyncio.get_running_loop()
        looked = 0.0
        while True:
            await self._look_at_file()
            if loop.time() - looked >= LOOK_EVERY_S:
                looked = loop.time()
                await self._follower.look()
            await asyncio.sleep(MAP_LOOK_EVERY_S)

    async def _look_at_file(self) -> None:
        stamp = stamp_of(self._environment.map_path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            if self._take_over(read_map(self._environment.map_path)):
                await self._follower.follow(self._map)
        except TenfoldError as error:
            log.error("The new map is not applied: %s", error)


def identity() -> Identity:
    """As whom HAProxy serves: an unprivileged user when we are root, else whoever we are."""
    if os.geteuid() != 0:
        return Identity()
    for user in USERS:
        with contextlib.suppress(KeyError):
            return Identity(user, grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name)
    raise UsageError(
        f"There is no unprivileged user for HAProxy: none of {', '.join(USERS)}.", hint="Make one of them."
    )


def main() -> int:
    """Runs the balancer process; returns its exit code."""
    faulthandler.enable()
    log_to_stderr()
    try:
        environment = read_environment(os.environ)
        current = read_map(environment.map_path)
        program = choose(installed(output_of))
        asyncio.run(_serve(environment, current, program))
    except Exception as error:  # noqa: BLE001 - the last line of the log says why, whatever it is
        if not isinstance(error, TenfoldError):
            traceback.print_exception(error)
        print(error_line(error), file=sys.stderr, flush=True)
        return _exit_code(error)
    return 0


def _exit_code(error: BaseException) -> int:
    """What a person has to change first ends with 3; anything else is worth another start."""
    return EXIT_CANNOT_START if isinstance(error, TenfoldError) and not isinstance(error, Unavailable) else 1


async def _serve(environment: Environment, current: Map, program: Program) -> None:
    await BalancerProcess(environment, current, program).run()


if __name__ == "__main__":
    sys.exit(main())
