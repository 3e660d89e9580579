"""Files that survive a crash: whole-file replacement, locks that die with their holder, private directories.

Everything that writes under `.tenfold/` comes through here, so that a full disk, a read-only one and a lack of
permission end in the same clear sentences wherever they are met.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tenfold.core.errors import StorageDamaged, StorageFull, TenfoldError, UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG}


def storage_error(error: OSError, doing: str, path: Path | str) -> TenfoldError:
    """The error of our vocabulary for an `OSError`; `doing` is a verb phrase such as "write".

    A full disk or quota is `StorageFull`, a refusal or a wrong path is `UsageError`, the rest (I/O errors) is
    `StorageDamaged`.
    """
    reason = os.strerror(error.errno) if error.errno else str(error)
    sentence = f"Cannot {doing} {path}: {reason}."
    if error.errno in _FULL:
        return StorageFull(
            sentence, hint="Free some space on that disk and try again; what was saved before is intact."
        )
    if error.errno == errno.EROFS:
        return UsageError(sentence, hint="Mount that file system writable, or keep the state in a folder that is.")
    if error.errno in _REFUSED:
        return UsageError(sentence, hint="Give this user the right to write there, or run as the user who owns it.")
    if error.errno in _NOT_THERE:
        return UsageError(sentence, hint="Check that the path is right and that its folder exists.")
    return StorageDamaged(sentence, hint="Look at the system log for errors of that disk.")


@contextlib.contextmanager
def storage_errors(doing: str, path: Path | str) -> Iterator[None]:
    """Turns every `OSError` of its body into the error that `storage_error` names."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, doing, path) from error


def write_all(fd: int, data: bytes) -> None:
    """Writes all bytes; `os.write` alone may stop in the middle when the disk fills up."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_dir(path: Path) -> None:
    """Makes the names in a directory durable (a rename is not, before its directory is synced)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def atomic_write(path: Path | str, data: bytes, mode: int = 0o600) -> None:
    """Replaces the whole file: a reader, or a crash at any point, finds the old bytes or the new ones, never a mixture.

    `mode` is set exactly, whatever the umask. Durable when it returns.
    Raises `StorageFull`, `UsageError` or `StorageDamaged`; the old file is intact then.
    """
    target = Path(path)
    # The thread's id is unique on the machine, so two writers never share a temporary file.
    draft = target.with_name(f".{target.name}.{threading.get_native_id()}.tmp")
    with storage_errors("write", target):
        try:
            _write_draft(draft, data, mode)
            os.replace(draft, target)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        sync_dir(target.parent)


def _write_draft(draft: Path, data: bytes, mode: int) -> None:
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        os.fchmod(fd, mode)
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def private_dir(path: Path | str) -> Path:
    """Makes sure that a directory exists which only this user can enter (0700), and returns it.

    Raises `UsageError` when something else has that name or (unless we are root) when it belongs to another user.
    """
    directory = Path(path)
    with storage_errors("make the folder", directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
        if os.geteuid() not in (0, found.st_uid):
            raise UsageError(
                f"The folder {directory} belongs to another user (uid {found.st_uid}).",
                hint="Run as that user, or remove the folder if nothing in it is needed.",
            )
        if stat.S_IMODE(found.st_mode) != 0o700:
            directory.chmod(0o700)
    return directory


class FileLock:
    """A lock between processes (`flock`) that the kernel releases when its holder dies, however it dies.

    The holder's pid is written inside, for messages only: the lock is the kernel's, so a stale pid blocks nobody.
    The file stays after release on purpose: unlinking it would let two holders lock two files of the same name.
    Not inherited by child processes. Two `FileLock` objects exclude each other within one process too.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._fd is not None

    def try_acquire(self) -> bool:
        """Takes the lock if it is free; False when somebody else holds it."""
        return self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def acquire(self) -> None:
        """Takes the lock, waiting while it is held elsewhere; never call it on the event loop."""
        locked = self._lock(fcntl.LOCK_EX)
        assert locked, "a blocking flock returned without the lock"

    def release(self) -> None:
        """Gives the lock back; does nothing when it is not held."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)

    def holder(self) -> int | None:
        """The pid that the present or last holder wrote, or None; for messages, not for decisions."""
        try:
            return int(self.path.read_bytes())
        except (OSError, ValueError):
            return None

    def _lock(self, operation: int) -> bool:
        assert self._fd is None, "this lock is already held by this object"
        with storage_errors("lock", self.path):
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(fd, operation)
            except BlockingIOError:
                os.close(fd)
                return False
            except BaseException:
                os.close(fd)
                raise
        self._fd = fd
        self._write_pid(fd)
        return True

    @staticmethod
    def _write_pid(fd: int) -> None:
        # On a full disk the lock still holds; only the message about its holder is poorer.
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def allow_many_descriptors() -> int:
    """Raises this process's limit of open descriptors to what the administrator allows; the limit in force.

    Each connection is one: the usual soft limit of 1024 would refuse clients that waited through a pause.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
