"""A deployment as a move sees it, in one process: a SQLite file, a real PostgreSQL, and a map that is published to
whoever listens. For tests of moves over rows."""

from __future__ import annotations

import asyncio
import contextlib
import glob
import os
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import asyncpg
import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from tenfold.blocks.database.schema import apply_own
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.redact import Secret
from tenfold.drivers.sqlite import WriterLock, open_writer
from tenfold.moves.base import Move
from tenfold.moves.context import Access, PublishResult
from tenfold.moves.rows.reading import file_range, server_range
from tenfold.moves.rows.tables import moved_tables
from tenfold.moves.rows.work import Work
from tenfold.topology.map import Map, ServerMap, map_of
from tenfold.topology.spec import parse_spec

PROGRAMS = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
NOBODY = 65534
T = TypeVar("T")


def programs() -> Path | None:
    """Where PostgreSQL's programs are; None when there are none."""
    if PROGRAMS:
        return Path(PROGRAMS[-1])
    found = shutil.which("initdb")
    return Path(found).parent if found else None


@dataclass
class TinyServer:
    """A PostgreSQL server of a test: a unix socket in a folder of its own, trust, one superuser."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    port: int = 5432
    settings: tuple[str, ...] = ("fsync=off", "full_page_writes=off")

    @property
    def identity(self) -> dict[str, Any]:
        return {"user": NOBODY, "group": NOBODY} if os.geteuid() == 0 else {}

    def make(self) -> None:
        """initdb."""
        bin_ = programs()
        assert bin_ is not None
        if os.geteuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)
        words = [str(bin_ / "initdb"), "-D", str(self.folder / "data"), "-U", "boss", "-A", "trust", "-E", "UTF8"]
        words += ["--locale", "C", "-N", "--no-instructions"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd="/", **self.identity)

    def start(self) -> None:
        """Runs it and waits until it answers."""
        bin_ = programs()
        assert bin_ is not None
        words = [str(bin_ / "postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder), "-h", ""]
        for setting in ("max_connections=60", "log_min_messages=fatal", *self.settings):
            words += ["-c", setting]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, cwd="/", **self.identity)
        asyncio.run(self._answers())

    async def _answers(self) -> None:
        for _ in range(300):
            try:
                connection = await asyncpg.connect(**self.login("postgres"))
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.05)
            else:
                await connection.close()
                return
        raise AssertionError((self.folder / "log").read_text())

    def login(self, database: str) -> dict[str, Any]:
        """What asyncpg.connect takes."""
        return {"host": str(self.folder), "port": self.port, "user": "boss", "database": database}

    def kill(self) -> None:
        """Ends it as a crash does, its children with it (after SIGKILL they would work on for a moment)."""
        self.stop()

    def stop(self) -> None:
        """Ends it at once."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(3)
            self.process.wait(30)


def quick_folder(prefix: str) -> Path:
    """A folder in memory where there is such a place: tests of moves commit thousands of times, and none of them is
    about the disk. Short, because a unix socket lies in it."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"))


@contextlib.contextmanager
def tiny_server(*settings: str) -> Iterator[TinyServer]:
    """A server that lives as long as the block; with settings of its own it lies on the disk."""
    folder = Path(tempfile.mkdtemp(prefix="tf-pg-", dir="/tmp")) if settings else quick_folder("tf-pg-")
    server = TinyServer(folder)
    if settings:
        server.settings = settings
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


SPEC = b'[service]\nname = "moving"\napp = "x:app"\n'


@dataclass
class Cell:
    """One deployment: implements `tenfold.moves.context.Context`."""

    root: Path
    postgres: TinyServer
    metadata: sa.MetaData
    term: int = 1
    move_id: str = "m1"
    clock: Clock = SYSTEM_CLOCK
    database: str = ""
    map: Map | None = None
    listeners: list[Callable[[Map], None]] = field(default_factory=list)
    silent: dict[str, str] = field(default_factory=dict)
    removed: int = 0
    trail: list[str] = field(default_factory=list)
    cut: Callable[[str], None] = lambda what: None

    def __post_init__(self) -> None:
        self.database = self.database or f"t{os.getpid()}_{next(_numbers)}"
        if self.map is None:
            spec = parse_spec(SPEC.decode(), "tenfold.toml")
            self.map = map_of(spec, root=str(self.root), state=str(self.root / ".tenfold"), previous=None)

    def p99(self) -> float | None:
        return None

    @property
    def state(self) -> Path:
        return self.root / ".tenfold"

    @property
    def sqlite_path(self) -> Path:
        return Path(self.current().database.path)

    @property
    def service(self) -> str:
        return "moving"

    @property
    def wanted(self) -> Map:
        return self.current()

    def current(self) -> Map:
        assert self.map is not None
        return self.map

    async def publish(self, change: Callable[[Map], Map], *, patience_s: float = 15.0) -> PublishResult:
        self.cut("before publish")
        made = change(self.current())
        self.map = msgspec.structs.replace(made, epoch=self.current().epoch + 1)
        for listener in self.listeners:
            listener(self.map)
        self.cut("after publish")
        return PublishResult(self.map.epoch, ("web-1",), dict(self.silent))

    async def ensure_server(self) -> ServerMap:
        connection = await asyncpg.connect(**self.postgres.login("postgres"))
        try:
            for role in ("web", "owner"):
                if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
                    await connection.execute(f"CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEROLE")
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", self.database):
                await connection.execute(f'CREATE DATABASE "{self.database}" OWNER owner')
            await connection.execute(f'ALTER DATABASE "{self.database}" SET search_path = public, tf')
        finally:
            await connection.close()
        return ServerMap(str(self.postgres.folder), self.postgres.port, self.database, "web", "secrets/web", 8)

    async def remove_server(self) -> None:
        self.removed += 1

    async def connect_owner(self) -> Access:
        login = self.postgres.login(self.database)
        return Access(login["host"], login["port"], self.database, "owner", Secret(""), "disable")

    # -- for tests ---------------------------------------------------------------------------------------------------

    def make_file(self) -> None:
        """The SQLite file with our own tables and those of the metadata."""
        self.sqlite_path.parent.mkdir(parents=True, exist_ok=True)
        connection = open_writer(self.sqlite_path, create=True)
        apply_own(connection, now_us=7)
        for table in self.metadata.sorted_tables:
            connection.execute(str(CreateTable(table).compile(dialect=sqlite_dialect.dialect())))
            for index in table.indexes:
                connection.execute(str(CreateIndex(index).compile(dialect=sqlite_dialect.dialect())))
        connection.close()

    @contextlib.contextmanager
    def open_file(self) -> Iterator[sqlite3.Connection]:
        """A connection of another program of ours."""
        connection = open_writer(self.sqlite_path)
        try:
            yield connection
        finally:
            connection.close()

    async def server_rows(self, sql: str, *values: Any, user: str = "web") -> list[tuple[Any, ...]]:
        """Runs SQL on PostgreSQL as the service's role."""
        connection = await asyncpg.connect(**{**self.postgres.login(self.database), "user": user})
        try:
            return [tuple(row) for row in await connection.fetch(sql, *values)]
        finally:
            await connection.close()


