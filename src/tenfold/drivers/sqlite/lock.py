"""Turns between processes that write to one SQLite file.

SQLite's busy handler polls with growing sleeps and has no queue: under load a process can wait for seconds and then
fail. A `flock` on a file beside the database wakes the next one at once, and the kernel releases it when a process
dies.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from tenfold.drivers.sqlite.failures import StorageReadOnly


class WriterLock:
    """The right to write to one database file. Not reentrant; used by one thread at a time."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._fd: int | None = None
        self.held = False

    def _open(self) -> int:
        if self._fd is None:
            try:
                self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise StorageReadOnly(
                    f"{self.path} cannot be opened: {error.strerror}.",
                    hint="Check who owns the folder and whether there is room.",
                ) from error
        return self._fd

    def acquire(self) -> None:
        """Waits until it is this process's turn."""
        assert not self.held, "a writer lock is not reentrant"
        fcntl.flock(self._open(), fcntl.LOCK_EX)
        self.held = True

    def try_acquire(self) -> bool:
        """Takes the lock if it is free."""
        assert not self.held, "a writer lock is not reentrant"
        try:
            fcntl.flock(self._open(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        self.held = True
        return True

    def release(self) -> None:
        """Lets the next process write; does nothing when the lock is not held."""
        if self.held and self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            self.held = False

    def close(self) -> None:
        """Releases the lock and its file descriptor."""
        self.release()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
