"""The tables of the tasks block."""

from __future__ import annotations

from tenfold.blocks.database.own.migration import OwnMigration

MIGRATION = OwnMigration(version=4, sqlite=(), postgres=())
