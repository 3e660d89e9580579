"""The log files of the children: written by them, rotated and followed by us.

A child writes to its file itself (O_APPEND), so it goes on when the keeper dies. The price is that a rotation cannot
swap the file under it: it is copied to `.1` and then emptied. A second pass copies what was written during the first,
and only a line that falls between the end of that pass and the truncation (microseconds) can be lost; see
docs/decisions/copy-then-truncate-logs.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.core.files import write_all

_CHUNK = 256 * 1024
_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True)
class Rotation:
    """`size`: bytes from which on a log is rotated. `keep`: generations kept beside the live file."""

    size: int = 16 * 1024 * 1024
    keep: int = 5


def open_for_child(path: Path) -> int:
    """A descriptor for a child's standard output and error; the caller closes its copy."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def rotate(path: Path, rotation: Rotation, *, after_first_pass: Callable[[], None] = lambda: None) -> bool:
    """Rotates the file when it is large enough and says whether it did.

    On a full disk the oldest generation is dropped to make room and the live file is left for the next try.
    """
    try:
        if path.stat().st_size < rotation.size:
            return False
        draft = path.with_name(f".{path.name}.tmp")
        with path.open("r+b", buffering=0) as live, draft.open("wb", buffering=0) as copy:
            draft.chmod(0o600)
            _copy_rest(live, copy)
            after_first_pass()
            _shift(path, rotation.keep)
            draft.replace(generation(path, 1))
            _copy_rest(live, copy)
            live.truncate(0)
    except OSError:
        _make_room(path, rotation)
        return False
    return True


def generation(path: Path, number: int) -> Path:
    """The file that holds the number-th oldest past of a log; 1 is the youngest."""
    return path.with_name(f"{path.name}.{number}")


def _copy_rest(live: Any, copy: Any) -> None:
    while data := live.read(_CHUNK):
        view = memoryview(data)
        while view:
            view = view[copy.write(view) :]


def _shift(path: Path, keep: int) -> None:
    generation(path, keep).unlink(missing_ok=True)
    for number in range(keep - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            generation(path, number).replace(generation(path, number + 1))


def _make_room(path: Path, rotation: Rotation) -> None:
    with contextlib.suppress(OSError):
        path.with_name(f".{path.name}.tmp").unlink(missing_ok=True)
        for number in range(rotation.keep, 1, -1):
            if generation(path, number).exists():
                generation(path, number).unlink()
                return


class Follower:
    """Reads what a log grows by, across rotations. `read()` returns whole lines only."""

    def __init__(self, path: Path, *, from_start: bool = False, offset: int | None = None) -> None:
        self._path = path
        self._offset = offset if offset is not None else 0 if from_start else _size(path)
        self._past = _mark(generation(path, 1))

    def read(self) -> bytes:
        """All complete lines since the last call; at most some megabytes a call, the rest comes with the next."""
        past = _mark(generation(self._path, 1))
        lines = b""
        if past != self._past:
            if _size(self._path) >= _size(generation(self._path, 1)):
                return b""  # copied and not emptied yet
            lines = _read_from(generation(self._path, 1), self._offset)
            self._past, self._offset = past, 0
        fresh = _read_from(self._path, self._offset)
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._offset += len(whole)
        return lines + whole


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _mark(path: Path) -> tuple[int, int]:
    """Tells one generation from the next; its time is left out, because the second pass still writes to it."""
    try:
        stat = path.stat()
    except OSError:
        return (0, 0)
    return (stat.st_dev, stat.st_ino)


def _read_from(path: Path, offset: int) -> bytes:
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(offset)
        return file.read(4 * 1024 * 1024)
    return b""


def tail(path: Path, lines: int) -> list[bytes]:
    """The last lines of a log, oldest first, reaching into the youngest past generation when the live file is short."""
    found: list[bytes] = []
    for file in (path, generation(path, 1)):
        if len(found) >= lines:
            break
        found = _last_lines(file, lines - len(found)) + found
    return found


def _last_lines(path: Path, lines: int) -> list[bytes]:
    if lines <= 0 or not path.exists():
        return []
    with contextlib.suppress(OSError), path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        want = _TAIL_BYTES
        while True:
            start = max(0, end - want)
            file.seek(start)
            found = file.read(end - start).splitlines()
            if start == 0 or len(found) > lines:
                return found[-lines:]
            want *= 2
    return []


def last_report(path: Path, offset: int) -> dict[str, Any] | None:
    """The last line since `offset` that is a JSON object: how a child says why it cannot start, or what it did."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(offset if offset <= end else 0, end - _TAIL_BYTES))
        for line in reversed(file.read(_TAIL_BYTES).splitlines()):
            with contextlib.suppress(ValueError, RecursionError):
                value = json.loads(line)
                if isinstance(value, dict):
                    return value
    return None


class Mirror:
    """Copies what the children log to standard output, for a keeper in the foreground.

    A thread of its own, because standard output may block (a slow terminal, a full pipe) and the keeper must not.
    """

    def __init__(self, folder: Path, *, output: int = 1, every_s: float = 0.1) -> None:
        self._folder = folder
        self._output = output
        self._every_s = every_s
        self._followers = {path: Follower(path) for path in self._files()}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._copy, name="mirror", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Copies what is left and ends; gives up on an output that blocks."""
        self._closing.set()
        self._thread.join(timeout_s)

    def _files(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*.log") if path.name != "keeper.log")

    def _copy(self) -> None:
        last_round = False
        while not last_round:
            last_round = self._closing.wait(self._every_s)
            for path in self._files():
                follower = self._followers.setdefault(path, Follower(path, offset=0))
                with contextlib.suppress(OSError):
                    write_all(self._output, follower.read())
