"""The shortener as it is shipped, with its probe: every workload passes while its web process is killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import Deployed, deployed
from driving import Drive, now_us

from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.prove.history import Status, Window
from tenfold.prove.probe.secret import probe_secret
from tenfold.prove.verdict import Outcome
from tenfold.prove.workloads import KNOWN

SHORTENER = Path(__file__).parents[2] / "services" / "shortener"
SPEC = '[service]\nname = "shortener"\napp = "shortener.app:app"\n[public]\nport = 0\n'
SECONDS = 5.0


@pytest.fixture
def shortener(tmp_path: Path) -> Iterator[Deployed]:
    with deployed(tmp_path / "svc") as made:
        shutil.copytree(SHORTENER, made.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".tenfold", "tests"))
        (made.root / "tenfold.toml").write_text(SPEC)
        yield made


def test_every_workload_holds_while_the_web_process_is_killed(shortener: Deployed):
    async def kill(drive: Drive) -> None:
        began = now_us()
        pid = await asyncio.to_thread(shortener.web_pid)
        os.kill(pid, signal.SIGKILL)
        while await asyncio.to_thread(shortener.web_pid) in (pid, None):
            await asyncio.sleep(0.05)
        drive.windows.append(Window("kill", "web-1", began, now_us(), True))

    address = shortener.up()["address"]
    secret = probe_secret(shortener.state, SYSTEM_RANDOMNESS)
    drive = Drive(address, secret, [make("run") for make in KNOWN.values()])
    asyncio.run(drive.run(SECONDS, kill, clients=2))
    found = {workload.name: workload.check(drive.recording)[0] for workload in drive.workloads}
    assert {name: verdict.verdict for name, verdict in found.items()} == dict.fromkeys(KNOWN, Outcome.HOLDS), found
    assert any(each.status is Status.UNKNOWN for each in drive.operations), "the kill met no load"
    assert min(verdict.n for verdict in found.values()) >= 20, {name: verdict.n for name, verdict in found.items()}
    print({name: verdict.n for name, verdict in found.items()})
