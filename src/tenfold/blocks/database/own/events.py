"""The tables of the events block: the log, where each subscriber is in it, and what was put aside.

A row of `tf_event` has one published event, or several recorded ones of a topic: `events` says how many. `tf_event.seq`
only grows, also over a move between the databases: the newest row is never pruned, SQLite counts on from
it, and a move sets PostgreSQL's sequence behind it. On PostgreSQL the number is drawn by the statement itself
(`blocks/events/log.py`), after the transaction has its own id: the reader's grace period rests on that.
"""

from __future__ import annotations

from sqlalchemy import Column, Table

from tenfold.blocks.database.own.migration import OwnMigration, own_metadata
from tenfold.blocks.database.tables import local
from tenfold.blocks.database.types import Int64, Text

MIGRATION = OwnMigration(
    version=5,
    sqlite=(
        """CREATE TABLE tf_event (
            seq INTEGER PRIMARY KEY, bucket INTEGER NOT NULL, topic TEXT NOT NULL, at_us INTEGER NOT NULL,
            events INTEGER NOT NULL, data TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE tf_cursor (
            name TEXT PRIMARY KEY, position INTEGER NOT NULL, upto INTEGER NOT NULL, topics TEXT NOT NULL,
            size INTEGER NOT NULL, until INTEGER NOT NULL, attempts INTEGER NOT NULL, drawn INTEGER NOT NULL,
            streak INTEGER NOT NULL, error TEXT NOT NULL, failed_us INTEGER NOT NULL, holder TEXT NOT NULL,
            epoch INTEGER NOT NULL, beat INTEGER NOT NULL, seen_us INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE tf_parked (
            name TEXT NOT NULL, seq INTEGER NOT NULL, batch TEXT NOT NULL, topic TEXT NOT NULL, at_us INTEGER NOT NULL,
            data TEXT NOT NULL, error TEXT NOT NULL, parked_us INTEGER NOT NULL, again INTEGER NOT NULL,
            PRIMARY KEY (name, seq)
        ) STRICT, WITHOUT ROWID""",
    ),
    postgres=(
        """CREATE TABLE tf.tf_event (
            seq bigint PRIMARY KEY, bucket bigint NOT NULL, topic text COLLATE "C" NOT NULL, at_us bigint NOT NULL,
            events bigint NOT NULL, data text COLLATE "C" NOT NULL
        )""",
        "CREATE SEQUENCE tf.tf_event_seq OWNED BY tf.tf_event.seq",
        "GRANT USAGE ON SEQUENCE tf.tf_event_seq TO PUBLIC",  # who may not enter the schema cannot reach it either
        """CREATE TABLE tf.tf_cursor (
            name text COLLATE "C" PRIMARY KEY, position bigint NOT NULL, upto bigint NOT NULL,
            topics text COLLATE "C" NOT NULL, size bigint NOT NULL, until bigint NOT NULL, attempts bigint NOT NULL,
            drawn bigint NOT NULL, streak bigint NOT NULL, error text COLLATE "C" NOT NULL, failed_us bigint NOT NULL,
            holder text COLLATE "C" NOT NULL, epoch bigint NOT NULL, beat bigint NOT NULL, seen_us bigint NOT NULL
        ) WITH (fillfactor = 50)""",
        """CREATE TABLE tf.tf_parked (
            name text COLLATE "C" NOT NULL, seq bigint NOT NULL, batch text COLLATE "C" NOT NULL,
            topic text COLLATE "C" NOT NULL, at_us bigint NOT NULL, data text COLLATE "C" NOT NULL,
            error text COLLATE "C" NOT NULL, parked_us bigint NOT NULL, again bigint NOT NULL, PRIMARY KEY (name, seq)
        )""",
    ),
)

# Nobody decides by `tf_cursor.failed_us` any more: it stays 0, for older code that reads it.

DATA_LIMIT = 64 * 1024
"""Bytes of one event's data as JSON."""

PACK_LIMIT = 4 * DATA_LIMIT
"""Characters of the data of a row; recorded events share one."""

TOPIC_LIMIT = 100
NAME_LIMIT = 100
ERROR_LIMIT = 1_000

tf_event = Table(
    "tf_event",
    own_metadata,
    Column("seq", Int64(), primary_key=True, autoincrement=False),
    Column("bucket", Int64(), nullable=False),
    Column("topic", Text(TOPIC_LIMIT), nullable=False),
    Column("at_us", Int64(), nullable=False),
    Column("events", Int64(), nullable=False),
    Column("data", Text(PACK_LIMIT), nullable=False),
    info={"tenfold_home": local()},
)
tf_cursor = Table(
    "tf_cursor",
    own_metadata,
    Column("name", Text(NAME_LIMIT), primary_key=True),
    Column("position", Int64(), nullable=False),
    Column("upto", Int64(), nullable=False),
    Column("topics", Text(20_000), nullable=False),
    Column("size", Int64(), nullable=False),
    Column("until", Int64(), nullable=False),
    Column("attempts", Int64(), nullable=False),
    Column("drawn", Int64(), nullable=False),
    Column("streak", Int64(), nullable=False),
    Column("error", Text(ERROR_LIMIT), nullable=False),
    Column("failed_us", Int64(), nullable=False),
    Column("holder", Text(100), nullable=False),
    Column("epoch", Int64(), nullable=False),
    Column("beat", Int64(), nullable=False),
    Column("seen_us", Int64(), nullable=False),
)
tf_parked = Table(
    "tf_parked",
    own_metadata,
    Column("name", Text(NAME_LIMIT), primary_key=True),
    Column("seq", Int64(), primary_key=True, autoincrement=False),
    Column("batch", Text(300), nullable=False),
    Column("topic", Text(TOPIC_LIMIT), nullable=False),
    Column("at_us", Int64(), nullable=False),
    Column("data", Text(DATA_LIMIT), nullable=False),
    Column("error", Text(ERROR_LIMIT), nullable=False),
    Column("parked_us", Int64(), nullable=False),
    Column("again", Int64(), nullable=False),
)
