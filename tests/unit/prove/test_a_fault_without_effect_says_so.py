"""A fault that met nobody, or whose victim died in it, says that it had no effect: the run is vacuous then."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.prove.faults import Faults, NodeFacts


class Place:
    """A deployment of one process that is not looked after by anybody."""

    def __init__(self, state: Path, pid: int) -> None:
        self.state = state
        self._pid = pid
        self.brought_up = 0

    def nodes(self) -> list[NodeFacts]:
        return [NodeFacts("web-1", "web", self._pid, True)]

    def bring_up(self) -> None:
        self.brought_up += 1


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["/bin/sleep", "60"])
    yield process
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


@pytest.fixture
def place(tmp_path: Path, victim: subprocess.Popen[bytes]) -> Place:
    (tmp_path / "run").mkdir()
    return Place(tmp_path, victim.pid)


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


async def until_stopped(pid: int) -> None:
    async with asyncio.timeout(5):
        while state(pid) != "T":
            await asyncio.sleep(0.01)


def test_a_pause_of_a_process_that_dies_in_it_had_no_effect(place: Place, victim: subprocess.Popen[bytes]) -> None:
    async def run() -> bool:
        made = asyncio.create_task(Faults(place, SYSTEM_CLOCK).make("pause", "web-1", 0.3))
        await until_stopped(victim.pid)
        victim.kill()
        await asyncio.to_thread(victim.wait)
        return (await made).effect

    assert asyncio.run(run()) is False


def test_a_process_that_is_gone_is_no_victim(place: Place, victim: subprocess.Popen[bytes]) -> None:
    victim.kill()
    victim.wait()
    assert asyncio.run(Faults(place, SYSTEM_CLOCK).make("kill", "web", 0)).effect is False
