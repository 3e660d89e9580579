"""The scopes of the SQLite backend: what a body's `tx` and a reader's `db` are."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from tenfold.blocks.database.backend import ROWS_LIMIT, Call, DatabaseConfig
from tenfold.blocks.database.meter import Meter
from tenfold.blocks.database.policy import Scope
from tenfold.blocks.database.scopes import Access, at_most_one, bounded, exactly_one, maker, over, swallowed
from tenfold.blocks.database.statement import Plan, Plans
from tenfold.core.errors import TenfoldError
from tenfold.drivers.sqlite import translated


class Home(Protocol):
    """What a scope needs of its backend."""

    plans: Plans
    config: DatabaseConfig
    reader: sqlite3.Connection
    meter: Meter

    def fetch(
        self, connection: sqlite3.Connection, plan: Plan, params: Mapping[str, Any], limit: int
    ) -> list[Sequence[Any]]:
        """At most `limit` raw rows of a plan."""
        ...

    async def borrow(self) -> sqlite3.Connection:
        """A connection of one's own."""
        ...

    def give_back(self, connection: sqlite3.Connection) -> None:
        """Takes a borrowed connection back."""
        ...

    def beside(self, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Runs a blocking function beside the loop."""
        ...


class _Access(Access):
    """Running plans on one connection in one scope."""

    __slots__ = ("_backend", "_connection")

    def __init__(
        self, backend: Home, connection: sqlite3.Connection, scope: Scope, keys: tuple[Any, ...] | None
    ) -> None:
        super().__init__(backend.plans, scope, keys)
        self._backend = backend
        self._connection = connection

    def _rows(self, statement: Any, params: Mapping[str, Any], limit: int) -> list[Any]:
        plan = self._plan(statement, params)
        meter = self._backend.meter
        began = meter.now()
        try:
            raw = self._backend.fetch(self._connection, plan, params, limit)
        except TenfoldError as error:
            meter.judge(error)
            raise
        finally:
            meter.read(began)
        make = maker(plan)
        return [make(row) for row in raw]


class _Direct(_Access):
    """Statements that run at once, on the loop."""

    __slots__ = ()

    async def one(self, statement: Any, /, **params: Any) -> Any:
        return exactly_one(self._rows(statement, params, 2))

    async def one_or_none(self, statement: Any, /, **params: Any) -> Any:
        return at_most_one(self._rows(statement, params, 2))

    async def all(self, statement: Any, /, **params: Any) -> list[Any]:
        return bounded(self._rows(statement, params, ROWS_LIMIT + 1))

    async def scalar(self, statement: Any, /, **params: Any) -> Any:
        row = at_most_one(self._rows(statement, params, 2))
        return None if row is None else row[0]


class SqliteReader(_Direct):
    """A read scope whose statements run on the loop, each in its own snapshot."""

    __slots__ = ()

    async def __aenter__(self) -> SqliteReader:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None


class SqliteSnapshot(_Access):
    """A read scope with one snapshot for all its statements, on a connection of its own, beside the loop."""

    __slots__ = ("_left", "_running")

    def __init__(self, backend: Home, scope: Scope, keys: tuple[Any, ...] | None) -> None:
        super().__init__(backend, backend.reader, scope, keys)
        self._running = 0
        self._left = True

    async def __aenter__(self) -> SqliteSnapshot:
        self._connection = await self._backend.borrow()
        self._left = False
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._left = True
        if self._running:  # its caller was cancelled; the thread gives the connection back when it has stopped
            self._connection.interrupt()
        else:
            self._backend.give_back(self._connection)

    def _ended(self, finished: asyncio.Future[Any]) -> None:
        self._running -= 1
        if self._left:
            if not finished.cancelled():
                finished.exception()  # nobody waits for it any more
            if not self._running:
                self._backend.give_back(self._connection)

    async def _beside(self, statement: Any, params: Mapping[str, Any], limit: int) -> list[Any]:
        if self._left:
            raise over("A read scope was used after its end.")
        plan = self._plan(statement, params)
        running = self._backend.beside(self._backend.fetch, self._connection, plan, params, limit)
        self._running += 1
        running.add_done_callback(self._ended)
        began = self._backend.meter.now()
        try:
            raw = await asyncio.shield(running)
        except TenfoldError as error:
            self._backend.meter.judge(error)
            raise
        finally:
            self._backend.meter.read(began)
        make = maker(plan)
        return [make(row) for row in raw]

    async def one(self, statement: Any, /, **params: Any) -> Any:
        return exactly_one(await self._beside(statement, params, 2))

    async def one_or_none(self, statement: Any, /, **params: Any) -> Any:
        return at_most_one(await self._beside(statement, params, 2))

    async def all(self, statement: Any, /, **params: Any) -> list[Any]:
        return bounded(await self._beside(statement, params, ROWS_LIMIT + 1))

    async def scalar(self, statement: Any, /, **params: Any) -> Any:
        row = at_most_one(await self._beside(statement, params, 2))
        return None if row is None else row[0]


class SqliteTransaction(_Direct):
    """A body's tx. Statements run at once on the writer's connection; nothing here ever suspends."""

    __slots__ = ("after", "failed", "open", "told")

    def __init__(self, backend: Home, connection: sqlite3.Connection, call: Call) -> None:
        super().__init__(backend, connection, call.scope, call.keys)
        self.open = True
        self.failed: BaseException | None = None
        self.after: list[Callable[[], object]] | None = None
        self.told: list[str] | None = None

    def _rows(self, statement: Any, params: Mapping[str, Any], limit: int) -> list[Any]:
        plan = self._admitted(statement, params)
        make = maker(plan)
        sql, values = (plan.sql, plan.bind(params)) if plan.expand is None else plan.expand(params)
        try:
            raw = self._connection.execute(sql, values).fetchmany(limit)
        except sqlite3.Error as error:
            raise self._doomed(error) from error
        return [make(row) for row in raw]

    def _admitted(self, statement: Any, params: Mapping[str, Any]) -> Plan:
        if not self.open:
            raise over("A tx was used after its transaction had ended.")
        if self.failed is not None:
            raise swallowed("this body", self.failed)
        return self._plan(statement, params)

    def _doomed(self, error: sqlite3.Error) -> BaseException:
        self.failed = translated(error, str(self._backend.config.path))
        return self.failed

    async def run(self, statement: Any, /, **params: Any) -> int:
        plan = self._admitted(statement, params)
        sql, values = (plan.sql, plan.bind(params)) if plan.expand is None else plan.expand(params)
        try:
            cursor = self._connection.execute(sql, values)
            rows = cursor.fetchall() if plan.make is not None else ()
            if cursor.rowcount >= 0:
                return cursor.rowcount
            # The driver counts only what begins with INSERT, UPDATE or DELETE: no SELECT, and nothing after WITH.
            return self._connection.execute("SELECT changes()").fetchone()[0] if plan.writes else len(rows)
        except sqlite3.Error as error:
            raise self._doomed(error) from error

    async def run_many(self, statement: Any, rows: list[dict[str, Any]], /) -> int:
        touched = 0
        for params in rows:
            touched += await self.run(statement, **params)
        return touched

    def on_commit(self, callback: Callable[[], object]) -> None:
        if not self.open:
            raise over("A tx was used after its transaction had ended.")
        if self.after is None:
            self.after = []
        self.after.append(callback)

    def announce(self, key: str) -> None:
        if not self.open:
            raise over("A tx was used after its transaction had ended.")
        if self.told is None:
            self.told = []
        self.told.append(key)
