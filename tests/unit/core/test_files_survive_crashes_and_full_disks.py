"""Whole-file replacement and private folders, with the system calls that fail in real life made to fail."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tenfold.core.errors import StorageDamaged, StorageFull, UsageError
from tenfold.core.files import atomic_write, private_dir, storage_error, write_all

Breaks = Callable[[str, int], None]


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Breaks:
    """Makes a function of `os` fail with an errno."""

    def break_it(name: str, number: int) -> None:
        def fail(*_: Any, **__: Any) -> Any:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(f"tenfold.core.files.os.{name}", fail)

    return break_it


def test_the_file_has_the_bytes_and_exactly_the_mode(tmp_path: Path) -> None:
    path, umask = tmp_path / "map.json", os.umask(0o077)
    try:
        atomic_write(path, b"one")
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"one", 0o600)
        atomic_write(path, b"two", mode=0o644)
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"two", 0o644)
    finally:
        os.umask(umask)


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace", "fchmod"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_failure_anywhere_leaves_the_old_file_and_no_draft(
    tmp_path: Path, breaks: Breaks, call: str, number: int
) -> None:
    path = tmp_path / "map.json"
    atomic_write(path, b"old")
    breaks(call, number)
    with pytest.raises((StorageFull, StorageDamaged, UsageError), match=r"Cannot write .*map\.json: "):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["map.json"]


def test_a_disk_that_fills_up_in_the_middle_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "map.json"
    atomic_write(path, b"old")
    real, calls = os.write, []

    def short(fd: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "full")
        return real(fd, data[:3])

    monkeypatch.setattr("tenfold.core.files.os.write", short)
    with pytest.raises(StorageFull):
        atomic_write(path, b"new bytes")
    assert path.read_bytes() == b"old"
    assert calls == [9, 6]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr("tenfold.core.files.os.write", lambda fd, data: real(fd, data[:3]))
    fd = os.open(tmp_path / "x", os.O_WRONLY | os.O_CREAT)
    try:
        write_all(fd, b"0123456789")
    finally:
        os.close(fd)
    assert (tmp_path / "x").read_bytes() == b"0123456789"


def test_a_really_full_disk_is_said_so() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this machine has no /dev/full")
    fd = os.open(full, os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space left") as caught:
            write_all(fd, b"x")
    finally:
        os.close(fd)
    assert isinstance(storage_error(caught.value, "write", full), StorageFull)


def test_a_reader_never_sees_a_mixture(tmp_path: Path) -> None:
    path, done = tmp_path / "map.json", threading.Event()
    contents = {bytes([65 + n]) * 200_000 for n in range(4)}
    atomic_write(path, next(iter(contents)))
    seen: set[bytes] = set()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    writers = [threading.Thread(target=lambda c=c: [atomic_write(path, c) for _ in range(10)]) for c in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert seen <= contents
    assert os.listdir(tmp_path) == ["map.json"]


KILLED = """
import os, signal, sys
from tenfold.core import files
real = files.os.replace
def die(*a):
    os.kill(os.getpid(), signal.SIGKILL)
files.os.replace = die
files.atomic_write(sys.argv[1], b"new")
"""


def test_a_writer_killed_before_the_rename_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    atomic_write(path, b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=30)
    assert done.returncode == -9
    assert path.read_bytes() == b"old"
    atomic_write(path, b"newer")
    assert path.read_bytes() == b"newer"


def test_a_missing_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file") as caught:
        atomic_write(tmp_path / "nowhere" / "x", b"")
    assert "folder exists" in caught.value.hint


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EROFS, UsageError),
        (errno.EACCES, UsageError),
        (errno.EPERM, UsageError),
        (errno.ENOENT, UsageError),
        (errno.EISDIR, UsageError),
        (errno.EIO, StorageDamaged),
        (errno.EBADMSG, StorageDamaged),
    ],
)
def test_every_failure_has_a_sentence_and_a_hint(number: int, kind: type[Exception]) -> None:
    error = storage_error(OSError(number, "x"), "write", "/a/b")
    assert type(error) is kind
    assert error.message == f"Cannot write /a/b: {os.strerror(number)}."
    assert error.hint


def test_a_private_folder_is_made_with_its_parents_and_closed_to_others(tmp_path: Path) -> None:
    path = private_dir(tmp_path / "a" / "run")
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    path.chmod(0o755)
    assert private_dir(str(path)) == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_file_where_the_folder_should_be_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UsageError, match="File exists"):
        private_dir(tmp_path / "run")


def test_the_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path.stat().st_uid
    monkeypatch.setattr("tenfold.core.files.os.geteuid", lambda: mine + 1)
    with pytest.raises(UsageError, match=f"belongs to another user \\(uid {mine}\\)"):
        private_dir(tmp_path)
