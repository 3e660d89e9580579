"""PostgreSQL's errors in our vocabulary: each says what happened, what is safe, and what to do next.

Three kinds are told apart, because callers act differently on them: a lost connection (`is_lost`: try again on another
one), transactions that got into each other's way (`is_serialization`: run it again), and everything else.
No message carries a value of a row or a password: PostgreSQL's `DETAIL` is used for column names only.
"""

from __future__ import annotations

import re

import asyncpg

from tenfold.core.errors import (
    RowExists,
    RuleBroken,
    StaleMap,
    StorageDamaged,
    StorageFull,
    TenfoldError,
    Unavailable,
)


class Lost(Unavailable):
    """The server cannot be reached, or the connection broke: worth trying again on another one."""

    code = "TF-DB-AWAY"
    title = "The database does not answer"
    outside = "The database does not answer at the moment."


class Refused(Unavailable):
    """The server is there and does not let this process in; only a person (or the controller) can change that."""

    code = "TF-DB-LOGIN"
    title = "The database refuses the connection"
    outside = "The database does not let the service in at the moment."


_UNIQUE_COLUMNS = re.compile(r"^Key \((.+?)\)=\(")

_LOST_STATES = frozenset({"25006", "57P01", "57P02", "57P03", "53300", "57P05", "25P03"})
"""Read-only (it was demoted), shut down, crashed, starting up, too many clients, idle for too long."""

_SERIALIZATION_STATES = frozenset({"40001", "40P01"})

STALE_STATE = "TF001"
"""What the fence raises."""

FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What the driver raises; the third when the server's last words came while nobody asked for any."""

_STALE_PLANS = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)


def sqlstate(error: BaseException) -> str:
    """The five characters of SQLSTATE, or the empty text."""
    return str(getattr(error, "sqlstate", None) or "")


def is_lost(error: BaseException) -> bool:
    """Whether the connection is of no use any more, so that another one (of another server, perhaps) is worth a try."""
    if isinstance(error, Lost | OSError | TimeoutError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return not isinstance(error, asyncpg.DataError)
    state = sqlstate(error)
    return state.startswith("08") or state in _LOST_STATES


def is_serialization(error: BaseException) -> bool:
    """Whether the transaction lost against another one; running it again may succeed."""
    return sqlstate(error) in _SERIALIZATION_STATES


def is_stale_plan(error: BaseException) -> bool:
    """Whether a prepared statement was made for a shape of the tables that is no more."""
    return isinstance(error, _STALE_PLANS)


def _unique(error: asyncpg.PostgresError) -> str:
    found = _UNIQUE_COLUMNS.match(str(getattr(error, "detail", None) or ""))
    table = getattr(error, "table_name", None) or "the table"
    if found is None:
        return f"{table} ({getattr(error, 'constraint_name', None) or 'a unique rule'})"
    names = [name.strip().strip('"') for name in found[1].split(",")]
    return ", ".join(f"{table}.{name}" for name in names if name != "tf_bucket")


def _constraint(error: asyncpg.PostgresError, where: str) -> TenfoldError:
    if sqlstate(error) == "23505":
        return RowExists(f"A row with the same {_unique(error)} exists already.")
    rule = getattr(error, "constraint_name", None) or getattr(error, "column_name", None) or "a rule"
    table = getattr(error, "table_name", None) or "a table"
    return RuleBroken(f"The write breaks a constraint of the table: {table}, {rule}.")


def _stale(error: asyncpg.PostgresError, where: str) -> TenfoldError:
    return StaleMap(f"The database refused this write: {_said(error)}.")


def _full(error: asyncpg.PostgresError, where: str) -> TenfoldError:
    return StorageFull(
        f"There is no room left on {where}.",
        hint="Free some space there; nothing that was acknowledged is lost, and writing goes on by itself.",
        retry_after_s=5,
    )


def _damaged(error: asyncpg.PostgresError, where: str) -> TenfoldError:
    return StorageDamaged(
        f"{where} found damaged data ({_said(error)}).", hint="Stop the service and restore a backup of the server."
    )


def _password(error: asyncpg.PostgresError, where: str) -> TenfoldError:
    return Refused(
        f"{where} refuses the password of this process.",
        hint="Compare the role's password with the secret's file, or let `tenfold climb` set it anew.",
        retry_after_s=5,
    )


def _no_role(error: asyncpg.PostgresError, where: str) -> TenfoldError:
    return Refused(
        f"{where} does not let this role in ({_said(error)}).",
        hint="Look at pg_hba.conf and at the role; `tenfold doctor` says what is expected.",
        retry_after_s=5,
    )


def _no_database(error: asyncpg.PostgresError, where: str) -> TenfoldError:
    return Refused(f"{where} does not exist ({_said(error)}).", hint="`tenfold climb` makes it.", retry_after_s=5)


def _forbidden(error: asyncpg.PostgresError, where: str) -> TenfoldError:
    return TenfoldError(
        f"The role of this process may not do that: {_said(error)}.",
        hint="Web processes read and write rows; only the controller changes tables, with `tenfold migrate`.",
        code="TF-DB-RIGHTS",
    )


def _lock(error: asyncpg.PostgresError, where: str) -> TenfoldError:
    return Unavailable(
        "Another transaction held a lock for too long.",
        hint="Something else works on the same rows or tables; see `tenfold status`.",
        code="TF-HELD-TOO-LONG",
    )


def _slow(error: asyncpg.PostgresError, where: str) -> TenfoldError:
    return TenfoldError(
        "A statement ran longer than one of its kind may.",
        hint="Give it an index, or read it through `fanout()`, which has more time.",
        code="TF-READ-3",
    )


_BY_STATE = (
    (STALE_STATE, _stale),
    ("23", _constraint),
    ("531", _full),
    ("XX001", _damaged),
    ("XX002", _damaged),
    ("58030", _damaged),
    ("28P01", _password),
    ("28", _no_role),
    ("3D000", _no_database),
    ("42501", _forbidden),
    ("55P03", _lock),
    ("57014", _slow),
)


def _said(error: BaseException) -> str:
    """The server's own sentence, without detail and hint."""
    return str(getattr(error, "message", None) or str(error).partition("\n")[0]).rstrip(".")


def lost(where: str, error: BaseException) -> Lost:
    """The error for a server that does not answer."""
    return Lost(
        f"{where} does not answer ({_said(error) or type(error).__name__}).",
        hint="Nothing was written; the service goes on by itself when the server is back.",
    )


def translated(error: BaseException, where: str) -> TenfoldError:
    """The error in our vocabulary. `where` names the server and the database, for the sentence."""
    if isinstance(error, TenfoldError):
        return error
    state = sqlstate(error)
    if isinstance(error, asyncpg.PostgresError):
        for prefix, make in _BY_STATE:
            if state.startswith(prefix):
                return make(error, where)
    if is_lost(error):
        return lost(where, error)
    if is_serialization(error):
        return Unavailable(
            "The transaction was in the way of others again and again.",
            hint="Send it again a little later; many writers work on the same rows.",
            code="TF-HELD-TOO-LONG",
        )
    return TenfoldError(f"The database refused the statement: {_said(error)}.", code="TF-SQL")
