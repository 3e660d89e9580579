"""The tables of the sessions block."""

from __future__ import annotations

from tenfold.blocks.database.own.migration import OwnMigration

MIGRATION = OwnMigration(version=6, sqlite=(), postgres=())
