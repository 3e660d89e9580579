"""A real PostgreSQL for tests: one server for each test process, made when it is first asked for, gone at the end.

It keeps fsync on. As root it runs as an unprivileged user, because PostgreSQL insists. Without PostgreSQL 15 or newer
the tests that need one are reported as not run.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncpg
import pytest

LEAST = 15
FOLDERS = ("/usr/lib/postgresql", "/usr/pgsql", "/usr/local/pgsql", "/opt/homebrew/opt")
SUPERUSER = "tenfold_tests"
SECONDS = 60.0
_PR_SET_PDEATHSIG = 1

CONFIG = """
listen_addresses = '127.0.0.1'
unix_socket_directories = '{folder}'
max_connections = 200
shared_buffers = 32MB
max_wal_size = 256MB
wal_level = replica
password_encryption = scram-sha-256
synchronous_commit = on
log_min_messages = fatal
autovacuum_naptime = 10s
"""


def programs() -> Path | None:
    """The folder with the programs of the newest PostgreSQL here, or None."""
    found: list[tuple[int, Path]] = []
    places = [Path(word) for word in os.environ.get("PATH", "").split(os.pathsep) if word]
    for folder in map(Path, FOLDERS):
        places += [path.parent for path in folder.parent.glob(f"{folder.name}*/**/initdb")]
    for place in places:
        if os.access(place / "initdb", os.X_OK) and os.access(place / "postgres", os.X_OK):
            folder = (place / "postgres").resolve().parent
            told = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
            version = re.search(r"(\d+)", told.stdout)
            if version and int(version[1]) >= LEAST:
                found.append((int(version[1]), folder))
    return max(found)[1] if found else None


PROGRAMS = programs()
needs_postgres = pytest.mark.skipif(PROGRAMS is None, reason="not run: there is no PostgreSQL 15 or newer here")


def _account() -> pwd.struct_passwd | None:
    """Whom the server runs as when we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    pytest.skip("not run: there is no unprivileged user for PostgreSQL")


def _dies_with_us() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


class Errands:
    """Runs coroutines on a loop in a thread of its own, so that tests can ask in the middle of theirs."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="postgres errands", daemon=True).start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of `work`."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)


class PostgresServer:
    """A cluster in a folder of its own. `start`, `kill` and `stop` any number of times; `remove` at the end."""

    def __init__(self, settings: str = "") -> None:
        assert PROGRAMS is not None, "guarded by needs_postgres"
        self.errands = Errands()
        self.folder = Path(tempfile.mkdtemp(prefix="tenfold-pg-"))
        self.password = secrets.token_hex(8)
        self.host = "127.0.0.1"
        self.port = free_port()
        self._programs = PROGRAMS
        self._account = _account()
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0
        self._initialise(settings)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        assert self._process is not None
        return self._process.pid

    def _as_whom(self) -> dict[str, Any]:
        account = self._account
        if account is None:
            return {}
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def _initialise(self, settings: str) -> None:
        if self._account is not None:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        secret = self.folder / "password"
        secret.touch(0o600)
        secret.write_text(self.password)
        if self._account is not None:
            os.chown(secret, self._account.pw_uid, self._account.pw_gid)
        command = [
            str(self._programs / "initdb"), "-D", str(self.data), "-U", SUPERUSER, "-A", "scram-sha-256", "-N",
            "-E", "UTF8", "--locale=C", f"--pwfile={secret}",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, **self._as_whom())
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(CONFIG.format(folder=self.folder) + settings)

    def start(self) -> None:
        """Starts it and waits until it answers."""
        deadline = time.monotonic() + SECONDS
        while True:
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port)],
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                    cwd=self.folder, preexec_fn=_dies_with_us, **self._as_whom(),
                )  # fmt: skip
            if self._answers(deadline):
                return
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]

    def _answers(self, deadline: float) -> bool:
        """Whether it came up; False when it ended (the one before may still be dying)."""
        assert self._process is not None
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError, asyncpg.PostgresError, TimeoutError):
                self.sql("SELECT 1")
                return True
            threading.Event().wait(0.02)
        return False

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends it: SIGINT for a fast, SIGQUIT for an immediate end, SIGKILL for none at all."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(how)
            process.wait(SECONDS)

    def kill(self) -> None:
        """kill -9 of its first process; the others follow by themselves."""
        self.stop(signal.SIGKILL)

    def signal(self, which: signal.Signals) -> None:
        """To every process of the server."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for pid in (self.pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, which)

    def remove(self) -> None:
        """Nothing is left."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- asking -------------------------------------------------------------------------------------------------------

    async def connection(self, database: str = "postgres", **settings: str) -> asyncpg.Connection[Any]:
        """A connection of the superuser's."""
        return await asyncpg.connect(
            host=self.host, port=self.port, user=SUPERUSER, password=self.password, database=database, timeout=10,
            server_settings={"search_path": "public, tf", **settings},
        )  # fmt: skip

    def run(self, work: Callable[[asyncpg.Connection[Any]], Coroutine[Any, Any, Any]], database: str) -> Any:
        """Runs `work(connection)` beside the test."""

        async def whole() -> Any:
            connection = await self.connection(database)
            try:
                return await work(connection)
            finally:
                await connection.close(timeout=5)

        return self.errands.run(whole())

    def sql(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Runs SQL in autocommit, as somebody else does."""

        async def ask(connection: asyncpg.Connection[Any]) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in await connection.fetch(sql)]

        return list(self.run(ask, database))

    def fresh_name(self, prefix: str) -> str:
        """A name for a database that there has not been."""
        self._made += 1
        return f"{prefix}_{self._made}"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_shared: list[PostgresServer] = []


def server() -> PostgresServer:
    """The one of this test process."""
    if not _shared:
        made = PostgresServer()
        atexit.register(made.remove)
        made.start()
        _shared.append(made)
    return _shared[0]
