"""Tenfold's own tables, a file for each block, each with the numbered migrations that make them."""

from __future__ import annotations

from collections.abc import Sequence

from tenfold.blocks.database.own import events, files, first, kv, limits, metrics, sessions, tasks
from tenfold.blocks.database.own.migration import OwnMigration, own_metadata

OWN_MIGRATIONS: Sequence[OwnMigration] = (
    *first.MIGRATIONS,
    tasks.MIGRATION,
    events.MIGRATION,
    sessions.MIGRATION,
    limits.MIGRATION,
    kv.MIGRATION,
    files.MIGRATION,
    metrics.MIGRATION,
    tasks.INDEXES,
)

CURRENT_VERSION = OWN_MIGRATIONS[-1].version

__all__ = ["CURRENT_VERSION", "OWN_MIGRATIONS", "OwnMigration", "own_metadata"]
