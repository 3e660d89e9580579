"""The tables of the files block."""

from __future__ import annotations

from tenfold.blocks.database.own.migration import OwnMigration

MIGRATION = OwnMigration(version=9, sqlite=(), postgres=())
