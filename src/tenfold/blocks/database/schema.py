"""Making Tenfold's own tables (`own/`) in the service's database, and the record of revisions.

They live beside the service's tables (names start with `tf_`) so that one transaction covers both. Only the controller
applies migrations; a web process looks at `tf_schema` and is not ready outside its range. On PostgreSQL they are in the
schema `tf`, which stands in every role's search path behind `public`.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from tenfold.blocks.database.own import CURRENT_VERSION, OWN_MIGRATIONS, OwnMigration, own_metadata
from tenfold.blocks.database.own.first import tf_commit, tf_lease, tf_sequence

if TYPE_CHECKING:
    import asyncpg

__all__ = [
    "CURRENT_VERSION",
    "OLDEST_READABLE",
    "OWN_COMPONENT",
    "OWN_MIGRATIONS",
    "OwnMigration",
    "own_metadata",
    "tf_commit",
    "tf_lease",
    "tf_sequence",
]

OWN_COMPONENT = "tenfold"
"""The component name of our own rows in `tf_schema`; the service's rows carry the service's name."""

OLDEST_READABLE = 1
"""The oldest own schema version this code can work with."""


def own_version(connection: sqlite3.Connection) -> int:
    """The version of our own schema in this database; 0 when there is none yet."""
    found = connection.execute("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'tf_schema'").fetchone()
    if found is None:
        return 0
    row = connection.execute(
        "SELECT max(CAST(revision AS INTEGER)) FROM tf_schema WHERE component = ?", (OWN_COMPONENT,)
    ).fetchone()
    return int(row[0] or 0)


def apply_own(connection: sqlite3.Connection, *, now_us: int) -> list[int]:
    """Brings our own tables up to `CURRENT_VERSION`; returns the versions applied.

    `connection` is in autocommit mode (`isolation_level=None`) and outside a transaction; the caller holds the writer
    lock. Each version is one transaction: killed in between, a rerun goes on where it stopped.
    """
    applied = []
    start = own_version(connection)
    for migration in OWN_MIGRATIONS:
        if migration.version <= start:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in migration.sqlite:
                connection.execute(statement)
            record_revision(connection, OWN_COMPONENT, str(migration.version), "expand", now_us)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        applied.append(migration.version)
    return applied


def record_revision(connection: sqlite3.Connection, component: str, revision: str, kind: str, now_us: int) -> None:
    """Adds a row to `tf_schema`, inside the caller's transaction."""
    connection.execute(
        "INSERT INTO tf_schema (component, revision, kind, at_us) VALUES (?, ?, ?, ?)",
        (component, revision, kind, now_us),
    )


# -- PostgreSQL -------------------------------------------------------------------------------------------------------

SEARCH_PATH = "public, tf"
_APPLYING = 7_305_001
"""Of the advisory lock that lets one process at a time apply our migrations."""


async def own_version_postgres(connection: asyncpg.Connection[asyncpg.Record]) -> int:
    """The version of our own schema in this database; 0 when there is none yet."""
    if await connection.fetchval("SELECT to_regclass('tf.tf_schema')") is None:
        return 0
    found = await connection.fetchval(
        "SELECT max(revision::int) FROM tf.tf_schema WHERE component = $1::text", OWN_COMPONENT
    )
    return int(found or 0)


async def apply_own_postgres(connection: asyncpg.Connection[asyncpg.Record], *, now_us: int) -> list[int]:
    """Brings our own tables up to `CURRENT_VERSION`; returns the versions applied.

    `connection` works as the owner role and is outside a transaction. Each version is one transaction: killed in
    between, a rerun goes on where it stopped; two at once take turns.
    """
    applied = []
    for migration in OWN_MIGRATIONS:
        async with connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({_APPLYING})")
            if migration.version <= await own_version_postgres(connection):
                continue
            await connection.execute("CREATE SCHEMA IF NOT EXISTS tf")
            for statement in migration.postgres:
                await connection.execute(statement)
            await record_revision_postgres(connection, OWN_COMPONENT, str(migration.version), "expand", now_us)
        applied.append(migration.version)
    return applied


async def record_revision_postgres(
    connection: asyncpg.Connection[asyncpg.Record], component: str, revision: str, kind: str, now_us: int
) -> None:
    """Adds a row to `tf_schema`, inside the caller's transaction."""
    await connection.execute(
        "INSERT INTO tf.tf_schema (component, revision, kind, at_us) VALUES ($1, $2, $3, $4)",
        component, revision, kind, now_us,
    )  # fmt: skip
