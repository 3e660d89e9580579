"""The lock between processes, held by real processes that are really killed."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenfold.core.errors import UsageError
from tenfold.core.files import FileLock

HOLDER = """
import sys
from tenfold.core.files import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def test_only_one_process_holds_it_and_says_who(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "up.lock")
    with holder(lock.path) as process:
        assert not lock.try_acquire()
        assert not lock.held
        assert lock.holder() == process.pid


def test_a_killed_holder_frees_it_and_its_pid_blocks_nobody(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "up.lock")
    with holder(lock.path) as process:
        process.kill()
        process.wait()
        assert lock.holder() == process.pid
        assert lock.try_acquire()
    assert lock.holder() == os.getpid()
    lock.release()


def test_acquire_waits_until_it_is_free(tmp_path: Path) -> None:
    path, got = tmp_path / "up.lock", threading.Event()
    second = FileLock(path)

    def wait() -> None:
        second.acquire()
        got.set()

    with FileLock(path):
        waiter = threading.Thread(target=wait)
        waiter.start()
        assert not got.wait(0.1)
    assert got.wait(10)
    waiter.join()
    assert second.held
    second.release()


def test_two_objects_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    one, other = FileLock(tmp_path / "x"), FileLock(str(tmp_path / "x"))
    assert one.try_acquire()
    assert not other.try_acquire()
    one.release()
    one.release()
    assert other.try_acquire()
    other.release()


def test_a_child_process_does_not_inherit_it(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "x")
    lock.acquire()
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        lock.release()
        assert lock.try_acquire()
        child.kill()
    lock.release()


def test_the_lock_holds_even_when_the_pid_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("tenfold.core.files.os.pwrite", full)
    lock = FileLock(tmp_path / "x")
    assert lock.try_acquire()
    assert lock.holder() is None
    assert not FileLock(tmp_path / "x").try_acquire()
    lock.release()


def test_a_failing_lock_leaves_no_open_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("tenfold.core.files.fcntl.flock", fail)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(Exception, match="Cannot lock"):
        FileLock(tmp_path / "x").acquire()
    assert os.listdir("/proc/self/fd") == before


def test_a_folder_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Cannot lock .*No such file"):
        FileLock(tmp_path / "nowhere" / "x").try_acquire()


def test_the_holder_of_no_file_or_a_strange_one_is_nobody(tmp_path: Path) -> None:
    assert FileLock(tmp_path / "x").holder() is None
    (tmp_path / "x").write_text("not a pid")
    assert FileLock(tmp_path / "x").holder() is None
