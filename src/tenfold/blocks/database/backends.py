"""The backends by the name that a map gives them. Each is imported when a map names it first."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import MetaData

from tenfold.blocks.database.backend import Backend, DatabaseConfig
from tenfold.blocks.database.sqlite import SqliteBackend
from tenfold.core.clock import Clock

OnFatal = Callable[[BaseException], None]
Maker = Callable[[DatabaseConfig, MetaData, Clock, OnFatal], Backend]


def _postgres(config: DatabaseConfig, metadata: MetaData, clock: Clock, on_fatal: OnFatal) -> Backend:
    module: Any = importlib.import_module("tenfold.blocks.database.postgres")
    return cast("Backend", module.PostgresBackend(config, metadata, clock, on_fatal))


MAKERS: dict[str, Maker] = {"sqlite": SqliteBackend, "postgres": _postgres}
"""Makes a backend, not open yet."""
