"""The backends by the name that a map gives them. Each is imported when a map names it first."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import MetaData

from tenfold.blocks.database.backend import Backend, DatabaseConfig
from tenfold.blocks.database.sqlite.backend import SqliteBackend
from tenfold.core.clock import Clock

OnFatal = Callable[[BaseException], None]
Maker = Callable[[DatabaseConfig, MetaData, Clock, OnFatal], Backend]


def _postgres(config: DatabaseConfig, metadata: MetaData, clock: Clock, on_fatal: OnFatal) -> Backend:
    from tenfold.blocks.database.postgres.backend import PostgresBackend  # noqa: PLC0415 - asyncpg, only when it is wanted

    return PostgresBackend(config, metadata, clock, on_fatal)


MAKERS: dict[str, Maker] = {"sqlite": SqliteBackend, "postgres": _postgres}
"""Makes a backend, not open yet."""
