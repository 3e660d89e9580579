"""Stop signals, the order at the end, other users, and what a killed child leaves running: with plain processes."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from keeping import House, alive, house, until

from tenfold.hosts.client import left_running, stop_left, wait_until_gone
from tenfold.hosts.records import Launch


@pytest.fixture
def here(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path / ".tenfold") as made:
        yield made


def noting(node: str, note: Path, *, stage: int = 1, stop_signal: str = "SIGTERM") -> Launch:
    """A child that notes which signal ended it, and knows only its own."""
    code = (
        "import signal, sys, time\n"
        "def end(number, _frame):\n"
        f"    open({str(note)!r}, 'a').write('{node} ' + signal.Signals(number).name + '\\n')\n"
        "    sys.exit(0)\n"
        f"signal.signal(signal.{stop_signal}, end)\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    argv = (sys.executable, "-c", code)
    return Launch(node=node, argv=argv, cwd="/", stage=stage, stop_signal=stop_signal, grace_s=5.0)


def up(here: House, *nodes: str) -> None:
    for node in nodes:
        until(lambda node=node: "up" in here.log(node), f"{node} is up")


def test_each_is_asked_with_its_own_signal_and_the_database_last(here: House, tmp_path: Path) -> None:
    note = tmp_path / "note"
    launches = noting("db-1", note, stage=2, stop_signal="SIGINT"), noting("web-1", note), noting("boss", note, stage=0)
    here.start(*launches)
    up(here, "db-1", "web-1", "boss")
    assert here.client.shutdown(30.0) == {"db-1": "drained", "web-1": "drained", "boss": "drained"}
    assert note.read_text().splitlines() == ["boss SIGTERM", "web-1 SIGTERM", "db-1 SIGINT"]


def test_so_it_is_when_the_keeper_is_gone_or_is_another_one(here: House, tmp_path: Path) -> None:
    note = tmp_path / "note"
    here.start(noting("db-1", note, stage=2, stop_signal="SIGINT"), noting("db-2", note, stage=2, stop_signal="SIGINT"))
    up(here, "db-1", "db-2")
    here.kill_keeper()
    here.start()
    assert here.fact("db-1")["adopted"]
    assert here.client.ask("stop", node="db-1")["how"] == "drained"
    here.kill_keeper()
    assert stop_left(left_running(here.state)) == {"db-2": "drained"}
    assert sorted(note.read_text().splitlines()) == ["db-1 SIGINT", "db-2 SIGINT"]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="not run: acting as another user needs root")
def test_root_starts_it_as_another_user_again_and_again(here: House) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    launch = Launch("db-1", (str(shutil.which("sleep")), "600"), "/", user="nobody")
    here.start(launch)
    for _ in range(2):
        pid = until(lambda: here.fact("db-1")["pid"], "it runs")
        until(lambda pid=pid: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes(), "it is what we asked for")
        assert Path(f"/proc/{pid}").stat().st_uid == nobody
        here.kill_keeper()
        here.start()
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: here.fact("db-1")["pid"] not in (None, pid), "it is started again")


def test_a_user_that_does_not_exist_is_a_failure_in_one_sentence(here: House) -> None:
    if os.geteuid() != 0:
        pytest.skip("not run: only root starts processes of others")
    here.start(Launch("db-1", ("/bin/true",), "/", user="no-such-user-here"))
    until(lambda: here.fact("db-1")["state"] == "failed", "it has failed")
    assert "no-such-user-here" in here.fact("db-1")["report"]["error"]["message"]


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("child", child.pid, flush=True)
time.sleep(600)
"""


def test_what_a_killed_child_left_in_its_folder_is_ended_before_the_next_start(here: House, tmp_path: Path) -> None:
    owned, other = tmp_path / "owned", tmp_path / "other"
    owned.mkdir()
    other.mkdir()
    python = sys.executable
    here.start(
        Launch("db-1", (python, "-c", PARENT), str(owned), owns=str(owned)),
        Launch("db-2", (python, "-c", PARENT), str(other)),
    )
    left = {node: until(lambda node=node: child_of(here, node), f"{node} has a child") for node in ("db-1", "db-2")}
    try:
        for node in left:
            os.kill(here.fact(node)["pid"], signal.SIGKILL)
        until(lambda: all(here.fact(node)["restarts"] for node in left), "both are started again")
        assert not alive(left["db-1"])
        assert alive(left["db-2"])
        assert "killed 1 that db-1 left running" in here.log()
    finally:
        for pid in (left["db-2"], *children_in(here, "db-1"), *children_in(here, "db-2")):
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def child_of(here: House, node: str) -> int:
    return next(iter(children_in(here, node)), 0)


def children_in(here: House, node: str) -> list[int]:
    return [int(line.split()[1]) for line in here.log(node).splitlines() if line.startswith("child ")]


LEAVING = """
import subprocess, sys, time
print("child", subprocess.Popen([sys.argv[1], "600"], start_new_session=True).pid, flush=True)
time.sleep(600)
"""


def leaving(folder: Path) -> Launch:
    """A child that starts another program in its folder in each of its lives, and means it to go on."""
    folder.mkdir(exist_ok=True)
    sleep = str(shutil.which("sleep"))
    argv = (sys.executable, "-c", LEAVING, sleep)
    return Launch("balancer-1", argv, str(folder), owns=str(folder), leaves=sleep, grace_s=5.0)


def left_after_a_kill(here: House) -> list[int]:
    """The programs of two lives: the first life was killed, and its program went on."""
    first = until(lambda: child_of(here, "balancer-1"), "it has a child")
    os.kill(here.fact("balancer-1")["pid"], signal.SIGKILL)
    until(lambda: len(children_in(here, "balancer-1")) == 2, "its next life has one as well")
    assert alive(first)
    return children_in(here, "balancer-1")


def test_what_a_child_leaves_to_its_next_life_goes_on_until_the_child_is_not_wanted(
    here: House, tmp_path: Path
) -> None:
    elsewhere = subprocess.Popen([str(shutil.which("sleep")), "600"], cwd=tmp_path)
    try:
        here.start(leaving(tmp_path / "run"))
        left = left_after_a_kill(here)
        assert here.client.ask("stop", node="balancer-1")["how"] == "drained"
        assert not any(alive(pid) for pid in left)
        assert "killed 2 that balancer-1 left running" in here.log()
        assert elsewhere.poll() is None
    finally:
        elsewhere.kill()
        elsewhere.wait()


def test_it_ends_with_the_deployment_and_also_when_the_keeper_is_gone(here: House, tmp_path: Path) -> None:
    here.start(leaving(tmp_path / "run"))
    left = left_after_a_kill(here)
    here.kill_keeper()
    os.kill(left_running(here.state)[0].process.pid, signal.SIGKILL)
    until(lambda: len(left_running(here.state)) == 1, "only what it left still runs")
    assert stop_left(left_running(here.state)) == {"balancer-1": "killed"}
    assert not any(alive(pid) for pid in left)
    assert not left_running(here.state)


def test_a_keeper_that_starts_anew_ends_it_because_it_may_hold_the_public_socket(here: House, tmp_path: Path) -> None:
    here.start(leaving(tmp_path / "run"))
    left = left_after_a_kill(here)
    pid = here.fact("balancer-1")["pid"]
    here.kill_keeper()
    os.kill(pid, signal.SIGKILL)
    assert wait_until_gone(pid, 5.0)
    here.start()
    assert not any(alive(pid) for pid in left)
    assert not here.client.nodes()
