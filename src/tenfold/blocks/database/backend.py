"""What the database block asks of a backend: SQLite today, PostgreSQL on step 2. Private: it may change any time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from tenfold.blocks.database.commits import ResultCodec
from tenfold.blocks.database.meter import Meter, PoolUse
from tenfold.blocks.database.policy import Scope
from tenfold.blocks.database.token import Token

Consistency = Literal["session", "strong", "eventual"]
Isolation = Literal["serializable", "snapshot", "read committed"]
"""The last one is for single statements of our own that take rows which nobody else holds (SKIP LOCKED)."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Where backends differ; blocks and tests ask for these, never for a backend's name."""

    parallel_writers: bool
    """Whether two transactions can be under way at once (and so conflict, and be replayed)."""

    replicas: bool
    """Whether reads may be served by a copy that lags, so that tokens matter."""

    commits_numbered: bool = True
    """Whether each commit has a position of its own; otherwise a token only says that there was one."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where a database server is, and as whom this process works there."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    pool: int = 8
    """Connections of this process at most."""
    tls: str = "disable"


@dataclass(frozen=True, slots=True)
class DatabaseConfig:
    """What a process needs to open its database; made from the map.

    `backend` is where the work goes; `standby` is opened too, so that a later map can send the work there at once.
    While `held`, new transactions wait.
    """

    path: Path
    service: str
    epoch: int = 1
    hold_s: float = 25.0
    queue: int = 10_000
    migrations: Path | None = None
    """The service's revision files; None when it has none."""
    backend: str = "sqlite"
    standby: str = ""
    server: ServerConfig | None = None
    held: bool = False


@dataclass(slots=True)
class Call:
    """One call of a transaction function, on its way to a commit."""

    name: str
    start: Callable[[Any], Coroutine[Any, Any, Any]]
    """Makes the body, given its tx."""

    keys: tuple[Any, ...] | None
    """The key values, None for a home transaction."""

    codec: ResultCodec
    context: Context
    commit_id: bytes | None = None
    fingerprint: bytes = b""
    isolation: Isolation = "serializable"
    held_s: float = 0.0
    """How long it has waited at the gate."""

    @property
    def scope(self) -> Scope:
        """What its statements run in."""
        return Scope.HOME_WRITE if self.keys is None else Scope.KEYED_WRITE


class Reader(Protocol):
    """Reads of one scope. Rows are named tuples; parameters are keyword arguments."""

    async def one(self, statement: Any, /, **params: Any) -> Any:
        """Exactly one row; `NotFound` when there is none, `ContractError` when there are several."""
        ...

    async def one_or_none(self, statement: Any, /, **params: Any) -> Any:
        """One row or None; `ContractError` when there are several."""
        ...

    async def all(self, statement: Any, /, **params: Any) -> list[Any]:
        """All rows, at most `ROWS_LIMIT`."""
        ...

    async def scalar(self, statement: Any, /, **params: Any) -> Any:
        """The first column of the one row, or None without a row."""
        ...


class Transaction(Reader, Protocol):
    """What a transaction's body works with; the only thing it may await."""

    @property
    def bucket(self) -> int:
        """The hash slot of its (first) key, 0 to 4095: where rows of Tenfold's own that belong to it live."""
        ...

    async def run(self, statement: Any, /, **params: Any) -> int:
        """Runs a write; the number of rows it touched."""
        ...

    async def run_many(self, statement: Any, rows: list[dict[str, Any]], /) -> int:
        """Runs a write for each set of parameters; the number of rows touched."""
        ...

    def on_commit(self, callback: Callable[[], object]) -> None:
        """Calls back on the loop after COMMIT, before the caller has its result; never when the body is rolled back."""
        ...

    def announce(self, key: str) -> None:
        """Tells the other processes, with the commit, to drop what they remember under this key (caches use it)."""
        ...


ROWS_LIMIT = 100_000
"""Rows that one `all` may return; more is an error, so that a forgotten WHERE cannot fill the memory."""


class ReadContext(Protocol):
    """An asynchronous context manager that gives a `Reader`."""

    async def __aenter__(self) -> Reader: ...

    async def __aexit__(self, *exc: object) -> None: ...


Heard = Callable[[list[str] | None], object]
"""Is given the keys that another process announced, or None when some may have been missed."""


def deaf(keys: list[str] | None) -> None:
    """Hears nothing."""


class Backend(Protocol):
    """One database, open in this process."""

    capabilities: Capabilities

    heard: Heard
    """Called on the loop with what other processes on this database announce; set before `start`."""

    meter: Meter
    """Counts its reads; set before `start`."""

    def pool(self) -> PoolUse:
        """Its connections; none for a file."""
        ...

    def announce(self, keys: list[str]) -> None:
        """Tells the other processes on this database, within milliseconds."""
        ...

    def catch_up(self) -> bool:
        """Gives `heard` what was announced up to now, where that does not arrive by itself; a few microseconds.

        Whether there may be a newer map than this process has.
        """
        ...

    async def start(self) -> None:
        """Opens it."""
        ...

    async def stop(self) -> None:
        """Lets what began finish, and closes it."""
        ...

    def adopt(self, config: DatabaseConfig) -> None:
        """Takes over live settings of a newer map."""
        ...

    def write(self, call: Call) -> Awaitable[Any]:
        """Runs a call to its commit; the body's result. It may refuse before it is awaited."""
        ...

    def read(self, keys: tuple[Any, ...] | None, consistency: Consistency, snapshot: bool) -> ReadContext:
        """A read scope."""
        ...

    def fanout(self) -> ReadContext:
        """A scope for statements without a key, over all shards."""
        ...

    def position(self) -> Token:
        """A token at or after everything this process has committed."""
        ...

    def in_transaction(self) -> bool:
        """Whether the caller runs inside a transaction's body."""
        ...

    def ready(self) -> tuple[bool, str]:
        """Whether the schema is one that this code can work with, and why not."""
        ...
