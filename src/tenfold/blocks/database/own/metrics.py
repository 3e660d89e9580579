"""The tables of the metrics block.

`tf_metric` holds a number for each metric, label set, UTC day and `shard`: a part that one process writes alone, so
that
processes never wait for each other; parts of past days are merged into one. `tf_metric_entry` holds what was counted
inside of transactions, a row each, until it is added to a part. `tf_metric_visitor` holds the day of each visitor's
last visit.
"""

from __future__ import annotations

from sqlalchemy import Column, Table

from tenfold.blocks.database.own.migration import OwnMigration, own_metadata
from tenfold.blocks.database.tables import local
from tenfold.blocks.database.types import Bytes, Int64, Text

MIGRATION = OwnMigration(
    version=10,
    sqlite=(
        """CREATE TABLE tf_metric (
            name TEXT NOT NULL, day INTEGER NOT NULL, labels TEXT NOT NULL, shard TEXT NOT NULL, kind TEXT NOT NULL,
            value TEXT NOT NULL, sketch BLOB, PRIMARY KEY (name, day, labels, shard)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE tf_metric_entry (
            id BLOB PRIMARY KEY, bucket INTEGER NOT NULL, name TEXT NOT NULL, day INTEGER NOT NULL,
            labels TEXT NOT NULL,
            kind TEXT NOT NULL, value TEXT NOT NULL
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX tf_metric_entry_name ON tf_metric_entry (name, day)",
        """CREATE TABLE tf_metric_visitor (
            name TEXT NOT NULL, visitor BLOB NOT NULL, day INTEGER NOT NULL, PRIMARY KEY (name, visitor)
        ) STRICT, WITHOUT ROWID""",
    ),
    postgres=(
        """CREATE TABLE tf.tf_metric (
            name text COLLATE "C" NOT NULL, day bigint NOT NULL, labels text COLLATE "C" NOT NULL,
            shard text COLLATE "C" NOT NULL, kind text COLLATE "C" NOT NULL, value text COLLATE "C" NOT NULL,
            sketch bytea, PRIMARY KEY (name, day, labels, shard)
        )""",
        """CREATE TABLE tf.tf_metric_entry (
            id bytea PRIMARY KEY, bucket bigint NOT NULL, name text COLLATE "C" NOT NULL, day bigint NOT NULL,
            labels text COLLATE "C" NOT NULL, kind text COLLATE "C" NOT NULL, value text COLLATE "C" NOT NULL
        )""",
        "CREATE INDEX tf_metric_entry_name ON tf.tf_metric_entry (name, day)",
        """CREATE TABLE tf.tf_metric_visitor (
            name text COLLATE "C" NOT NULL, visitor bytea NOT NULL, day bigint NOT NULL, PRIMARY KEY (name, visitor)
        )""",
    ),
)

tf_metric = Table(
    "tf_metric",
    own_metadata,
    Column("name", Text(64), primary_key=True),
    Column("day", Int64(), primary_key=True),
    Column("labels", Text(4000), primary_key=True),
    Column("shard", Text(40), primary_key=True),
    Column("kind", Text(16), nullable=False),
    Column("value", Text(100), nullable=False),
    Column("sketch", Bytes(32_768), nullable=True),
)
tf_metric_entry = Table(
    "tf_metric_entry",
    own_metadata,
    Column("id", Bytes(16), primary_key=True),
    Column("bucket", Int64(), nullable=False),
    Column("name", Text(64), nullable=False),
    Column("day", Int64(), nullable=False),
    Column("labels", Text(4000), nullable=False),
    Column("kind", Text(16), nullable=False),
    Column("value", Text(100), nullable=False),
    info={"tenfold_home": local()},
)
tf_metric_visitor = Table(
    "tf_metric_visitor",
    own_metadata,
    Column("name", Text(64), primary_key=True),
    Column("visitor", Bytes(8), primary_key=True),
    Column("day", Int64(), nullable=False),
)
