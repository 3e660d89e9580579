"""Logs: rotated by size while somebody writes, followed across rotations, and survivable on a full disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenfold.hosts.logs import Follower, Mirror, Rotation, generation, last_report, open_for_child, rotate, tail


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "web-1.log"


@pytest.fixture
def writer(log: Path) -> Iterator[int]:
    """What a child holds: opened once, for ever."""
    descriptor = open_for_child(log)
    yield descriptor
    os.close(descriptor)


def everything(log: Path, keep: int) -> list[bytes]:
    files = [generation(log, number) for number in range(keep, 0, -1)] + [log]
    return [line for file in files if file.exists() for line in file.read_bytes().splitlines()]


def test_a_log_below_its_size_is_left_alone(log: Path, writer: int) -> None:
    os.write(writer, b"x" * 99)
    assert not rotate(log, Rotation(size=100, keep=2))
    assert log.stat().st_size == 99


def test_a_writer_that_never_reopens_loses_no_line_over_many_rotations(log: Path, writer: int) -> None:
    rotation, written = Rotation(size=300, keep=100), []

    def write(count: int) -> None:
        for _ in range(count):
            written.append(b"line %d" % len(written))
            os.write(writer, written[-1] + b"\n")

    for _ in range(20):
        write(60)
        assert rotate(log, rotation, after_first_pass=lambda: write(7))
    write(3)
    assert everything(log, 100) == written


def test_only_so_many_generations_are_kept(log: Path, writer: int) -> None:
    for number in range(6):
        os.write(writer, b"%d\n" % number)
        assert rotate(log, Rotation(size=1, keep=3))
    assert everything(log, 9) == [b"3", b"4", b"5"]


def test_logs_and_their_past_are_private(log: Path, writer: int) -> None:
    os.write(writer, b"x\n")
    rotate(log, Rotation(size=1, keep=2))
    assert {path.stat().st_mode & 0o777 for path in (log, generation(log, 1))} == {0o600}


def test_a_follower_sees_each_line_once_across_rotations(log: Path, writer: int) -> None:
    follower, seen = Follower(log), b""
    for number in range(30):
        os.write(writer, b"line %d\n" % number)
        if number % 4 == 0:
            seen += follower.read()
        if number % 7 == 0:
            rotate(log, Rotation(size=1, keep=3))
            seen += follower.read()
    seen += follower.read()
    assert seen.splitlines() == [b"line %d" % number for number in range(30)]


def test_a_follower_waits_while_a_rotation_is_between_copy_and_truncation(log: Path, writer: int) -> None:
    os.write(writer, b"one\n")
    follower = Follower(log, offset=0)
    generation(log, 1).write_bytes(b"one\n")
    assert follower.read() == b""
    os.truncate(log, 0)
    os.write(writer, b"2\n")
    assert follower.read() == b"one\n2\n"


def test_a_follower_hands_out_whole_lines_only(log: Path, writer: int) -> None:
    follower = Follower(log)
    os.write(writer, b"half")
    assert follower.read() == b""
    os.write(writer, b" a line\nnext")
    assert follower.read() == b"half a line\n"


def test_the_tail_reaches_into_the_past_when_the_live_file_is_short(log: Path, writer: int) -> None:
    os.write(writer, b"1\n2\n3\n")
    rotate(log, Rotation(size=1, keep=2))
    os.write(writer, b"4\n")
    assert tail(log, 3) == [b"2", b"3", b"4"]
    assert tail(log, 50) == [b"1", b"2", b"3", b"4"]
    assert tail(log, 0) == []


def test_the_tail_of_a_long_log_is_right_without_reading_all_of_it(log: Path, writer: int) -> None:
    for number in range(20_000):
        os.write(writer, b"%06d and some more text\n" % number)
    assert [int(line[:6]) for line in tail(log, 10_000)] == list(range(10_000, 20_000))


def test_the_report_of_a_child_is_its_last_line_of_json_since_it_started(log: Path, writer: int) -> None:
    os.write(writer, b'{"error": {"message": "an old life"}}\n')
    started = log.stat().st_size
    assert last_report(log, started) is None
    os.write(writer, b'plain\n[1]\n{"error": {"message": "mine"}}\nnot json {\n')
    assert last_report(log, started) == {"error": {"message": "mine"}}


def test_what_children_log_is_copied_to_standard_output_in_the_foreground(log: Path, writer: int) -> None:
    os.write(writer, b"before\n")
    receive, send = os.pipe()
    mirror = Mirror(log.parent, output=send, every_s=0.01)
    os.write(writer, b"during\n")
    fresh = open_for_child(log.with_name("web-2.log"))
    os.write(fresh, b"another\n")
    os.close(fresh)
    mirror.close()
    os.close(send)
    with os.fdopen(receive, "rb") as output:
        assert sorted(output.read().splitlines()) == [b"another", b"during"]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="not run: mounting a small file system needs root")
def test_on_a_full_disk_the_live_log_stays_and_the_oldest_past_goes(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)], check=True)
    try:
        log, rotation = tmp_path / "web-1.log", Rotation(size=1, keep=3)
        for number in (1, 2, 3):
            generation(log, number).write_bytes(b"%d" % number * 50_000)
        log.write_bytes(b"l" * 60_000)
        assert not rotate(log, rotation)
        assert log.read_bytes() == b"l" * 60_000
        assert not generation(log, 3).exists()
        assert rotate(log, rotation)
        assert generation(log, 1).read_bytes() == b"l" * 60_000
        assert log.stat().st_size == 0
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
