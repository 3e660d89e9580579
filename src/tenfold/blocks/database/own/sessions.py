"""The tables of the sessions block: version 6."""

from __future__ import annotations

from sqlalchemy import Column, Table

from tenfold.blocks.database.own.migration import OwnMigration, own_metadata
from tenfold.blocks.database.types import Bytes, Int64, Text

MIGRATION = OwnMigration(
    version=6,
    sqlite=(
        """CREATE TABLE IF NOT EXISTS tf_session (
            id BLOB PRIMARY KEY, owner TEXT, version INTEGER NOT NULL, created_us INTEGER NOT NULL,
            seen_us INTEGER NOT NULL, ended_us INTEGER NOT NULL, heir BLOB, data TEXT NOT NULL
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX IF NOT EXISTS tf_session_owner ON tf_session (owner) WHERE owner IS NOT NULL",
        "CREATE INDEX IF NOT EXISTS tf_session_seen ON tf_session (seen_us)",
    ),
    postgres=(
        """CREATE TABLE IF NOT EXISTS tf.tf_session (
            id bytea PRIMARY KEY, owner text COLLATE "C", version bigint NOT NULL, created_us bigint NOT NULL,
            seen_us bigint NOT NULL, ended_us bigint NOT NULL, heir bytea, data text COLLATE "C" NOT NULL
        )""",
        "CREATE INDEX IF NOT EXISTS tf_session_owner ON tf.tf_session (owner) WHERE owner IS NOT NULL",
        "CREATE INDEX IF NOT EXISTS tf_session_seen ON tf.tf_session (seen_us)",
    ),
)

tf_session = Table(
    "tf_session",
    own_metadata,
    # SHA-256 of the id: who reads the table learns no id that a cookie could carry.
    Column("id", Bytes(32), primary_key=True),
    Column("owner", Text(200)),
    Column("version", Int64(), nullable=False),
    Column("created_us", Int64(), nullable=False),
    # When a request last came with it, to the minute; 0 once it has ended, so that the sweep finds it.
    Column("seen_us", Int64(), nullable=False),
    # When another id took its place; 0 while it is in use.
    Column("ended_us", Int64(), nullable=False),
    # The session that took its place, if requests that still carry this id may see that one.
    Column("heir", Bytes(32)),
    Column("data", Text(40_000), nullable=False),
)
