"""One connection to PostgreSQL: how it is opened, its prepared statements, and the warnings that it heard.

Statements are prepared once per connection, by their text. Nothing is reset between uses: whoever borrows a connection
leaves no transaction open, or closes it.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from tenfold.core.errors import TenfoldError
from tenfold.drivers.postgres.failures import FAILURES, is_lost, lost, translated
from tenfold.drivers.postgres.literals import literals

STATEMENTS_KEPT = 500
"""Prepared statements of one connection at most; the one used least recently is closed first."""

CONNECT_S = 5.0
"""Opening a connection may take this long; a server that is stopped in the middle does not answer at all."""

CLOSE_S = 1.0

SYNC_WAIT_CANCELLED = "01000"
"""SQLSTATE of the warning that a commit is not known to have reached a standby."""

Record = asyncpg.Record
Rows = list[Record]


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the server is, as whom to work there, and what holds for the session.

    Times are seconds; 0 switches a limit off.
    """

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    tls: str = "disable"
    name: str = "tenfold"
    """What the server shows this connection as (`application_name`)."""
    statement_s: float = 30.0
    lock_s: float = 0.0
    idle_in_transaction_s: float = 30.0
    read_only: bool = False
    isolation: str = "read committed"
    """Of transactions that do not say."""
    few_rows: bool = True
    """Prefers indexes, because a whole-table read would collide with every writer under SERIALIZABLE."""

    @property
    def where(self) -> str:
        """Server and database, for a sentence."""
        return f"The PostgreSQL database {self.database} at {self.host}:{self.port}"

    def session(self) -> dict[str, str]:
        """The server's settings for the session."""
        given = {
            "application_name": self.name[:63],
            "search_path": "public, tf",
            "timezone": "UTC",
            "jit": "off",
            "random_page_cost": "1.1",
            "statement_timeout": _ms(self.statement_s),
            "lock_timeout": _ms(self.lock_s),
            "idle_in_transaction_session_timeout": _ms(self.idle_in_transaction_s),
            "client_connection_check_interval": "2000",
            "default_transaction_isolation": self.isolation,
            "standard_conforming_strings": "on",
        }
        if self.read_only:
            given["default_transaction_read_only"] = "on"
        if self.few_rows:
            given["enable_seqscan"] = "off"
        return given


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))


class Link:
    """A connection in use by one task at a time. `generation` is that of the pool when it was opened."""

    __slots__ = ("_prepared", "_statements", "_where", "connection", "due", "generation", "pid", "warned")

    def __init__(self, connection: asyncpg.Connection[Record], where: str, generation: int = 0) -> None:
        self.connection = connection
        self.generation = generation
        self.pid = connection.get_server_pid()
        self.due = 0.0
        """When its borrower loses it, in the loop's time; 0 for never."""
        self.warned = False
        """Whether the server said, since this was last set to False, that a commit may not have reached a standby."""
        self._prepared = 0
        self._where = where
        self._statements: collections.OrderedDict[str, PreparedStatement[Record]] = collections.OrderedDict()
        connection.add_log_listener(self._heard)

    @classmethod
    async def open(cls, settings: Settings, generation: int = 0) -> Link:
        """Connects; `Lost` when the server does not answer, an error with a hint when it refuses."""
        try:
            connection: asyncpg.Connection[Record] = await asyncpg.connect(  # type: ignore[call-overload]
                host=settings.host,
                port=settings.port,
                database=settings.database,
                user=settings.user,
                password=settings.password,
                ssl=settings.tls,
                timeout=CONNECT_S,
                statement_cache_size=0,
                server_settings=settings.session(),
            )
        except FAILURES as error:
            raise translated(error, settings.where) from error
        return cls(connection, settings.where, generation)

    def _heard(self, connection: Any, message: Any) -> None:
        if getattr(message, "sqlstate", "") == SYNC_WAIT_CANCELLED:
            self.warned = True

    @property
    def closed(self) -> bool:
        """Whether it is of no use any more."""
        return self.connection.is_closed()

    def abandon(self) -> None:
        """Closes the socket at once, without a word to the server; what runs on it fails as lost."""
        self.connection.terminate()

    async def close(self) -> None:
        """Says goodbye; at once when the server does not answer."""
        try:
            await self.connection.close(timeout=CLOSE_S)
        except FAILURES:
            self.connection.terminate()

    async def prepared(self, sql: str) -> PreparedStatement[Record]:
        """The prepared statement of a text."""
        statement = self._statements.get(sql)
        if statement is None:
            self._prepared += 1
            # Named by us: without a name it would be parsed anew each time, and EXECUTE could not reach it.
            statement = await self.connection.prepare(sql, name=f"tf_{self._prepared}")
            self._statements[sql] = statement
            if len(self._statements) > STATEMENTS_KEPT:
                self._statements.popitem(last=False)
        else:
            self._statements.move_to_end(sql)
        return statement

    def forget(self) -> None:
        """Drops the prepared statements: the tables have changed."""
        self._statements.clear()

    async def fetch(self, sql: str, values: Sequence[Any]) -> Rows:
        """The rows of a prepared statement. Errors are the driver's own."""
        statement = self._statements.get(sql)
        if statement is None:
            statement = await self.prepared(sql)
        return await statement.fetch(*values)

    async def touch(self, sql: str, values: Sequence[Any]) -> int:
        """Runs a prepared statement; how many rows it touched (or returned)."""
        statement = self._statements.get(sql)
        if statement is None:
            statement = await self.prepared(sql)
        await statement.fetch(*values)
        return touched(statement.get_statusmsg())

    async def touch_first(self, begin: str, sql: str, values: Sequence[Any]) -> int:
        """The same as the first statement of a transaction: BEGIN travels with it where the values allow it."""
        written = literals(values)
        if written is None:
            await self.execute(begin)
            return await self.touch(sql, values)
        name = (await self.prepared(sql)).get_name()
        return touched(
            await self.execute(f"{begin}; EXECUTE {name}({written})" if written else f"{begin}; EXECUTE {name}")
        )

    async def touch_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Runs a prepared statement for each row of values, in one go."""
        await (await self.prepared(sql)).executemany(rows)

    async def execute(self, sql: str) -> str:
        """Runs statements without parameters in one message; the status of the last."""
        return await self.connection.execute(sql)

    def error(self, error: BaseException) -> TenfoldError:
        """The driver's error in our vocabulary."""
        if self.closed and not isinstance(error, TenfoldError) and not is_lost(error):
            return lost(self._where, error)
        return translated(error, self._where)


def touched(status: str | None) -> int:
    """The number of rows in a command's status, such as `INSERT 0 1`."""
    last = (status or "").rpartition(" ")[2]
    return int(last) if last.isdigit() else 0
