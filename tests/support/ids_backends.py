"""The databases on which the ids block's conformance suite runs; a new one adds a line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from own_tables import make_database_file, opened

from tenfold.blocks.database import Database


def _sqlite(folder: Path) -> Callable[[], AbstractAsyncContextManager[Database]]:
    path = make_database_file(folder / "ids.db")
    return lambda: opened(path)


BACKENDS: dict[str, Callable[[Path], Callable[[], AbstractAsyncContextManager[Database]]]] = {
    "sqlite": _sqlite,
}
"""For an empty folder: makes a database once, and then opens it as often as asked (as several processes do)."""