_numbers = iter(range(1, 10**9))


@dataclass
class Said:
    """What a move told."""

    facts: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def say(self, doing: str, **figures: Any) -> None:
        self.lines.append(doing)

    def fact(self, name: str, value: Any) -> None:
        self.facts[name] = value


async def carry_out(move: Move, said: Said | None = None, *, until: str = "") -> Said:
    """Does all stages in order (those before `until`)."""
    said = said or Said()
    for stage in move.stages:
        if stage.name == until:
            break
        await stage.do(said)
    return said


async def take_back(move: Move, said: Said | None = None) -> None:
    """Undoes all stages before the point of no return, in reverse order."""
    for stage in reversed(move.stages[: move.index(move.no_return)]):
        await stage.undo(said or Said())


class Writer(threading.Thread):
    """Another writer of the file, in a thread: `step(connection, n)` again and again, each in a transaction, with the
    writers' lock, until `stop`. `done` counts commits; a refusal by the fence ends it (`refused`)."""

    def __init__(self, path: Path, step: Callable[[sqlite3.Connection, int], object], pause_s: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.path, self.step, self.pause_s = path, step, pause_s
        self.done, self.refused = 0, False
        self.failure: BaseException | None = None
        self._ending = threading.Event()
        self._first = threading.Event()

    def run(self) -> None:
        connection, lock = open_writer(self.path), WriterLock(self.path)
        try:
            while not self._ending.is_set():
                lock.acquire()
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    self.step(connection, self.done)
                    connection.execute("COMMIT")
                    self.done += 1
                    self._first.set()
                except sqlite3.IntegrityError as error:
                    connection.execute("ROLLBACK")
                    if "TF001" in str(error):
                        self.refused = True
                        return
                    raise
                finally:
                    lock.release()
                time.sleep(self.pause_s)
        except BaseException as error:
            self.failure = error
        finally:
            self._first.set()
            connection.close()
            lock.close()

    def begin(self) -> Writer:
        """Starts it and waits for its first commit."""
        self.start()
        self._first.wait(10)
        return self

    def stop(self) -> None:
        """Ends it; an unexpected failure is raised here."""
        self._ending.set()
        self.join(20)
        if self.failure is not None:
            raise self.failure


def all_rows(connection: sqlite3.Connection, cell: Cell) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that moves, in the file, in common form and key order."""
    return {table.name: file_range(table, None, 10**9)(connection) for table in moved_tables(cell.metadata)}


async def all_server_rows(cell: Cell) -> dict[str, list[tuple[Any, ...]]]:
    """The same on PostgreSQL."""
    connection = await asyncpg.connect(**cell.postgres.login(cell.database))
    try:
        tables = moved_tables(cell.metadata)
        return {table.name: await server_range(connection, table, None, None) for table in tables}
    finally:
        await connection.close()


async def same_everywhere(cell: Cell) -> None:
    """Asserts that both databases hold the same rows."""
    with cell.open_file() as connection:
        ours = all_rows(connection, cell)
    theirs = await all_server_rows(cell)
    for name, rows in ours.items():
        assert repr(theirs[name]) == repr(rows), name


def run(main: Coroutine[Any, Any, T]) -> T:
    """asyncio.run, which afterwards closes the databases of every move that was built meanwhile, however it ended."""
    made: list[Work] = []
    init = Work.__init__

    def remembered(self: Work, *args: Any, **named: Any) -> None:
        init(self, *args, **named)
        made.append(self)

    async def closing() -> T:
        try:
            return await main
        finally:
            for work in made:
                await work.close()

    with mock.patch.object(Work, "__init__", remembered):
        return asyncio.run(closing())
