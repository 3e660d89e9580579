"""Faults on real processes: the undo list is on disk before the fault, and heal works from it alone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.errors import UsageError
from tenfold.hosts.identity import identity_of
from tenfold.prove import faults as module
from tenfold.prove.faults import Faults, NodeFacts, Undo, UndoList, select

CODE = "import sys\nprint('on', flush=True)\nsys.stdin.read()"


class Fake:
    """A deployment of one child process that `bring_up` starts."""

    def __init__(self, state: Path) -> None:
        self.state = state
        (state / "run").mkdir(parents=True)
        self.children: list[subprocess.Popen[bytes]] = []
        self.bring_up()

    def bring_up(self) -> None:
        if not self.children or self.children[-1].poll() is not None:
            pipe = subprocess.PIPE
            self.children.append(subprocess.Popen([sys.executable, "-c", CODE], stdin=pipe, stdout=pipe))
            assert self.children[-1].stdout is not None
            self.children[-1].stdout.readline()

    def nodes(self) -> list[NodeFacts]:
        child = self.children[-1]
        if child.poll() is not None:
            self.bring_up()  # as a keeper does
        return [NodeFacts("web-1", "web", self.children[-1].pid, True)]

    def end(self) -> None:
        for child in self.children:
            child.kill()
            child.communicate()


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    made = Fake(tmp_path / "state")
    yield made
    made.end()


def test_a_kill_waits_until_another_process_is_there(fake: Fake) -> None:
    faults = Faults(fake, SYSTEM_CLOCK)
    first = fake.children[-1].pid
    made = asyncio.run(faults.make("kill", "web"))
    assert made.effect
    assert str(first) in made.detail
    assert fake.nodes()[0].pid != first
    assert faults.undo_list.read() == []


def test_a_pause_stops_the_process_and_lets_it_go_on(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults(fake, SYSTEM_CLOCK)
    seen = []
    real = asyncio.sleep

    async def watching(seconds: float) -> None:
        if seconds == 0.2:
            seen.append((module._state(fake.children[-1].pid), faults.undo_list.read()))
        await real(seconds)

    monkeypatch.setattr(module.asyncio, "sleep", watching)
    made = asyncio.run(faults.make("pause", "web-1", 0.2))
    assert made.effect
    state, undo = seen[0]
    assert state == "T"
    assert [entry.kind for entry in undo] == ["continue"], "the way back was on disk while the fault was in force"
    assert module._state(fake.children[-1].pid) != "T"
    assert faults.undo_list.read() == []


def test_heal_continues_what_a_killed_prover_left_stopped(fake: Fake) -> None:
    pid = fake.children[-1].pid
    identity = identity_of(pid)
    assert identity is not None
    UndoList(fake.state).add(Undo("continue", "web-1", pid, identity.start_ticks, identity.boot))
    subprocess.run(["kill", "-STOP", str(pid)], check=True)
    assert asyncio.run(Faults(fake, SYSTEM_CLOCK).heal()) == [f"web-1: pid {pid} continued"]
    assert module._state(pid) != "T"
    assert asyncio.run(Faults(fake, SYSTEM_CLOCK).heal()) == []


def test_heal_leaves_a_stranger_with_a_recycled_pid_alone(fake: Fake) -> None:
    pid = fake.children[-1].pid
    UndoList(fake.state).add(Undo("continue", "web-1", pid, 1, "another boot"))
    assert asyncio.run(Faults(fake, SYSTEM_CLOCK).heal()) == [f"web-1: pid {pid} is gone, nothing to continue"]


def test_heal_brings_up_what_was_killed(fake: Fake) -> None:
    UndoList(fake.state).add(Undo("up", "web-1"))
    fake.children[-1].kill()
    fake.children[-1].communicate()
    assert asyncio.run(Faults(fake, SYSTEM_CLOCK).heal()) == ["web-1: brought up"]
    assert fake.children[-1].poll() is None


def test_a_damaged_undo_list_is_named(fake: Fake) -> None:
    undo_list = UndoList(fake.state)
    undo_list.path.write_text("{")
    with pytest.raises(UsageError, match="undo"):
        undo_list.read()


def test_an_unknown_target_or_fault_names_what_there_is(fake: Fake) -> None:
    with pytest.raises(UsageError, match=r"web-7.*Running here: web, web-1"):
        select(fake.nodes(), "web-7")
    with pytest.raises(UsageError, match=r"meteor.*kill, pause"):
        asyncio.run(Faults(fake, SYSTEM_CLOCK).make("meteor", "web"))


def test_a_disk_that_is_shared_is_never_filled(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALL_DISK", 0)
    with pytest.raises(UsageError, match="shared disk"):
        asyncio.run(Faults(fake, SYSTEM_CLOCK).make("disk-full", "web", 0.1))
    assert not (fake.state / module.FILLER).exists()
    assert Faults(fake, SYSTEM_CLOCK).undo_list.read() == []


def test_a_clock_without_a_probe_cannot_be_stepped_and_that_is_no_effect(fake: Fake) -> None:
    made = asyncio.run(Faults(fake, SYSTEM_CLOCK).make("clock-step", "web", 0.01))
    assert not made.effect
