from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from tenfold.core import lines as module
from tenfold.core.lines import Lines, Outlet


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "log"


def to(path: Path) -> Lines:
    return Lines(Outlet(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)))


async def until(path: Path, count: int) -> None:
    async with asyncio.timeout(5):
        while len(path.read_bytes().splitlines()) < count:
            await asyncio.sleep(0.005)


def test_many_lines_of_a_loop_are_one_write(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    real = os.write
    monkeypatch.setattr(module.os, "write", lambda fd, data: writes.append(len(data)) or real(fd, data))

    async def burst() -> None:
        lines = to(file)
        for number in range(100):
            lines.add(b"%d\n" % number)
        assert writes == []
        await until(file, 100)

    asyncio.run(burst())
    assert len(writes) == 1


def test_a_line_that_is_wanted_now_takes_those_before_it_along(file: Path) -> None:
    async def run() -> None:
        lines = to(file)
        lines.add(b"first\n")
        lines.add(b"second\n", now=True)
        assert file.read_bytes() == b"first\nsecond\n"

    asyncio.run(run())


def test_a_loop_that_ended_before_its_timer_keeps_nothing_back(file: Path) -> None:
    lines = to(file)

    async def ends() -> None:
        lines.add(b"first\n")

    async def next_loop() -> None:
        lines.add(b"second\n")
        await until(file, 2)

    asyncio.run(ends())
    asyncio.run(next_loop())
    assert file.read_bytes() == b"first\nsecond\n"


def test_too_many_lines_do_not_wait_for_the_timer(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINES", 10)

    async def run() -> None:
        lines = to(file)
        for _ in range(10):
            lines.add(b"x\n")
        assert len(file.read_bytes().splitlines()) == 10

    asyncio.run(run())


def test_threads_lose_no_line_and_tear_none(file: Path) -> None:
    lines = to(file)

    def write(thread: int) -> None:
        for number in range(500):
            lines.add(b"%d %d\n" % (thread, number))

    async def run() -> None:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for number in range(500):
            lines.add(b"9 %d\n" % number)
            await asyncio.sleep(0)
        for thread in threads:
            await asyncio.to_thread(thread.join)
        lines.flush()

    asyncio.run(run())
    found = file.read_text().splitlines()
    assert sorted(found) == sorted(f"{thread} {n}" for thread in (0, 1, 2, 3, 9) for n in range(500))
    assert lines.dropped == 0


def test_a_full_disk_costs_lines_and_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PENDING_BYTES", 100)
    lines = Lines(Outlet(os.open("/dev/full", os.O_WRONLY)))
    for _ in range(50):
        lines.add(b"x" * 9 + b"\n")
    assert lines.dropped == 40


def test_a_closed_descriptor_costs_lines_only() -> None:
    fd = os.open(os.devnull, os.O_WRONLY)
    lines = Lines(Outlet(fd))
    os.close(fd)
    lines.add(b"x\n")
    Lines(Outlet(fd)).add(b"x\n")


class Interrupted(Outlet):
    """Something is logged in the midst of the first write, as the garbage collector does it."""

    lines: Lines | None = None

    def put(self, lines: bytes, count: int) -> None:
        target, self.lines = self.lines, None
        if target is not None:
            target.add(b"collected\n", now=True)
        super().put(lines, count)


def test_a_line_that_comes_in_the_midst_of_a_write_is_written_behind_it(file: Path) -> None:
    outlet = Interrupted(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    lines = outlet.lines = Lines(outlet)
    thread = threading.Thread(target=lambda: lines.add(b"first\n", now=True), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive(), "the thread waits for itself"
    assert file.read_bytes() == b"first\ncollected\n"
