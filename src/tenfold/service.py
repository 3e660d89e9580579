"""The Tenfold object: a service's blocks, its tables, and the ASGI application around it."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import MetaData, Table
from sqlalchemy.schema import SchemaItem

from tenfold.blocks.cache import Cache
from tenfold.blocks.database import Database, DatabaseConfig, Holding, Home, ServerConfig
from tenfold.blocks.events import Events
from tenfold.blocks.files import Files
from tenfold.blocks.ids import Ids
from tenfold.blocks.kv import Kv
from tenfold.blocks.limits import Limits
from tenfold.blocks.log import Log
from tenfold.blocks.metrics import Metrics
from tenfold.blocks.sessions import Sessions
from tenfold.blocks.tasks import JobRefused, Tasks
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import SpecError, TenfoldError
from tenfold.core.randomness import SYSTEM_RANDOMNESS, Randomness
from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.hot import Response
from tenfold.topology.map import Map, ServerMap, decode
from tenfold.topology.pools import share
from tenfold.topology.working import coded, works

MAP_VARIABLE = "TENFOLD_MAP"
"""Environment variable with the path of the map file; set by the keeper."""
NODE_VARIABLE = "TENFOLD_NODE"
"""Environment variable with the name of this process's node in the map; set by the keeper."""
LIMITS_VARIABLE = "TENFOLD_LIMITS"
"""Environment variable that switches all limits off where it is `off`; for load tests."""

log = logging.getLogger("tenfold.service")

_COUNTED = ("database", "cache", "ids", "tasks", "events", "sessions", "limits", "kv", "files", "metrics", "log")


class Block(Protocol):
    """What is opened after the database and closed before it, in the reverse order."""

    async def start(self) -> None:
        """Opens it; on an error nothing of it stays open."""
        ...

    async def stop(self) -> None:
        """Finishes what was accepted."""
        ...

    def adopt(self, new: Map) -> None:
        """Goes by a newer map; also before `start`."""
        ...


