"""A real PostgreSQL server over a real keeper, made by our own engine, with everything gone at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from keeping import House, alive, until

from tenfold.control.crew import Crew
from tenfold.control.engine import NODE, SUPERUSER, Engine, owner_login, secrets_of, web_login
from tenfold.control.place import Place
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.engines.postgres import home as homes
from tenfold.engines.postgres.address import ServerUrl
from tenfold.engines.postgres.programs import installed
from tenfold.engines.postgres.server import Connection, connect, superuser_login
from tenfold.hosts.commands import output_of
from tenfold.topology.map import ServerMap

FOUND = installed(output_of)
needs_postgres = pytest.mark.skipif(not FOUND, reason="not run: PostgreSQL is not installed")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="not run: this needs root")
LIMIT_S = 90.0


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs one piece of work on a loop of its own."""
    return asyncio.run(asyncio.wait_for(work, LIMIT_S))


class PgServer:
    """One deployment's folder with a keeper and a supervised server."""

    def __init__(self, root: Path, service: str = "small") -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.place = Place(root)
        self.service = service
        self.house = House(self.place.state)
        self.place.prepare()
        self.server: ServerMap | None = None

    @property
    def engine(self) -> Engine:
        """As a controller that has just been started has it."""
        return Engine(self.place, Crew(self.place, SYSTEM_CLOCK), self.service)

    @property
    def crew(self) -> Crew:
        return Crew(self.place, SYSTEM_CLOCK)

    @property
    def home(self) -> homes.Home:
        return self.engine.home

    def start(self, pool: int = 4) -> ServerMap:
        """The keeper, unless it runs, and the server."""
        if not self.house.client.runs():
            self.house.start()
        self.server = run(self.engine.make(pool))
        return self.server

    @property
    def admin(self) -> ServerUrl:
        """The superuser's login."""
        assert self.server is not None
        password = secrets_of(self.place).find(SUPERUSER)
        assert password is not None
        return superuser_login(self.home, self.server.port, password)

    @property
    def owner(self) -> ServerUrl:
        assert self.server is not None
        return owner_login(self.place, self.server)

    @property
    def web(self) -> ServerUrl:
        assert self.server is not None
        return web_login(self.place, self.server)

    def sql(self, login: ServerUrl, *statements: str) -> Any:
        """Runs statements one after another; the first value of the last one."""

        async def work() -> Any:
            async with connect(login) as connection:
                return await _first_value(connection, statements)

        return run(work())

    def pid(self) -> int:
        """The pid of the server, by the keeper."""
        return until(lambda: self.house.fact(NODE)["pid"], f"{NODE} runs")

    def log(self) -> str:
        return self.house.log(NODE)

    def end(self) -> None:
        """Nothing of it runs or is left afterwards."""
        with contextlib.suppress(Exception):
            run(self.engine.stop())
        pid = self._pid_in_file()
        self.house.end()
        if pid:
            until(lambda: not alive(pid), "the server is gone")
        for folder in (self.home.root, self.home.socket):
            shutil.rmtree(folder, ignore_errors=True)

    def _pid_in_file(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int((self.home.data / "postmaster.pid").read_text().splitlines()[0])
        return 0


async def _first_value(connection: Connection, statements: tuple[str, ...]) -> Any:
    for statement in statements[:-1]:
        await connection.execute(statement)
    return await connection.fetchval(statements[-1])


@contextlib.contextmanager
def pg_server(root: Path, service: str = "small", *, pool: int = 4) -> Iterator[PgServer]:
    """A server that runs."""
    made = PgServer(root, service)
    try:
        made.start(pool)
        yield made
    finally:
        made.end()


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own of that size; skips the test when mounting is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=False)
    if done.returncode != 0:
        pytest.skip("not run: this machine does not allow mounts")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        shutil.rmtree(folder)
