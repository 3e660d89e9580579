"""The scopes of the SQLite backend: what a body's `tx` and a reader's `db` are."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from tenfold.blocks.database.backend import ROWS_LIMIT, Call, DatabaseConfig
from tenfold.blocks.database.policy import Scope, check_keys, refusal
from tenfold.blocks.database.statement import Plan, Plans
from tenfold.core.errors import ContractError, NotFound
from tenfold.drivers.sqlite import translated


class Home(Protocol):
    """What a scope needs of its backend."""

    plans: Plans
    config: DatabaseConfig
    reader: sqlite3.Connection

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


_NOT_JUDGED = ContractError("This plan has not been judged yet.")


class _Access:
    """Running plans on one connection in one scope."""

    __slots__ = ("_backend", "_connection", "_keys", "_scope")

    def __init__(
        self, backend: Home, connection: sqlite3.Connection, scope: Scope, keys: tuple[Any, ...] | None
    ) -> None:
        self._backend = backend
        self._connection = connection
        self._scope = scope
        self._keys = keys

    def _plan(self, statement: Any, params: Mapping[str, Any]) -> Plan:
        plan = self._backend.plans.get(statement, params)
        refused = plan.judged.get(self._scope, _NOT_JUDGED)
        if refused is _NOT_JUDGED:
            refused = plan.judged[self._scope] = refusal(statement, plan, self._scope)
        if refused is not None:
            raise ContractError(refused.message, hint=refused.hint, code=refused.code)
        keys = self._keys
        if keys is not None and not (len(plan.pins) == 1 and len(keys) == 1 and plan.pins[0].read(params) == keys[0]):
            check_keys(plan, params, keys)
        return plan

    def _rows(self, statement: Any, params: Mapping[str, Any], limit: int) -> list[Any]:
        plan = self._plan(statement, params)
        raw = self._backend.fetch(self._connection, plan, params, limit)
        make = plan.make
        if make is None:
            raise _no_rows()
        return [make(row) for row in raw]


class _Direct(_Access):
    """Statements that run at once, on the loop."""

    __slots__ = ()

    async def one(self, statement: Any, /, **params: Any) -> Any:
        return _exactly_one(self._rows(statement, params, 2))

    async def one_or_none(self, statement: Any, /, **params: Any) -> Any:
        return _at_most_one(self._rows(statement, params, 2))

    async def all(self, statement: Any, /, **params: Any) -> list[Any]:
        return _bounded(self._rows(statement, params, ROWS_LIMIT + 1))

    async def scalar(self, statement: Any, /, **params: Any) -> Any:
        row = _at_most_one(self._rows(statement, params, 2))
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
            raise _ended("A read scope was used after its end.")
        plan = self._plan(statement, params)
        running = self._backend.beside(self._backend.fetch, self._connection, plan, params, limit)
        self._running += 1
        running.add_done_callback(self._ended)
        raw = await asyncio.shield(running)
        make = plan.make
        if make is None:
            raise _no_rows()
        return [make(row) for row in raw]

    async def one(self, statement: Any, /, **params: Any) -> Any:
        return _exactly_one(await self._beside(statement, params, 2))

    async def one_or_none(self, statement: Any, /, **params: Any) -> Any:
        return _at_most_one(await self._beside(statement, params, 2))

    async def all(self, statement: Any, /, **params: Any) -> list[Any]:
        return _bounded(await self._beside(statement, params, ROWS_LIMIT + 1))

    async def scalar(self, statement: Any, /, **params: Any) -> Any:
        row = _at_most_one(await self._beside(statement, params, 2))
        return None if row is None else row[0]


class SqliteTransaction(_Direct):
    """A body's tx. Statements run at once on the writer's connection; nothing here ever suspends."""

    __slots__ = ("after", "failed", "open")

    def __init__(self, backend: Home, connection: sqlite3.Connection, call: Call) -> None:
        super().__init__(backend, connection, call.scope, call.keys)
        self.open = True
        self.failed: BaseException | None = None
        self.after: list[Callable[[], object]] | None = None

    def _rows(self, statement: Any, params: Mapping[str, Any], limit: int) -> list[Any]:
        plan = self._admitted(statement, params)
        make = plan.make
        if make is None:
            raise _no_rows()
        sql, values = (plan.sql, plan.bind(params)) if plan.expand is None else plan.expand(params)
        try:
            raw = self._connection.execute(sql, values).fetchmany(limit)
        except sqlite3.Error as error:
            raise self._doomed(error) from error
        return [make(row) for row in raw]

    def _admitted(self, statement: Any, params: Mapping[str, Any]) -> Plan:
        if not self.open:
            raise _ended("A tx was used after its transaction had ended.")
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
            if plan.make is not None:
                cursor.fetchall()
        except sqlite3.Error as error:
            raise self._doomed(error) from error
        return cursor.rowcount

    async def run_many(self, statement: Any, rows: list[dict[str, Any]], /) -> int:
        touched = 0
        for params in rows:
            touched += await self.run(statement, **params)
        return touched

    def on_commit(self, callback: Callable[[], object]) -> None:
        if not self.open:
            raise _ended("A tx was used after its transaction had ended.")
        if self.after is None:
            self.after = []
        self.after.append(callback)


def _ended(what: str) -> ContractError:
    return ContractError(what, hint="Use it inside its block only.", code="TF-TX-5")


def _exactly_one(rows: list[Any]) -> Any:
    row = _at_most_one(rows)
    if row is None:
        raise NotFound("There is no such row.", code="TF-NO-ROW")
    return row


def _at_most_one(rows: list[Any]) -> Any:
    if len(rows) > 1:
        raise ContractError("Several rows came where one was asked for.", hint="Use all().", code="TF-STMT-4")
    return rows[0] if rows else None


def _bounded(rows: list[Any]) -> list[Any]:
    if len(rows) > ROWS_LIMIT:
        raise ContractError(
            f"More than {ROWS_LIMIT:,} rows came.",
            hint="Page through them with LIMIT and the last key.",
            code="TF-STMT-5",
        )
    return rows


def _no_rows() -> ContractError:
    return ContractError("This statement returns no rows.", hint="Use run(), or add RETURNING.", code="TF-STMT-6")


def swallowed(name: str, error: BaseException) -> ContractError:
    """The error of a body that went on after one of its statements had failed."""
    return ContractError(
        f"{name} went on after a statement had failed ({error}).",
        hint="A failed statement ends its transaction, on every database: let the error out, and decide outside.",
        code="TF-TX-3",
    )