class Tenfold:
    """One service: `tf = Tenfold("shortener")`.

    Blocks: `tf.database`, `tf.cache`, `tf.ids`, `tf.tasks`, `tf.events`, `tf.sessions`, `tf.limits`, `tf.kv`,
    `tf.files`, `tf.metrics`, `tf.log`. They are declared against at import time and open between `open` and `close`,
    which the ASGI lifespan calls. Without a map (no keeper) everything runs on embedded defaults, with the
    state in `.tenfold/` of the current folder.
    """

    def __init__(self, name: str, *, clock: Clock = SYSTEM_CLOCK, randomness: Randomness = SYSTEM_RANDOMNESS) -> None:
        self._name = name
        self.clock = clock
        self.randomness = randomness
        self.metadata = MetaData()
        self.database = Database(self.metadata, clock=clock, randomness=randomness)
        self.cache = Cache(clock, randomness, in_transaction=self.database.in_transaction)
        self.ids = Ids(self.database, clock, randomness)
        self.log = Log(name, clock, randomness, node=os.environ.get(NODE_VARIABLE, ""))
        self.metrics = Metrics(self.database, clock, randomness)
        self.kv = Kv(self.database, clock, randomness)
        self.files = Files(self.database, clock, randomness)
        self.files.respond = Response
        self.limits = Limits(self.database, clock, randomness)
        self.sessions = Sessions(self.database, clock, randomness)
        self.sessions.name(name)
        self.events = Events(self.database, clock, randomness)
        self.tasks = Tasks(self.database, clock, randomness)
        if os.environ.get(LIMITS_VARIABLE, "").lower() == "off":
            self.limits.switch_off()
        self.limits.who, self.limits.enqueue = self._user, self._deferred
        self._blocks: tuple[Block, ...] = (
            self.ids, self.metrics, self.kv, self.files, self.limits, self.sessions, self.events, self.tasks,
        )  # fmt: skip
        self.database.look = self._look
        # What was loaded from the database before is as it was there; nobody tells us of changes to it elsewhere.
        self.database.on_switch = self._switched
        self.database.heard, self.cache.announce = self.cache.heard, self.database.announce
        self.cache.follow(self.database.catch_up)
        self._map: Map | None = None
        self._is_open = False
        self._leaving = False
        self._fatal: list[Callable[[BaseException], None]] = []

    @property
    def name(self) -> str:
        """The service's name."""
        return self._name

    @property
    def map(self) -> Map | None:
        """The map in force; None on embedded defaults."""
        return self._map

    def table(self, name: str, *items: SchemaItem, home: Home) -> Table:
        """Declares a table: `tf.table("links", Column(...), ..., home=sharded_by("code"))`."""
        return self.database.table(name, *items, home=home)

    def setting(self, name: str, default: Any) -> Any:
        """The value under `[settings]` in tenfold.toml, live: a new map changes it without a restart.

        `SpecError` when the value is of another type than the default (a whole number is taken for a float).
        """
        value = default if self._map is None else self._map.settings.get(name, default)
        if default is not None and not isinstance(value, type(default)):
            if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
                return float(value)
            raise SpecError(
                f"settings.{name}: found {value!r}; allowed: a {type(default).__name__}, such as {default!r}.",
                hint="Correct it in tenfold.toml and run `tenfold up` again.",
            )
        return value

    def asgi(
        self,
        app: Any,
        hot: Mapping[str, Callable[..., Any]] | None = None,
        *,
        body_limits: Mapping[str, str | int] | None = None,
    ) -> TenfoldASGI:
        """Wraps any ASGI application. `hot` maps path templates to handlers that skip the framework, `body_limits`
        maps them to the size that bodies may have there ("20MB") instead of `public.body_limit`."""
        made = TenfoldASGI(app, self, hot, body_limits)
        made.visitor = self.sessions.visitor
        return made

    # -- lifecycle ----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Opens the blocks; a `TenfoldError` when that is impossible, and then nothing stays open."""
        if self._is_open:
            return
        if self._map is None and MAP_VARIABLE in os.environ:
            self.adopt(read_map(Path(os.environ[MAP_VARIABLE])))
        self._leaving = False
        config = self.database_config()
        await self.database.start(config, self._on_fatal)
        try:
            if self.database_config() != config:  # a map came while it was being opened
                self.database.adopt(self.database_config())
            self._go_by_map()
            for block in self._blocks:
                await block.start()
        except BaseException:
            await self._stop_blocks()
            await self.database.stop()
            raise
        self._is_open = True

    async def close(self) -> None:
        """Finishes what was accepted, then closes. Safe to call twice, and without `open`."""
        if not self._is_open:
            return
        self._is_open = False
        await self._stop_blocks()
        await self.database.stop()

    async def _stop_blocks(self) -> None:
        """The last one that was opened first. One that cannot end in order does not keep the others from it."""
        for block in reversed(self._blocks):
            with contextlib.suppress(TenfoldError):  # a lease that cannot be given back runs out by itself
                await block.stop()

    def adopt(self, new: Map) -> None:
        """Takes over a map; when it returns, new work goes by it. On an error the map before it stays in force."""
        if new.service != self._name:
            raise SpecError(
                f"The map is for the service {new.service!r}, this is {self._name!r}.",
                hint="Make `name` in tenfold.toml and Tenfold(...) the same.",
            )
        if self._map is not None and new.epoch <= self._map.epoch:
            return
        config = _config_of(new) if self.database.is_open else None
        self._map = new
        self.cache.adopt(new.cache.entries, new.cache.bytes, new.cache.eviction)
        if config is not None:
            self.database.adopt(config)
        self._go_by_map()

    async def _user(self) -> str | None:
        """The user whose session the current request brings; for limits that count users apart."""
        return (await self.sessions.current()).user

    async def _deferred(self, name: str, request: dict[str, Any]) -> str | None:
        """The id of the job that a request over a limit has become; None when it cannot be one."""
        task = self.tasks.named(name)
        if task is None:
            log.error('There is no task "%s", which a limit names: the request is refused instead of deferred.', name)
            return None
        try:
            return await task.enqueue(request)
        except JobRefused:  # it is too large for a job
            return None

    def _go_by_map(self) -> None:
        if self._map is not None:
            self.log.adopt(self._map)
            for block in self._blocks:
                block.adopt(self._map)
        self._work()

    def _work(self) -> None:
        on = self.works()
        self.events.work(on)
        self.tasks.work(on)

    def works(self) -> bool:
        """Whether this process runs jobs and delivers events, by the map in force and unless it leaves."""
        return not self._leaving and works(self._map, os.environ.get(NODE_VARIABLE, ""))

    def leave(self) -> None:
        """Begins no further job from now on, whatever a later map says; those that run go on."""
        self._leaving = True
        self._work()

    def busy(self) -> int:
        """How many jobs, and batches of events, run in this process now."""
        return self.tasks.busy() + self.events.busy()

    async def prepared(self, limit_s: float) -> None:
        """Returns when everything that the map wants opened in advance is open, and could take over.

        `Unavailable` with the reason after `limit_s` seconds.
        """
        if self.database.is_open:
            await self.database.prepared(limit_s)

    def on_stale(self, look: Callable[[], object]) -> None:
        """Registers what looks at the map file at once; without it the file of `TENFOLD_MAP` is read, if there is one.

        It is called when the database refuses a write because this process's map is old.
        """
        self.database.look = look

    def _switched(self) -> None:
        self.cache.clear()
        self.sessions.forget()

    def _look(self) -> None:
        if MAP_VARIABLE in os.environ:
            try:
                self.adopt(read_map(Path(os.environ[MAP_VARIABLE])))
            except TenfoldError as error:
                log.error("The new map is not adopted: %s", error)

    @property
    def holding(self) -> Holding:
        """What waits while a move passes, and what has waited."""
        return self.database.holding

    def forget_map(self) -> None:
        """Goes back to the embedded defaults, so that a map of any epoch can be adopted; only while closed."""
        assert not self._is_open, "an open service keeps its map"
        self._map = None

    def ready(self) -> tuple[bool, str]:
        """Whether requests can be served, and why not."""
        return self.database.ready()

    def collectors(self) -> Mapping[str, Callable[[], object]]:
        """What `/metrics` shows of the blocks: the `stats` of each that has them, and what the service counts."""
        blocks = {name: getattr(self, name) for name in _COUNTED}
        stats = {name: block.stats for name, block in blocks.items() if hasattr(block, "stats")}
        return {**stats, "numbers": self.metrics.numbers}

    def on_fatal(self, callback: Callable[[BaseException], None]) -> None:
        """Registers what to call when only a new process can go on."""
        self._fatal.append(callback)

    def _on_fatal(self, error: BaseException) -> None:
        for callback in self._fatal:
            callback(error)

    def database_config(self) -> DatabaseConfig:
        """Where the database is and what bounds it has, from the map or the embedded defaults."""
        current = self._map
        if current is None:
            root = Path.cwd()
            path = root / ".tenfold" / "data" / f"{self._name}.db"
            return DatabaseConfig(path, self._name, migrations=_migrations(root))
        return _config_of(current)


