"""The databases on which the ids block's conformance suite runs; a new one adds a line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from own_tables import make_database_file, opened, opened_on
from postgres import needs_postgres
from postgres_kit import PostgresKit
from sqlalchemy import MetaData

from tenfold.blocks.database import Database


def _sqlite(folder: Path) -> Callable[[], AbstractAsyncContextManager[Database]]:
    path = make_database_file(folder / "ids.db")
    return lambda: opened(path)


def _postgres(folder: Path) -> Callable[[], AbstractAsyncContextManager[Database]]:
    config = PostgresKit().create(folder, MetaData())
    return lambda: opened_on(config)


BACKENDS: dict[str, Callable[[Path], Callable[[], AbstractAsyncContextManager[Database]]]] = {
    "sqlite": _sqlite,
    "postgres": _postgres,
}
"""For an empty folder: makes a database once, and then opens it as often as asked (as several processes do)."""

PARAMETERS = [pytest.param(name, marks=needs_postgres if name == "postgres" else ()) for name in BACKENDS]
"""For `parametrize`: those that cannot run here are reported as not run."""
