"""The tables of the metrics block."""

from __future__ import annotations

from tenfold.blocks.database.own.migration import OwnMigration

MIGRATION = OwnMigration(version=10, sqlite=(), postgres=())