def _config_of(current: Map) -> DatabaseConfig:
    database = current.database
    wants_server = "postgres" in (database.backend, database.standby)
    return DatabaseConfig(
        Path(database.path),
        current.service,
        epoch=current.epoch,
        hold_s=database.hold_s,
        queue=database.queue,
        migrations=_migrations(Path(current.code_of(_own_version(current)))),
        backend=database.backend,
        standby=database.standby,
        server=_server(current, database.server) if wants_server and database.server is not None else None,
        held=database.gate == "held",
    )


def _own_version(current: Map) -> str:
    """The version of the code that this process runs; the folder's own when the map does not name this process."""
    node = current.node(os.environ.get(NODE_VARIABLE, ""))
    return "" if node is None else node.version


def _server(current: Map, server: ServerMap) -> ServerConfig:
    """The server with its password, and this process's share of its connections."""
    processes = len(coded(current))
    return ServerConfig(
        server.host,
        server.port,
        server.database,
        server.user,
        _secret(Path(current.state) / server.secret),
        pool=share(server.pool, processes),
        tls=server.tls,
    )


def _secret(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SpecError(
            f"The password file {path} cannot be read: {reason}.",
            hint="`tenfold up` writes it; it belongs to the user that the service runs as, with mode 0600.",
        ) from None


def _migrations(root: Path) -> Path | None:
    folder = root / "migrations"
    return folder if folder.is_dir() else None


def read_map(path: Path) -> Map:
    """The map in a file; `SpecError` with the path when it is missing or not a map."""
    try:
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise SpecError(
            f"The map {path} cannot be read: {error.strerror}.", hint="`tenfold up` writes it; or unset TENFOLD_MAP."
        ) from error
