"""Process trees, caps of control groups, the machine and a server's sessions, as /proc and /sys tell them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenfold.control.figures import processes
from tenfold.control.figures.caps import NO_CAP, Caps, Mount, groups_in, mounts_in
from tenfold.control.figures.counting import cpu_between
from tenfold.control.figures.look import ProcessLook
from tenfold.control.figures.machine import busy_in, machine_look, memory_in
from tenfold.control.figures.processes import (
    TICK_S,
    all_children,
    children_of,
    lists_children,
    parse_stat,
    process_of,
    tree_of,
    up_ticks,
)
from tenfold.control.figures.sessions import Sessions, is_client

STAT = b"77 (a ) b (c) S 12 77 77 0 -1 4194560 100 200 0 0 150 50 30 20 20 0 1 0 4711 1000 250 1 2 3\n"
FAMILY = """
import subprocess, sys, threading
def child():
    global kid
    kid = subprocess.Popen([sys.executable, "-c", "print(1, flush=True); input()"], stdin=-1, stdout=-1)
    kid.stdout.readline()
thread = threading.Thread(target=child)
thread.start(); thread.join()
print(kid.pid, flush=True)
input()
kid.communicate(b"1")
"""
"""A process that starts another one, in a thread of its own that has ended since."""


@pytest.fixture
def family() -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen([sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    kid = int(process.stdout.readline())
    yield process, kid
    process.communicate("\n")


def test_a_name_with_brackets_does_not_move_the_fields() -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    expected = ProcessLook(77, 12, 4711, cpu_s=200 * TICK_S, ended_s=50 * TICK_S, memory=250 * page)
    assert parse_stat(77, STAT) == expected


def test_who_is_gone_is_nobody() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert process_of(process.pid) is None
    assert tree_of(process.pid, children_of) == ()
    assert children_of(process.pid) == []


@pytest.mark.parametrize("listed", [True, False])
def test_a_tree_is_a_process_and_what_it_started(family: tuple[subprocess.Popen[str], int], listed: bool) -> None:
    process, kid = family
    if listed and not lists_children():
        pytest.skip("this kernel does not list children")
    children = children_of if listed else all_children()
    tree = tree_of(process.pid, children)
    assert [one.pid for one in tree] == [process.pid, kid]
    assert tree[1].parent == process.pid
    assert all(one.memory > one.shared > 0 for one in tree)


def test_the_cores_of_a_child_that_ended_are_found_at_its_parent() -> None:
    burn = "t = time.process_time()\nwhile time.process_time() < t + 0.2: pass\n"
    code = f"import subprocess, sys, time\nsubprocess.run([sys.executable, '-c', 'import time\\n' + {burn!r}])\n"
    process = subprocess.Popen([sys.executable, "-c", f"input()\n{code}print(1, flush=True)\ninput()"],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    before, since = tree_of(process.pid, children_of), up_ticks()
    process.stdin.write("\n")
    process.stdin.flush()
    process.stdout.readline()
    seconds = cpu_between(before, tree_of(process.pid, children_of), since)
    process.communicate("\n")
    assert seconds is not None
    assert 0.15 < seconds < 2.0


def test_one_process_counts_all_its_memory() -> None:
    code = "print(1, flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    (one,) = tree_of(process.pid, children_of)
    process.communicate(b"\n")
    assert one.shared == 0
    assert one.memory > 1 << 20


def test_a_tree_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_MOST", 10)
    monkeypatch.setattr(processes, "process_of", lambda pid: ProcessLook(pid, pid - 1, 0))
    assert len(tree_of(1, lambda pid: [pid * 2, pid * 2 + 1, 1])) == 10


def test_time_since_boot_has_the_unit_of_starts() -> None:
    process = subprocess.Popen(["true"])
    one, now = process_of(process.pid), up_ticks()
    process.wait()
    assert one is not None
    assert one.began <= now + 1
    assert now - one.began < 60_000


# Caps

MOUNTINFO = """\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
41 31 0:38 /box /sys/fs/cgroup/unified rw,relatime shared:3 - cgroup2 cgroup2 rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,cpu
too short
"""


def test_only_hierarchies_that_cap_cores_are_looked_at() -> None:
    assert mounts_in(MOUNTINFO) == [
        Mount("/sys/fs/cgroup/cpu,cpuacct", "/", unified=False), Mount("/sys/fs/cgroup/unified", "/box", unified=True)
    ]  # fmt: skip


def test_the_groups_of_a_process_are_named_by_version() -> None:
    text = "9:name=systemd:/\n3:cpuset:/x\n2:cpu,cpuacct:/a:b\n0::/box/web\n"
    assert groups_in(text) == {False: "/a:b", True: "/box/web"}


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text)


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """/proc/PID/cgroup of made-up processes; other files are real."""
    found: dict[int, str] = {}
    real = processes.read

    def read(path: str) -> bytes:
        for pid, text in found.items():
            if path == f"/proc/{pid}/cgroup":
                return text.encode()
        return real(path)

    monkeypatch.setattr("tenfold.control.figures.caps.read", read)
    return found


def test_the_lowest_cap_on_the_way_up_counts(tmp_path: Path, groups: dict[int, str]) -> None:
    group(tmp_path, cpu_max="200000 100000\n")
    group(tmp_path / "a", cpu_max="max 100000\n")
    group(tmp_path / "a" / "b", cpu_max="50000 20000\n")
    group(tmp_path / "a" / "c", cpu_max="1000 20000\n")
    groups.update({1: "0::/a/b\n", 2: "0::/a/c\n", 3: "0::/\n", 4: "0::/nowhere\n"})
    caps = Caps([Mount(str(tmp_path), "/", unified=True)])
    assert [caps.cores(pid) for pid in (1, 2, 3, 4)] == [2.0, 0.05, 2.0, 2.0]


def test_caps_of_version_1_are_read_too(tmp_path: Path, groups: dict[int, str]) -> None:
    for name, quota in (("", "-1"), ("a", "1500")):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "cpu.cfs_quota_us").write_text(quota)
        (tmp_path / name / "cpu.cfs_period_us").write_text("20000")
        (tmp_path / name / "cpuacct.usage").write_text("2500000000\n")
    groups.update({1: "4:cpu,cpuacct:/a\n", 2: "4:cpu,cpuacct:/\n", 3: "7:pids:/\n"})
    caps = Caps([Mount(str(tmp_path), "/", unified=False)])
    assert [caps.cores(pid) for pid in (1, 2, 3)] == [0.075, NO_CAP, NO_CAP]
    assert [caps.usage_s(pid) for pid in (1, 3)] == [2.5, None]


def test_in_a_container_groups_are_seen_from_its_own(tmp_path: Path, groups: dict[int, str]) -> None:
    group(tmp_path, cpu_max="150000 100000\n", cpu_stat="usage_usec 1500000\nuser_usec 1\n")
    group(tmp_path / "web", cpu_max="50000 100000\n")
    groups.update({1: "0::/docker/x/web\n", 2: "0::/docker/x\n"})
    caps = Caps([Mount(str(tmp_path), "/docker/x", unified=True)])
    assert [caps.cores(1), caps.cores(2), caps.usage_s(2)] == [0.5, 1.5, 1.5]


def test_who_is_gone_has_no_cap() -> None:
    assert Caps(mounts_in(MOUNTINFO)).cores(0) == NO_CAP
    assert Caps(mounts_in(MOUNTINFO)).usage_s(0) is None


# The machine


def test_cores_that_wait_or_are_taken_away_do_not_work() -> None:
    assert busy_in(b"cpu  100 20 30 1000 500 7 3 900 60 0\ncpu0 1 2\n") == pytest.approx(160 * TICK_S)


def test_memory_that_can_be_had_is_what_is_free() -> None:
    text = b"MemTotal:  100 kB\nMemFree:  1 kB\nMemAvailable:  40 kB\nHugePages_Total: 0\nDirectMap: \n"
    assert memory_in(text) == (102400, 40960)
    assert memory_in(b"") == (0, 0)


def test_the_machine_that_works_is_busier(tmp_path: Path) -> None:
    caps = Caps([])
    before = machine_look(tmp_path, caps)
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    after = machine_look(tmp_path, caps)
    assert after.busy_s - before.busy_s >= 0.05
    assert after.cores == os.cpu_count()
    assert after.disk >= after.disk_free > 0


def test_a_part_of_a_machine_is_the_machine_of_a_container(tmp_path: Path) -> None:
    class Capped(Caps):
        def cores(self, pid: int) -> float:
            return 0.5 if pid == os.getpid() else NO_CAP

        def usage_s(self, pid: int) -> float | None:
            return 12.5 if pid == os.getpid() else None

    look = machine_look(tmp_path, Capped([]))
    assert (look.cores, look.busy_s) == (1, 12.5)


def test_a_folder_that_is_gone_costs_its_own_figures_only(tmp_path: Path) -> None:
    look = machine_look(tmp_path / "gone", Caps([]))
    assert (look.disk, look.disk_free, look.disk_busy_s) == (0, 0, None)
    assert look.memory > 0


def test_a_file_system_without_a_disk_has_no_busy_disk() -> None:
    assert machine_look(Path("/proc"), Caps([])).disk_busy_s is None


# Sessions


@pytest.mark.parametrize(
    ("title", "client"),
    [
        (b"postgres: small_web small 127.0.0.1(46488) idle", True),
        (b"postgres: shop: small_web small 10.0.0.1(46488) SELECT waiting", True),
        (b"postgres: postgres small [local] idle in transaction", True),
        (b"postgres: small_web small ::1(5000) COMMIT", True),
        (b"postgres: checkpointer ", False),
        (b"postgres: parallel worker for PID 123 ", False),
        (b"postgres: walsender replicator 127.0.0.1(41234) streaming 0/3000148", False),
        (b"/usr/lib/postgresql/15/bin/postgres\0-D\0/x(1)", False),
        (b"", False),
    ],
)
def test_sessions_of_clients_are_known_by_their_titles(title: bytes, client: bool) -> None:
    assert is_client(title) is client


def test_a_session_is_read_once_and_one_without_a_title_again(monkeypatch: pytest.MonkeyPatch) -> None:
    titles = {1: b"postgres: u d 127.0.0.1(1) idle", 2: b"/usr/bin/postgres -D x", 3: b"postgres: walwriter "}
    asked: list[int] = []

    def command_of(pid: int) -> bytes:
        asked.append(pid)
        return titles[pid]

    monkeypatch.setattr("tenfold.control.figures.sessions.command_of", command_of)
    these = [ProcessLook(pid, 9, 100) for pid in titles]
    sessions = Sessions()
    assert [sessions.count(these), sessions.count(these)] == [1, 1]
    assert asked == [1, 2, 3, 2]
    titles[2] = titles[1]
    assert sessions.count([*these, ProcessLook(1, 9, 200)]) == 3  # the same number, another process
    assert asked == [1, 2, 3, 2, 2, 1]
