"""The folder where all processes of a deployment keep the static files that they serve, named by their content.

While a deployment changes over, a page of the old code asks a process of the new code for its files, and the other way
round. So each process puts its files here before it takes clients, and each looks here for a hash that it does not
know. What nobody used for 30 days is removed, and the oldest beyond a size.

Everything here blocks on the disk: never call it on the event loop.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import stat
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tenfold.core.errors import TenfoldError
from tenfold.core.files import atomic_write, private_dir, sync_dir

UNUSED_S = 30 * 86_400
BYTES_MAX = 1024 * 1024 * 1024
"""All files together."""
PIECE = 256 * 1024

_NAME = re.compile(r"[0-9a-f]{16}(\.[A-Za-z0-9_-]{1,16})?(\.(gz|br))?")

log = logging.getLogger("tenfold.files")


def _copied(source: Path, target: Path) -> None:
    """A large file, by pieces: it is under its name only when it is whole, and what the name says."""
    draft = target.with_name(f".{target.name}.{threading.get_native_id()}.tmp")
    try:
        with source.open("rb") as found, open(draft, "wb", opener=_private) as copy:
            digest = hashlib.sha256()
            while piece := found.read(PIECE):
                digest.update(piece)
                copy.write(piece)
            copy.flush()
            os.fsync(copy.fileno())
        if not target.name.startswith(digest.hexdigest()[:16]):
            raise OSError(f"{source} was changed while the process ran")
        os.replace(draft, target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_dir(target.parent)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


@dataclass(frozen=True, slots=True)
class Content:
    """One content to keep: the name it has there, and its bytes, or the file that has them."""

    name: str
    data: bytes | None
    path: Path | None = None


class Published:
    """The folder; made when something is put there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, contents: Iterable[Content], now_s: float) -> int:
        """Keeps what is not there, and marks the rest as used now; how many could not be kept.

        A full disk is no reason not to serve: this process has its own files, only others may lack them.
        """
        failed = 0
        for content in contents:
            try:
                self._put(content, now_s)
            except (TenfoldError, OSError) as error:
                failed += 1
                log.warning("The static file %s is not shared with other processes: %s", content.name, error)
        return failed

    def _put(self, content: Content, now_s: float) -> None:
        target = self.folder / content.name
        if self.touch(content.name, now_s):
            return
        private_dir(self.folder)
        if content.data is not None:
            atomic_write(target, content.data, 0o600)
        else:
            assert content.path is not None, "a content has bytes or a file"
            _copied(content.path, target)
        os.utime(target, (now_s, now_s))

    def find(self, name: str) -> Path | None:
        """The file of that name, if it is there; never anything outside of the folder."""
        if not _NAME.fullmatch(name):
            return None
        path = self.folder / name
        try:
            return path if stat.S_ISREG(path.lstat().st_mode) else None
        except OSError:
            return None

    def touch(self, name: str, now_s: float) -> bool:
        """Marks a file as used now; False when it is not there."""
        try:
            os.utime(self.folder / name, (now_s, now_s), follow_symlinks=False)
        except OSError:
            return False
        return True

    def prune(self, now_s: float, unused_s: float = UNUSED_S, bytes_max: int = BYTES_MAX) -> int:
        """Removes what was not used for so long, and the longest unused beyond the size; how many files."""
        total = removed = 0
        for used, size, path in sorted(self._found(), reverse=True):
            total += size
            if used < now_s - unused_s or total > bytes_max:
                with contextlib.suppress(OSError):
                    path.unlink()
                    removed += 1
        return removed

    def _found(self) -> Iterator[tuple[float, int, Path]]:
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.folder):
                with contextlib.suppress(OSError):
                    facts = entry.stat(follow_symlinks=False)
                    yield facts.st_mtime, facts.st_size, Path(entry.path)
