"""The tables of the limits block.

`tf_limit` has a row for each limit and key that several processes share, under a hash of both: no address or API key
is stored. What its numbers mean is in `blocks/limits/leasing.py`; all times are nanoseconds of the database's clock.
"""

from __future__ import annotations

from sqlalchemy import Column, Table

from tenfold.blocks.database.own.migration import OwnMigration, own_metadata
from tenfold.blocks.database.tables import local
from tenfold.blocks.database.types import Int64, Text

MIGRATION = OwnMigration(
    version=7,
    sqlite=(
        """CREATE TABLE tf_limit (
            name TEXT PRIMARY KEY, bucket INTEGER NOT NULL, tat_ns INTEGER NOT NULL, at_ns INTEGER NOT NULL,
            interval_ns INTEGER NOT NULL, span INTEGER NOT NULL, out INTEGER NOT NULL, out_before INTEGER NOT NULL,
            full_ns INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX tf_limit_tat ON tf_limit (tat_ns)",
    ),
    postgres=(
        """CREATE TABLE tf.tf_limit (
            name text COLLATE "C" PRIMARY KEY, bucket bigint NOT NULL, tat_ns bigint NOT NULL, at_ns bigint NOT NULL,
            interval_ns bigint NOT NULL, span bigint NOT NULL, out bigint NOT NULL, out_before bigint NOT NULL,
            full_ns bigint NOT NULL
        ) WITH (fillfactor = 80)""",
        "CREATE INDEX tf_limit_tat ON tf.tf_limit (tat_ns)",
    ),
)

tf_limit = Table(
    "tf_limit",
    own_metadata,
    Column("name", Text(100), primary_key=True),
    Column("bucket", Int64(), nullable=False),
    Column("tat_ns", Int64(), nullable=False),
    Column("at_ns", Int64(), nullable=False),
    Column("interval_ns", Int64(), nullable=False),
    Column("span", Int64(), nullable=False),
    Column("out", Int64(), nullable=False),
    Column("out_before", Int64(), nullable=False),
    Column("full_ns", Int64(), nullable=False),
    info={"tenfold_home": local()},
)
