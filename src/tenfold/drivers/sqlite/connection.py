"""Opening SQLite files the one way that is durable and concurrent: WAL, synchronous=FULL, no implicit transactions."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from tenfold.core.errors import StorageDamaged
from tenfold.drivers.sqlite.failures import translated

CACHED_STATEMENTS = 512
PAGE_CACHE_KIB = 16_384
MMAP_BYTES = 256 * 1024 * 1024
OWN_BUSY_MS = 2_000
"""Only for programs that are not ours (a shell, a backup): our own processes take turns by `WriterLock`."""

OLDEST_SQLITE = (3, 37, 0)
"""STRICT tables."""


def _open(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path))}?mode={mode}"
    connection = sqlite3.connect(
        uri,
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
        timeout=OWN_BUSY_MS / 1000,
    )
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA recursive_triggers = ON")
    connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
    connection.execute(f"PRAGMA mmap_size = {MMAP_BYTES}")
    return connection


def open_writer(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """A connection that writes durably: a COMMIT that returned has reached the disk (WAL, synchronous=FULL).

    Without `create` a missing file is an error. May be used from any one thread at a time.
    """
    try:
        connection = _open(path, "rwc" if create else "rw")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        raise translated(error, str(path)) from error
    if mode != "wal":
        connection.close()
        raise StorageDamaged(
            f"{path} cannot be put into WAL mode (it stays in {mode!r}).",
            hint="Network file systems cannot hold it; move the state folder to a local disk.",
        )
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, whatever the statement."""
    try:
        connection = _open(path, "rw")
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.Error as error:
        raise translated(error, str(path)) from error
    return connection
