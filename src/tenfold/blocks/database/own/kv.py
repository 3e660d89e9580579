"""The tables of the kv block."""

from __future__ import annotations

from tenfold.blocks.database.own.migration import OwnMigration

MIGRATION = OwnMigration(version=8, sqlite=(), postgres=())
