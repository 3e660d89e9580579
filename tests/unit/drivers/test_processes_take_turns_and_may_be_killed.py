from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import writing_process

from tenfold.core.errors import Unavailable
from tenfold.drivers.sqlite import Writer, open_reader, open_writer
from tenfold.drivers.sqlite.writer import Job


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "x.db"
    with contextlib.closing(open_writer(made, create=True)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, batch INTEGER) STRICT")
    return made


@contextlib.contextmanager
def writing(path: Path, first: int, count: int, callers: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, writing_process.__file__, str(path), str(first), str(count), str(callers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[bytes]) -> list[str]:
    """What it printed until its end; a line cut off by a kill was not acknowledged to anybody."""
    output, _ = process.communicate(timeout=60)
    whole = output[: output.rfind(b"\n") + 1]
    return whole.decode().split("\n")[:-1]


def stored(path: Path) -> set[int]:
    with contextlib.closing(open_reader(path)) as reader:
        assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {row[0] for row in reader.execute("SELECT id FROM t")}


def test_two_processes_finish_without_a_busy_error_and_without_starving(path: Path) -> None:
    with writing(path, 0, 2000, 8) as one, writing(path, 10_000, 2000, 8) as two:
        results = [lines(one), lines(two)]
        assert (one.returncode, two.returncode) == (0, 0)
    assert all(len(result) == 2002 and result[-1].startswith("done") for result in results)
    assert stored(path) == {*range(2000), *range(10_000, 12_000)}


def test_a_busy_process_does_not_starve_another(path: Path) -> None:
    async def work() -> None:
        writer = Writer(path, hold_s=5)
        await writer.start()
        for number in range(1_000_000, 1_000_020):
            await asyncio.wait_for(writer.submit(adding(number)), 10)
        await writer.stop()

    with writing(path, 0, 200_000, 64) as busy:
        assert busy.stdout is not None
        assert busy.stdout.readline() == b"ready\n"
        reading = threading.Thread(target=busy.stdout.read, daemon=True)  # or its pipe fills and it stands still
        reading.start()
        asyncio.run(work())
        assert busy.poll() is None, "it was busy all the time"
        busy.kill()
        reading.join(10)
    assert set(range(1_000_000, 1_000_020)) <= stored(path)


def adding(number: int) -> Callable[[sqlite3.Connection, Job], None]:
    def body(connection: sqlite3.Connection, job: Job) -> None:
        connection.execute("INSERT INTO t (id) VALUES (?)", (number,))

    return body


def test_a_stopped_process_that_has_the_lock_makes_others_hold_then_fail_then_go_on(path: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "import sys, signal, os; from pathlib import Path; from tenfold.drivers.sqlite import WriterLock;"
        "WriterLock(Path(sys.argv[1])).acquire(); os.write(1, b'held'); signal.pause()",
        str(path),
    ]

    async def work(holder: subprocess.Popen[bytes]) -> None:
        writer = Writer(path, hold_s=0.5)
        await writer.start()
        first = writer.submit(adding(1))
        with pytest.raises(Unavailable, match="TF-HELD-TOO-LONG"):
            await asyncio.wait_for(first, 10)
        writer.hold_s = 25
        second = writer.submit(adding(2))
        holder.kill()  # SIGKILL ends a stopped process too; the kernel releases its lock
        await asyncio.wait_for(second, 10)
        await writer.stop()

    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        try:
            assert holder.stdout.read(4) == b"held"
            holder.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)
            asyncio.run(work(holder))
        finally:
            holder.kill()
    assert stored(path) == {2}


def test_a_process_stopped_in_its_work_goes_on_where_it_was(path: Path) -> None:
    with writing(path, 0, 3000, 8) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == b"ready\n"
        for _ in range(5):
            one.stdout.readline()
            one.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, one.pid, os.WSTOPPED | os.WNOWAIT)
            one.send_signal(signal.SIGCONT)
        lines(one)
        assert one.returncode == 0
    assert stored(path) == set(range(3000))


@pytest.mark.parametrize("seed", range(20))
def test_a_killed_process_loses_nothing_that_it_acknowledged(path: Path, seed: int) -> None:
    at = random.Random(seed).randint(1, 800)
    with writing(path, 0, 100_000, 32) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        told = [process.stdout.readline().decode() for _ in range(at)]
        process.send_signal(signal.SIGKILL)
        told += lines(process)
        assert process.returncode == -signal.SIGKILL
    acknowledged = set(map(int, told))
    assert at <= len(acknowledged) < 100_000, "it was killed in its work"
    assert acknowledged <= stored(path)
