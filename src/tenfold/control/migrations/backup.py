"""A copy of the database before it is changed: what to go back to when a migration did the wrong thing."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

KEPT = 2
HEADROOM = 1.1
"""The copy must fit with a tenth to spare, so that the migration itself has room."""


def back_up(raw: sqlite3.Connection, database: Path, revision: str) -> tuple[Path | None, str]:
    """Copies `database` to `<name>.before-<revision>.db` beside it; keeps the two newest copies.

    Returns the copy and an empty sentence, or None and the sentence why there is none. The caller holds the writer's
    lock, so the copy is one consistent state.
    """
    size = database.stat().st_size
    free = shutil.disk_usage(database.parent).free
    if free < size * HEADROOM:
        return None, f"No copy was kept: it needs {size:,} bytes and {free:,} are free."
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", revision)
    copy = database.with_name(f"{database.stem}.before-{safe}.db")
    partial = copy.with_name(copy.name + ".partial")
    try:
        _copy(raw, partial)
        os.replace(partial, copy)
    finally:
        partial.unlink(missing_ok=True)
    for old in _copies(database)[:-KEPT]:
        old.unlink(missing_ok=True)
    return copy, ""


def _copy(raw: sqlite3.Connection, target: Path) -> None:
    target.unlink(missing_ok=True)
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(target)) as copy:
        raw.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    with open(target, "rb+") as written:
        os.fsync(written.fileno())


def _copies(database: Path) -> list[Path]:
    """Copies of this database, oldest first."""
    return sorted(database.parent.glob(f"{database.stem}.before-*.db"), key=lambda copy: copy.stat().st_mtime_ns)
