"""The tables of the events block."""

from __future__ import annotations

from tenfold.blocks.database.own.migration import OwnMigration

MIGRATION = OwnMigration(version=5, sqlite=(), postgres=())
