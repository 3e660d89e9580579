"""A folder of this machine as a store. Processes of one machine share it.

An object lies in one of 256 folders, by the end of its name. A draft is a file of its own, locked by its writer: the
kernel drops the lock when the writer dies, so that what is left of it can be told without a clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import TypeVar

from tenfold.blocks.files import disk
from tenfold.blocks.files.http import Span
from tenfold.blocks.files.store import Kept, checked
from tenfold.core.errors import NotFound
from tenfold.core.files import private_dir, storage_errors, sync_dir, write_all
from tenfold.core.randomness import Randomness

T = TypeVar("T")


class LocalStore:
    """Keeps objects in a folder, which is made with the first one. Durable when `finish` returns: file and name are
    synced. Raises `StorageFull`, `UsageError` or `StorageDamaged` for what the disk says."""

    def __init__(self, folder: Path, randomness: Randomness) -> None:
        self.folder = folder
        self._randomness = randomness

    async def begin(self, name: str, *, durable: bool = True) -> LocalDraft:
        """See `Store`."""
        target = self._path(checked(name))
        draft = self._drafts / f"{self._randomness.bytes(12).hex()}.part"
        return LocalDraft(await disk.opened(lambda: _opened(draft)), draft, target, durable)

    async def open(self, name: str, span: Span) -> AsyncGenerator[bytes, None]:
        """See `Store`."""
        if await self.size(name) is None:
            raise NotFound(f"There is no object {name}.", code="TF-FILES-NONE")
        async with contextlib.aclosing(disk.pieces(self._path(name), span)) as found:
            async for piece in found:
                yield piece

    async def size(self, name: str) -> int | None:
        """See `Store`."""
        return await asyncio.to_thread(_size, self._path(checked(name)))

    async def delete(self, name: str) -> bool:
        """See `Store`."""
        return await asyncio.to_thread(_removed, self._path(checked(name)))

    async def list(self, prefix: str) -> AsyncGenerator[Kept, None]:
        """See `Store`."""
        for kept in await asyncio.to_thread(lambda: tuple(self._found(checked(prefix)))):
            yield kept

    async def tidy(self) -> int:
        """See `Store`."""
        return await asyncio.to_thread(self._tidied)

    @property
    def _drafts(self) -> Path:
        return self.folder / "drafts"

    def _path(self, name: str) -> Path:
        prefix, slash, last = name.rpartition("/")
        if slash:
            return self.folder / prefix / last
        return self.folder / "objects" / name[-2:].rjust(2, "0") / name

    def _found(self, prefix: str) -> Iterator[Kept]:
        for path in _listed(self.folder / prefix):
            with contextlib.suppress(FileNotFoundError):
                facts = path.lstat()
                yield Kept(f"{prefix}/{path.name}", facts.st_size, facts.st_mtime)

    def _tidied(self) -> int:
        removed = 0
        for path in _listed(self._drafts):
            with contextlib.suppress(OSError):
                removed += _abandoned(path)
        return removed


class LocalDraft:
    """A draft in a `LocalStore`; its calls come one after another."""

    def __init__(self, fd: int, path: Path, target: Path, durable: bool) -> None:
        self._fd: int | None = fd
        self._path = path
        self._target = target
        self._durable = durable
        self._running: asyncio.Future[None] | None = None

    async def write(self, piece: bytes) -> None:
        """See `Draft`."""
        assert self._fd is not None, "a draft that has ended takes no more"
        fd = self._fd
        await self._run(lambda: _writing(fd, piece, self._target))

    async def finish(self) -> None:
        """See `Draft`."""
        assert self._fd is not None, "a draft ends once"
        fd = self._fd
        await self._run(lambda: _finished(fd, self._path, self._target, self._durable))
        self._close()

    async def abort(self) -> None:
        """See `Draft`."""
        if self._running is not None and not self._running.done():
            await asyncio.wait([self._running])  # a thread still writes for a caller that was cancelled
        if self._fd is not None:
            self._path.unlink(missing_ok=True)
            self._close()

    async def _run(self, work: Callable[[], None]) -> None:
        self._running = asyncio.ensure_future(asyncio.to_thread(work))
        await asyncio.shield(self._running)

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


def _listed(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    with storage_errors("list", folder):
        return [Path(entry.path) for entry in os.scandir(folder)]


def _made(folder: Path) -> None:
    """Makes a folder, with those above it that are missing, so that their names last too."""
    missing = [each for each in (folder, *folder.parents) if not each.is_dir()]
    private_dir(folder)
    for each in reversed(missing):
        sync_dir(each.parent)


def _opened(draft: Path) -> int:
    _made(draft.parent)
    with storage_errors("write", draft):
        while True:
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if draft.exists():  # else somebody tidied it up before it was locked
                return fd
            os.close(fd)


def _writing(fd: int, piece: bytes, target: Path) -> None:
    with storage_errors("write", target):
        write_all(fd, piece)


def _finished(fd: int, draft: Path, target: Path, durable: bool) -> None:
    with storage_errors("write", target):
        if durable:
            os.fsync(fd)
        _made(target.parent)
        os.rename(draft, target)
        if durable:
            sync_dir(target.parent)


def _size(path: Path) -> int | None:
    with storage_errors("read", path):
        try:
            return path.lstat().st_size
        except FileNotFoundError:
            return None


def _removed(path: Path) -> bool:
    with storage_errors("remove", path):
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        return True


def _abandoned(draft: Path) -> bool:
    """Removes a draft that nobody holds."""
    fd = os.open(draft, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.unlink()
    except (BlockingIOError, FileNotFoundError):
        return False
    finally:
        os.close(fd)
    return True
