"""The tables of the tasks block."""

from __future__ import annotations

from sqlalchemy import Column, Table

from tenfold.blocks.database.own.migration import OwnMigration, own_metadata
from tenfold.blocks.database.tables import local
from tenfold.blocks.database.types import Int64, Text

PAYLOAD_LIMIT = 65_536
"""Bytes of a job's arguments as JSON."""

TOLD_LIMIT = 80_000
"""Characters of what a job left behind: its error, its progress, its kept result."""

MIGRATION = OwnMigration(
    version=4,
    sqlite=(
        """CREATE TABLE tf_job (
            id TEXT PRIMARY KEY, bucket INTEGER NOT NULL, queue TEXT NOT NULL, name TEXT NOT NULL, lane TEXT NOT NULL,
            state INTEGER NOT NULL, rank INTEGER NOT NULL, due_us INTEGER NOT NULL,
            priority INTEGER NOT NULL, payload TEXT NOT NULL, sole TEXT,
            epoch INTEGER NOT NULL DEFAULT 0, attempt INTEGER NOT NULL DEFAULT 0, crashes INTEGER NOT NULL DEFAULT 0,
            worker TEXT NOT NULL DEFAULT '', cancel INTEGER NOT NULL DEFAULT 0, told TEXT NOT NULL DEFAULT '',
            trace TEXT
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX tf_job_turn ON tf_job (state, lane, rank)",
        "CREATE UNIQUE INDEX tf_job_sole ON tf_job (sole) WHERE sole IS NOT NULL",
        """CREATE TABLE tf_worker (
            id TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, started INTEGER NOT NULL,
            beat INTEGER NOT NULL, at_us INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID""",
        "CREATE TABLE tf_cron (name TEXT PRIMARY KEY, fired_us INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    ),
    postgres=(
        """CREATE TABLE tf.tf_job (
            id text COLLATE "C" PRIMARY KEY, bucket bigint NOT NULL, queue text COLLATE "C" NOT NULL,
            name text COLLATE "C" NOT NULL, lane text COLLATE "C" NOT NULL, state bigint NOT NULL,
            rank bigint NOT NULL, due_us bigint NOT NULL, priority bigint NOT NULL,
            payload text COLLATE "C" NOT NULL, sole text COLLATE "C",
            epoch bigint NOT NULL DEFAULT 0, attempt bigint NOT NULL DEFAULT 0, crashes bigint NOT NULL DEFAULT 0,
            worker text COLLATE "C" NOT NULL DEFAULT '', cancel bigint NOT NULL DEFAULT 0,
            told text COLLATE "C" NOT NULL DEFAULT '', trace text COLLATE "C"
        ) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1)""",
        "CREATE INDEX tf_job_turn ON tf.tf_job (state, lane, rank)",
        "CREATE UNIQUE INDEX tf_job_sole ON tf.tf_job (sole) WHERE sole IS NOT NULL",
        """CREATE TABLE tf.tf_worker (
            id text COLLATE "C" PRIMARY KEY, host text COLLATE "C" NOT NULL, pid bigint NOT NULL,
            started bigint NOT NULL, beat bigint NOT NULL, at_us bigint NOT NULL
        )""",
        'CREATE TABLE tf.tf_cron (name text COLLATE "C" PRIMARY KEY, fired_us bigint NOT NULL)',
    ),
)

INDEXES = OwnMigration(
    version=11,
    sqlite=(
        "CREATE INDEX IF NOT EXISTS tf_job_due ON tf_job (rank) WHERE state = 2",
        "CREATE INDEX IF NOT EXISTS tf_job_kept ON tf_job (rank) WHERE state = 5",
    ),
    postgres=(
        "CREATE INDEX IF NOT EXISTS tf_job_due ON tf.tf_job (rank) WHERE state = 2",
        "CREATE INDEX IF NOT EXISTS tf_job_kept ON tf.tf_job (rank) WHERE state = 5",
    ),
)
"""What is scheduled and what is kept, by time: in `tf_job_turn` the lane stands before it. A job that only runs is in
neither, so it pays nothing for them."""

tf_job = Table(
    "tf_job",
    own_metadata,
    Column("id", Text(40), primary_key=True),
    Column("bucket", Int64(), nullable=False),
    Column("queue", Text(100), nullable=False),
    Column("name", Text(200), nullable=False),
    Column("lane", Text(200), nullable=False),
    Column("state", Int64(), nullable=False),
    Column("rank", Int64(), nullable=False),
    Column("due_us", Int64(), nullable=False),
    Column("priority", Int64(), nullable=False),
    Column("payload", Text(PAYLOAD_LIMIT), nullable=False),
    Column("sole", Text(64)),
    Column("epoch", Int64(), nullable=False),
    Column("attempt", Int64(), nullable=False),
    Column("crashes", Int64(), nullable=False),
    Column("worker", Text(64), nullable=False),
    Column("cancel", Int64(), nullable=False),
    Column("told", Text(TOLD_LIMIT), nullable=False),
    Column("trace", Text(55)),
    info={"tenfold_home": local()},
)
"""One row a job, on the shard of the transaction that enqueued it. A job that is done has none, unless it is kept.

`rank` is the place in its lane (see blocks/tasks/policy.py); when the job is scheduled it is when it is due, when it is
done until when it is kept. `(id, epoch)` is the fencing pair of an attempt. `sole` is the hash of a unique key,
`trace` the traceparent of the work that enqueued it.
"""

tf_worker = Table(
    "tf_worker",
    own_metadata,
    Column("id", Text(64), primary_key=True),
    Column("host", Text(200), nullable=False),
    Column("pid", Int64(), nullable=False),
    Column("started", Int64(), nullable=False),
    Column("beat", Int64(), nullable=False),
    Column("at_us", Int64(), nullable=False),
)
"""One row a worker, which counts `beat` up while it lives. `at_us` is for people; nothing is decided by it."""

tf_cron = Table(
    "tf_cron",
    own_metadata,
    Column("name", Text(200), primary_key=True),
    Column("fired_us", Int64(), nullable=False),
)
"""The last time that each cron has fired, which only grows; it moves in the transaction that enqueues the job."""
