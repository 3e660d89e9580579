"""Opening SQLite files the one way that is durable and concurrent: WAL, synchronous=FULL, no implicit transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from tenfold.core.errors import StorageDamaged, TenfoldError, Unavailable
from tenfold.drivers.sqlite.failures import translated

CACHED_STATEMENTS = 512
PAGE_CACHE_KIB = 16_384
MMAP_BYTES = 256 * 1024 * 1024
OWN_BUSY_MS = 2_000
"""Only for programs that are not ours (a shell, a backup): our own processes take turns by `WriterLock`."""

OLDEST_SQLITE = (3, 37, 0)
"""STRICT tables."""


WAL_KEPT_BYTES = 64 * 1024 * 1024
"""A log that grew beyond this, behind a long snapshot, is cut back at the next checkpoint."""


def _open(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path))}?mode={mode}"
    return sqlite3.connect(
        uri,
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=CACHED_STATEMENTS,
        timeout=OWN_BUSY_MS / 1000,
    )


def _tune(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA recursive_triggers = ON")
    connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE_KIB}")
    connection.execute(f"PRAGMA mmap_size = {MMAP_BYTES}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")


def _opened(path: Path, mode: str, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """An open and prepared connection; on any error nothing stays open."""
    try:
        connection = _open(path, mode)
    except sqlite3.Error as error:
        raise _absent(path) or translated(error, str(path)) from error
    try:
        _tune(connection)
        prepare(connection)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise _absent(path) or translated(error, str(path)) from error
        raise
    return connection


def _absent(path: Path) -> TenfoldError | None:
    """The error when there is no file at `path`."""
    if path.is_dir():
        return StorageDamaged(f"{path} is a directory, not a database file.", hint="Correct `path` under [database].")
    if path.exists():
        return None
    return Unavailable(
        f"There is no database at {path}.", hint="`tenfold migrate` makes it.", code="TF-NO-DATABASE", retry_after_s=5
    )


def open_writer(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """A connection that writes durably: a COMMIT that returned has reached the disk (WAL, synchronous=FULL).

    Without `create` a missing file is an error. May be used from any one thread at a time.
    """
    return _opened(path, "rwc" if create else "rw", lambda connection: _make_durable(connection, path))


def _make_durable(connection: sqlite3.Connection, path: Path) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if mode != "wal":
        raise StorageDamaged(
            f"{path} cannot be put into WAL mode (it stays in {mode!r}).",
            hint="Network file systems cannot hold it; move the state folder to a local disk.",
        )


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, whatever the statement."""
    return _opened(path, "rw", _make_read_only)


def _make_read_only(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
