"""Tenfold's own tables in the service's database, and the numbered migrations that make them.

They live beside the service's tables (names start with `tf_`) so that one transaction covers both. Only the controller
applies migrations; a web process looks at `tf_schema` and is not ready outside its range.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Column, MetaData, Table

from tenfold.blocks.database.types import Bytes, Int64, Text

OWN_COMPONENT = "tenfold"
"""The component name of our own rows in `tf_schema`; the service's rows carry the service's name."""

OLDEST_READABLE = 1
"""The oldest own schema version this code can work with."""


@dataclass(frozen=True, slots=True)
class OwnMigration:
    """One step of our own schema: applied whole, in one transaction, or not at all."""

    version: int
    sqlite: tuple[str, ...]


OWN_MIGRATIONS: Sequence[OwnMigration] = (
    OwnMigration(
        version=1,
        sqlite=(
            """CREATE TABLE tf_schema (
                seq INTEGER PRIMARY KEY, component TEXT NOT NULL, revision TEXT NOT NULL,
                kind TEXT NOT NULL CHECK (kind IN ('expand', 'contract')), at_us INTEGER NOT NULL
            ) STRICT""",
            """CREATE TABLE tf_commit (
                id BLOB PRIMARY KEY, bucket INTEGER NOT NULL, fingerprint BLOB NOT NULL, result TEXT NOT NULL,
                at_us INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID""",
            "CREATE INDEX tf_commit_at ON tf_commit (at_us)",
            "CREATE TABLE tf_clock (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL) STRICT",
            "INSERT INTO tf_clock (id, seq) VALUES (1, 0)",
            """CREATE TABLE tf_lease (
                name TEXT PRIMARY KEY, holder TEXT NOT NULL, epoch INTEGER NOT NULL, expires_us INTEGER NOT NULL,
                data TEXT NOT NULL
            ) STRICT, WITHOUT ROWID""",
            "CREATE TABLE tf_sequence (name TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        ),
    ),
)

CURRENT_VERSION = OWN_MIGRATIONS[-1].version

own_metadata = MetaData()
"""Tables of ours that blocks read and write through Core statements; all are home tables."""

tf_lease = Table(
    "tf_lease",
    own_metadata,
    Column("name", Text(200), primary_key=True),
    Column("holder", Text(200), nullable=False),
    Column("epoch", Int64(), nullable=False),
    Column("expires_us", Int64(), nullable=False),
    Column("data", Text(4000), nullable=False),
)
tf_sequence = Table(
    "tf_sequence",
    own_metadata,
    Column("name", Text(200), primary_key=True),
    Column("next", Int64(), nullable=False),
)
tf_commit = Table(
    "tf_commit",
    own_metadata,
    Column("id", Bytes(16), primary_key=True),
    Column("bucket", Int64(), nullable=False),
    Column("fingerprint", Bytes(32), nullable=False),
    Column("result", Text(1_000_000), nullable=False),
    Column("at_us", Int64(), nullable=False),
)


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
