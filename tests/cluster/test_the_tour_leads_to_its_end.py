"""`tenfold tour` as a person runs it: real processes, small machines, and nothing left but the report."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployed import COMMAND
from haproxy import PROGRAM

from tenfold.tour import stage
from tenfold.tour.caps import possible

ROOT = os.geteuid() == 0
GROUPS = (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup"))


class Toured:
    """One tour, and where it happens."""

    def __init__(self, folder: Path, *words: str, before: tuple[str, ...] = ()) -> None:
        self.out, self.temporary = folder / "out", folder / "tmp"
        self.temporary.mkdir()
        self.log = folder / "said"
        command = [*before, *COMMAND, "tour", "--out", str(self.out), "--lang", "en", *words]
        with self.log.open("wb") as log:
            environment = {**os.environ, "TMPDIR": str(self.temporary)}
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8")

    def await_said(self, text: str, limit_s: float) -> None:
        until = time.monotonic() + limit_s
        while text not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < until, self.said
            time.sleep(0.1)

    def ended(self, limit_s: float) -> int:
        return self.process.wait(limit_s)

    def data(self) -> Any:
        return json.loads((self.out / "report.json").read_text())

    def left(self) -> list[str]:
        """What is there that should not be: folders, processes, groups."""
        mark = os.fsencode(self.temporary)
        found = [str(path) for path in self.temporary.iterdir()]
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes():
                    found.append(f"process {folder.name}")
        pattern = f"tenfold-{stage.MARK}-{self.process.pid}-*"
        return found + [str(group) for home in GROUPS for group in home.glob(pattern)]


@pytest.fixture
def tours(tmp_path: Path) -> Iterator[list[Toured]]:
    made: list[Toured] = []
    yield made
    for each in made:
        if each.process.poll() is None:
            each.process.terminate()
            each.process.wait(60)


def test_ctrl_c_in_the_middle_stops_everything_and_leaves_what_was_seen(tmp_path: Path, tours: list[Toured]) -> None:
    tours.append(Toured(tmp_path, "--yes", "--seconds-per-step", "8", "--to", "2"))
    (made,) = tours
    made.await_said("STEP 2", 120)
    made.await_said("/s   p99", 5)
    made.await_said("it took", 120)  # the climb is over, and its load goes on
    made.process.send_signal(signal.SIGINT)
    assert made.ended(60) == 130, made.said
    assert made.left() == []
    told = made.data()
    assert told["partial"] == "it was ended by a person"
    assert [stop["step"] for stop in told["stops"]] == [1]
    assert told["stops"][0]["trials"]
    assert ("web" in told["parts"]) == possible()
    assert "Promised: no request fails" in made.said
    assert "Seen: 0 of" in made.said
    assert "The tour was ended before its end." in (made.out / "report.html").read_text("utf-8")


@pytest.mark.long
@pytest.mark.root
@pytest.mark.skipif(not possible(), reason="not run: needs root and control groups")
def test_a_whole_tour_grows_without_a_failed_request(tmp_path: Path, tours: list[Toured]) -> None:
    tours.append(Toured(tmp_path, "--yes", "--seconds-per-step", "45"))
    (made,) = tours
    assert made.ended(900) == 0, made.said
    assert made.left() == []
    stops = made.data()["stops"]
    assert [(stop["step"], stop["wide"]) for stop in stops] == [(1, False), (2, False), (3, False), (3, True)]
    assert all(stop["rate"] > 0 for stop in stops)
    assert [stop["climb"]["load"]["sent"] - stop["climb"]["load"]["ok"] for stop in stops[1:]] == [0, 0, 0]
    assert stops[3]["rate"] > stops[2]["rate"] > stops[1]["rate"], "more web servers carry more"
    assert all(stop["advice"]["verdict"] != "too-little" for stop in stops)
    assert made.out.joinpath("report.html").stat().st_size < 100_000


@pytest.mark.long
@pytest.mark.root
@pytest.mark.skipif(not ROOT or shutil.which("unshare") is None or PROGRAM is None, reason="not run: needs root")
def test_a_step_without_its_program_is_told_loudly_as_not_run(tmp_path: Path, tours: list[Toured]) -> None:
    hidden = ("unshare", "--mount", "sh", "-c", f'mount --bind /dev/null {PROGRAM} && exec "$0" "$@"')
    tours.append(Toured(tmp_path, "--yes", "--seconds-per-step", "8", before=hidden))
    (made,) = tours
    assert made.ended(300) == 1, made.said
    assert made.left() == []
    assert "NOT RUN: step 3 (load balancer). HAProxy is not installed." in made.said
    told = made.data()
    assert told["partial"] == "step 3 could not be taken"
    assert [bool(stop["not_run"]) for stop in told["stops"]] == [False, False, True]


@pytest.mark.long
def test_a_tour_that_was_killed_is_taken_down_by_the_next(tmp_path: Path, tours: list[Toured]) -> None:
    killed = Toured(tmp_path, "--yes", "--seconds-per-step", "8")
    tours.append(killed)
    killed.await_said("/s   p99", 60)
    killed.process.kill()
    killed.ended(10)
    assert len(killed.left()) > 3, "the deployment lives on"
    environment = {**os.environ, "TMPDIR": str(killed.temporary)}
    command = [*COMMAND, "tour", "--yes", "--seconds-per-step", "8", "--to", "1", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert killed.left() == []
