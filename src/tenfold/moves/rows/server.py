"""The mover's connection to PostgreSQL: as the owner, past the fences, with terms."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg

from tenfold.core.errors import StorageFull, TenfoldError, Unavailable
from tenfold.moves.rows.file import refused

Session = asyncpg.Connection
Connect = Callable[[], Awaitable[Session]]

_SETTINGS = (
    "SET tf.mover = 'on'",  # fences and captures let the mover pass
    "SET search_path = public, tf",
    "SET TIME ZONE 'UTC'",
    "SET extra_float_digits = 1",
    # Fresh tables have no statistics: by the primary key, whatever the planner thinks.
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET enable_seqscan = off",
    "SET jit = off",
    "SET statement_timeout = 0",
    "SET lock_timeout = '10s'",
    "SET idle_in_transaction_session_timeout = 0",
    "SET synchronous_commit = on",
)

MAKE_TERM = """CREATE TABLE IF NOT EXISTS tf.tf_move (
    id smallint PRIMARY KEY CHECK (id = 1), term bigint NOT NULL, move text NOT NULL)"""
_TAKE_TERM = "UPDATE tf.tf_move SET term = $1, move = $2 WHERE id = 1 AND term <= $1 RETURNING id"


class ServerGone(Unavailable):
    """The database server does not answer, or ended the connection."""

    code = "TF-SERVER-GONE"


class Server:
    """The service's database on PostgreSQL, as one mover works on it. `term` and `move` name the mover.

    One connection, opened when it is first needed and again after it was lost; callers take turns. `acting`: the mover
    takes over when it connects, so that even what it only sees there cannot be changed by one before it.
    """

    def __init__(self, connect: Connect, term: int, move: str, *, acting: bool = True) -> None:
        self._acting = acting
        self.term = term
        self.move = move
        self._connect = connect
        self._session: Session | None = None
        self._turn = asyncio.Lock()

    async def close(self) -> None:
        """Closes the connection; safe to call twice."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(OSError, asyncpg.PostgresError, TimeoutError):
                await session.close(timeout=5)

    async def _opened(self) -> Session:
        if self._session is None or self._session.is_closed():
            session = await self._connect()
            try:
                for setting in _SETTINGS:
                    await session.execute(setting)
                if self._acting and await session.fetchval("SELECT to_regclass('tf.tf_move')") is not None:
                    async with session.transaction():
                        await take_term(session, self.term, self.move)
            except BaseException:
                session.terminate()
                raise
            self._session = session
        return self._session

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """The connection outside of a transaction. Errors come out in our vocabulary."""
        async with self._turn:
            with said_plainly():
                yield await self._opened()

    @contextlib.asynccontextmanager
    async def look(self) -> AsyncIterator[Session]:
        """A read transaction that sees one state."""
        async with self.session() as session, session.transaction(isolation="repeatable_read", readonly=True):
            yield session

    @contextlib.asynccontextmanager
    async def effect(self) -> AsyncIterator[Session]:
        """A transaction of this mover; committed at the end. `Fenced` when a successor is in charge."""
        async with self.session() as session, session.transaction():
            await take_term(session, self.term, self.move)
            yield session


async def take_term(session: Session, term: int, move: str) -> None:
    """Makes sure, inside a transaction, that no successor is in charge, and keeps one out until it ends."""
    if await session.fetchval(_TAKE_TERM, term, move) is not None:
        return
    found = await session.fetchval("SELECT term FROM tf.tf_move WHERE id = 1")
    raise refused(term, int(found or 0))


@contextlib.contextmanager
def said_plainly() -> Any:
    """Turns errors of asyncpg and of the network into ours; their texts hold no passwords."""
    try:
        yield
    except TenfoldError:
        raise
    except asyncpg.DiskFullError as error:
        raise StorageFull(
            "The disk of the database server is full.", hint="Free some space there, then run the command again."
        ) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:  # what they say is about the driver
        raise ServerGone("The database server ended the connection.", hint=_AGAIN) from error
    except (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError) as error:
        raise ServerGone(f"The database server ended the connection: {error}.", hint=_AGAIN) from error
    except asyncpg.PostgresError as error:
        raise TenfoldError(
            f"PostgreSQL refused a statement of the move: {error} ({error.sqlstate}).",
            hint="It was rolled back; if it is the server's settings, correct them and run the command again.",
            code="TF-MOVE-SQL",
        ) from error
    except (OSError, TimeoutError) as error:
        raise ServerGone(f"The database server does not answer: {error}.", hint=_AGAIN) from error


_AGAIN = "See that it runs (`tenfold status`), then run the command again."
