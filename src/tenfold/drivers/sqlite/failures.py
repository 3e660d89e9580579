"""SQLite's errors in our vocabulary: each says what happened, what is safe, and what to do next."""

from __future__ import annotations

import re
import sqlite3

from tenfold.core.errors import RowExists, RuleBroken, StaleMap, StorageDamaged, StorageFull, TenfoldError, Unavailable

__all__ = ["StaleMap", "StorageReadOnly", "translated"]


class StorageReadOnly(Unavailable):
    """The file, its folder or its disk cannot be written to."""

    code = "TF-READ-ONLY"
    title = "The storage is read-only"
    outside = "Nothing can be saved at the moment."


class Busy(Unavailable):
    """Another program holds the file."""

    outside = "The database is held by something else."


_UNIQUE = re.compile(r"^UNIQUE constraint failed: (.+)$")
_FULL = "Free some space; nothing that was acknowledged is lost, and writing goes on by itself once there is room."
_DAMAGED = "Stop the service, keep the damaged file, and restore a copy: the newest `*.before-*.db` or a backup."
_READ_ONLY = "Check who owns the file and its folder, and whether the disk is mounted read-only."


def _integrity(error: sqlite3.IntegrityError) -> TenfoldError:
    text = str(error)
    if text.startswith("TF001"):
        return StaleMap(f"The database refused this write: {text}.")
    unique = _UNIQUE.match(text)
    if unique:
        return RowExists(f"A row with the same {unique[1]} exists already.")
    return RuleBroken(f"The write breaks a constraint of the table: {text}.")


def _full(path: str, name: str) -> TenfoldError:
    return StorageFull(f"There is no room left for {path}.", hint=_FULL, retry_after_s=5)


def _damaged(path: str, name: str) -> TenfoldError:
    return StorageDamaged(f"{path} is damaged or is not a SQLite database ({name}).", hint=_DAMAGED)


def _read_only(path: str, name: str) -> TenfoldError:
    return StorageReadOnly(f"{path} cannot be opened or written to ({name}).", hint=_READ_ONLY, retry_after_s=5)


def _failing(path: str, name: str) -> TenfoldError:
    return StorageDamaged(
        f"The disk under {path} fails ({name}).", hint="Look at the kernel's log (dmesg) and at free space."
    )


def _busy(path: str, name: str) -> TenfoldError:
    return Busy(
        f"Another program holds {path} ({name}).",
        hint="Close other programs that write to this file; Tenfold's own processes take turns by themselves.",
    )


def _slow(path: str, name: str) -> TenfoldError:
    return TenfoldError(
        "A statement ran longer than a read on the event loop may.",
        hint="Give it an index, or read it through `fanout()`, which runs beside the loop.",
        code="TF-READ-3",
    )


_BY_PREFIX = (
    ("SQLITE_FULL", _full),
    ("SQLITE_IOERR_SHMSIZE", _full),
    ("SQLITE_CORRUPT", _damaged),
    ("SQLITE_NOTADB", _damaged),
    ("SQLITE_READONLY", _read_only),
    ("SQLITE_PERM", _read_only),
    ("SQLITE_AUTH", _read_only),
    ("SQLITE_CANTOPEN", _read_only),
    ("SQLITE_IOERR", _failing),
    ("SQLITE_BUSY", _busy),
    ("SQLITE_LOCKED", _busy),
    ("SQLITE_PROTOCOL", _busy),
    ("SQLITE_INTERRUPT", _slow),
)


def translated(error: sqlite3.Error, path: str) -> TenfoldError:
    """The error in our vocabulary. `path` is the database file, for the sentence."""
    if isinstance(error, sqlite3.IntegrityError):
        return _integrity(error)
    name = getattr(error, "sqlite_errorname", "") or ""
    for prefix, make in _BY_PREFIX:
        if name.startswith(prefix):
            return make(path, name)
    return TenfoldError(f"The database refused the statement: {error}.", code="TF-SQL")
