"""The tables of the kv block.

`tf_kv` holds the values. `place` is what decides where an entry lives; `name` is empty where the key is its place, and
the whole key where the key names its place in braces. `tf_kv_floor` holds, for each bucket, the highest version of any
entry that was removed from it: what is made anew begins above it, so a version never comes back.
"""

from __future__ import annotations

from sqlalchemy import Column, Table

from tenfold.blocks.database.own.migration import OwnMigration, own_metadata
from tenfold.blocks.database.tables import local, sharded_by
from tenfold.blocks.database.types import Bucket, Bytes, Int64, Text

VALUE_MAX = 1024 * 1024
"""Bytes of one value."""

MIGRATION = OwnMigration(
    version=8,
    sqlite=(
        """CREATE TABLE tf_kv (
            place TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, value BLOB NOT NULL, version INTEGER NOT NULL,
            expires_us INTEGER, tf_bucket INTEGER NOT NULL CHECK (tf_bucket BETWEEN 0 AND 4095),
            PRIMARY KEY (place, name)
        ) STRICT""",
        "CREATE INDEX tf_kv_expires ON tf_kv (expires_us) WHERE expires_us IS NOT NULL",
        "CREATE TABLE tf_kv_floor (bucket INTEGER PRIMARY KEY, version INTEGER NOT NULL) STRICT",
    ),
    postgres=(
        """CREATE TABLE tf.tf_kv (
            place text COLLATE "C" NOT NULL, name text COLLATE "C" NOT NULL, kind text COLLATE "C" NOT NULL,
            value bytea NOT NULL, version bigint NOT NULL, expires_us bigint,
            tf_bucket smallint NOT NULL CHECK (tf_bucket BETWEEN 0 AND 4095),
            PRIMARY KEY (place, name)
        )""",
        "CREATE INDEX tf_kv_expires ON tf.tf_kv (expires_us) WHERE expires_us IS NOT NULL",
        "CREATE TABLE tf.tf_kv_floor (bucket bigint PRIMARY KEY, version bigint NOT NULL)",
    ),
)

tf_kv = Table(
    "tf_kv",
    own_metadata,
    Column("place", Text(512), primary_key=True),
    Column("name", Text(512), primary_key=True),
    Column("kind", Text(16), nullable=False),
    Column("value", Bytes(VALUE_MAX), nullable=False),
    Column("version", Int64(), nullable=False),
    Column("expires_us", Int64(), nullable=True),
    Column("tf_bucket", Bucket(), nullable=False),
    info={"tenfold_home": sharded_by("place")},
)
tf_kv_floor = Table(
    "tf_kv_floor",
    own_metadata,
    Column("bucket", Int64(), primary_key=True),
    Column("version", Int64(), nullable=False),
    info={"tenfold_home": local()},
)
