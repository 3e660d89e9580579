"""The tables of the files block.

`tf_file` says what each upload is; its bytes lie in the store under the same id. `tf_file_usage` counts bytes and files
of each owner, and of all under the empty name, in the transaction that adds or removes a file.
"""

from __future__ import annotations

from sqlalchemy import Column, Table

from tenfold.blocks.database.own.migration import OwnMigration, own_metadata
from tenfold.blocks.database.types import Bytes, Int64, Text

MIGRATION = OwnMigration(
    version=9,
    sqlite=(
        """CREATE TABLE tf_file (
            id TEXT PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, size INTEGER NOT NULL, sha256 BLOB NOT NULL,
            owner TEXT NOT NULL, created_us INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX tf_file_owner ON tf_file (owner, id)",
        """CREATE TABLE tf_file_usage (
            owner TEXT PRIMARY KEY, bytes INTEGER NOT NULL, files INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
    ),
    postgres=(
        """CREATE TABLE tf.tf_file (
            id text COLLATE "C" PRIMARY KEY, name text COLLATE "C" NOT NULL, kind text COLLATE "C" NOT NULL,
            size bigint NOT NULL, sha256 bytea NOT NULL, owner text COLLATE "C" NOT NULL, created_us bigint NOT NULL
        )""",
        "CREATE INDEX tf_file_owner ON tf.tf_file (owner, id)",
        """CREATE TABLE tf.tf_file_usage (
            owner text COLLATE "C" PRIMARY KEY, bytes bigint NOT NULL, files bigint NOT NULL
        )""",
    ),
)

tf_file = Table(
    "tf_file",
    own_metadata,
    Column("id", Text(32), primary_key=True),
    Column("name", Text(200), nullable=False),
    Column("kind", Text(100), nullable=False),
    Column("size", Int64(), nullable=False),
    Column("sha256", Bytes(32), nullable=False),
    Column("owner", Text(200), nullable=False),
    Column("created_us", Int64(), nullable=False),
)
tf_file_usage = Table(
    "tf_file_usage",
    own_metadata,
    Column("owner", Text(200), primary_key=True),
    Column("bytes", Int64(), nullable=False),
    Column("files", Int64(), nullable=False),
)
