"""The tables of the limits block."""

from __future__ import annotations

from tenfold.blocks.database.own.migration import OwnMigration

MIGRATION = OwnMigration(version=7, sqlite=(), postgres=())
