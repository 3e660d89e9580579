"""Who is capped, and what the kernel makes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import style_law

from tenfold.tour import caps as capping
from tenfold.tour.capping import PARTS, small_machines
from tenfold.tour.caps import Caps, capped, possible, sweep

BUSY = (sys.executable, "-c", "while True: pass")
needs_groups = pytest.mark.skipif(not possible(), reason="not run: needs root and control groups")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def groups(mark: str) -> list[Path]:
    home = capping._V1 if capping._is_first() else capping._V2
    return sorted(home.glob(f"tenfold-{mark}-*"))


def used_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def test_nodes_that_serve_are_capped_once_they_are_ready_and_nobody_else() -> None:
    def child(node: str, state: str = "running", pid: int | None = 7) -> dict[str, object]:
        return {"node": node, "state": state, "pid": pid}

    named = ("web-1", "web-12", "balancer-2", "db-1", "worker-1", "controller", "dashboard", "mover", "haproxy")
    children = [*map(child, named), child("web-3", "starting"), child("web-4", "waiting", None)]
    assert small_machines(children) == [
        ("web-1", 7, PARTS["web"]),
        ("web-12", 7, PARTS["web"]),
        ("balancer-2", 7, PARTS["balancer"]),
        ("db-1", 7, PARTS["database"]),
        ("worker-1", 7, PARTS["worker"]),
    ]


def test_the_page_about_the_tour_says_the_parts_that_nodes_get() -> None:
    page = (style_law.ROOT / "docs" / "tour.md").read_text("utf-8")
    for role, part in PARTS.items():
        names = {"database": "database server", "web": "web server, worker", "worker": "web server, worker"}
        assert f"| {names.get(role, role)} | {part * 100:g} % |" in page


@pytest.mark.root
@needs_groups
def test_a_process_and_what_it_starts_get_a_part_of_a_core_and_nothing_is_left() -> None:
    code = f"import subprocess, sys; p = subprocess.Popen({list(BUSY)!r}); print(p.pid, flush=True); p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", "input(); " + code], stdin=-1, stdout=-1, text=True)
    assert parent.stdin is not None
    assert parent.stdout is not None
    with Caps("test") as caps:
        caps.cap("web-1", 0.1, (parent.pid,))
        parent.stdin.write("\n")
        parent.stdin.flush()
        child = int(parent.stdout.readline())
        began, before = time.monotonic(), used_s(child)
        time.sleep(1.0)
        share = (used_s(child) - before) / (time.monotonic() - began)
        assert share <= 0.14, "a tenth of a core, and a period at each end"
        caps.cap("web-1", 0.1, (parent.pid, 2**22 + 1))  # one that is gone is left out
        assert len(groups("test")) == 1
    assert groups("test") == []
    assert "tenfold" not in Path(f"/proc/{child}/cgroup").read_text(), "who still runs is let out"
    for pid in (child, parent.pid):
        os.kill(pid, signal.SIGKILL)
    parent.communicate()


@pytest.mark.root
@needs_groups
def test_groups_of_somebody_who_was_killed_are_removed_and_those_of_the_living_stay() -> None:
    code = "from tenfold.tour.caps import Caps; import os, signal; c = Caps('swept'); c.cap('a-1', 0.5, ()); "
    done = subprocess.run([sys.executable, "-c", code + "os.kill(os.getpid(), signal.SIGKILL)"], check=False)
    assert done.returncode == -signal.SIGKILL
    with Caps("swept") as caps:
        caps.cap("mine", 0.5, ())
        assert len(groups("swept")) == 2
        sweep("swept")
        assert [group.name for group in groups("swept")] == [f"tenfold-swept-{os.getpid()}-mine"]
    assert groups("swept") == []


@pytest.mark.root
@needs_groups
def test_a_small_part_gets_a_longer_period_because_the_kernel_takes_no_smaller_quota() -> None:
    with subprocess.Popen(BUSY) as busy:
        with capped("tiny", busy.pid, 0.01):
            assert len(groups("bench")) >= 1
        busy.kill()


def test_an_ordinary_user_is_told_that_it_is_not_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not possible()


def test_a_machine_that_refuses_groups_is_told_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(capping, "_V1", tmp_path / "none")
    monkeypatch.setattr(capping, "_V2", tmp_path / "none")
    assert not possible()
