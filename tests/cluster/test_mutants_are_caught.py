"""The checkers are checked: each mutant of a real, running service is caught by the checker named for it, and the
service that is none passes all of them under the same load and the same faults."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import Deployed, deployed
from driving import Drive, now_us, put_clock_off

from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.prove.history import Status, Window
from tenfold.prove.mutants import MUTANTS, PERMISSION, VARIABLE
from tenfold.prove.probe.secret import probe_secret
from tenfold.prove.verdict import Outcome, Verdict
from tenfold.prove.workloads import KNOWN

APP = Path(__file__).parents[1] / "support" / "mutant_app.py"
SECONDS = 3.0
BACK_S = 1.0
SHOWS = {
    "reply-before-commit": {"lost"},
    "ignore-token": {"read-your-writes", "monotonic-reads"},
    "skip-invalidation": {"stale"},
    "rerun-unkeyed-post": {"too-high"},
    "ignore-clock-step": {"id-out-of-order", "id-twice"},
}
SPEC = '[service]\nname = "probed"\napp = "mutant_app:app"\n[public]\nport = 0\n'


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Deployed]:
    with deployed(tmp_path / "svc") as made:
        shutil.copy(APP, made.root)
        (made.root / "tenfold.toml").write_text(SPEC)
        yield made


def drive_of(service: Deployed, workloads: list[str]) -> Drive:
    secret = probe_secret(service.state, SYSTEM_RANDOMNESS)
    address = service.status()["address"]
    return Drive(address, secret, [KNOWN[name]("run") for name in workloads])


def verdicts(drive: Drive) -> dict[str, Verdict]:
    return {workload.name: workload.check(drive.recording)[0] for workload in drive.workloads}


async def kill(service: Deployed, drive: Drive) -> None:
    """Kills the web process, and waits until another one answers."""
    began = now_us()
    pid = await asyncio.to_thread(service.web_pid)
    os.kill(pid, signal.SIGKILL)
    while await asyncio.to_thread(service.web_pid) in (pid, None):
        await asyncio.sleep(0.05)
    drive.windows.append(Window("kill", "web-1", began, now_us(), True))


def lost(drive: Drive) -> bool:
    """Whether a request was never answered."""
    return any(each.status is not Status.OK and not each.http for each in drive.operations)


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mutant_is_caught_by_the_checker_named_for_it(
    service: Deployed, name: str, monkeypatch: pytest.MonkeyPatch
):
    async def fault(drive: Drive) -> None:
        if name == "reply-before-commit":
            for _ in range(4):  # one kill may come when everything that was acknowledged is on the disk
                await kill(service, drive)
        if name == "ignore-clock-step":
            await put_clock_off(drive, -BACK_S)

    monkeypatch.setenv(VARIABLE, name)
    monkeypatch.setenv(PERMISSION, "1")
    service.up()
    assert f"this process is the mutant {name}" in service.status()["nodes"][0]["reason"]
    mutant = MUTANTS[name]
    drive = drive_of(service, [mutant.workload])
    asyncio.run(drive.run(SECONDS * (4 if name == "reply-before-commit" else 1), fault))
    verdict = verdicts(drive)[mutant.workload]
    assert (verdict.checker, verdict.verdict) == (mutant.checker, Outcome.BROKEN), verdict
    lines = (service.state / "logs" / "web-1.log").read_text().splitlines()
    warnings = [each for each in map(json.loads, lines) if each.get("logger") == "tenfold.mutant"]
    assert warnings, "a mutant says so in its log"
    assert all(each["level"] == "critical" for each in warnings)
    assert all(each["message"].startswith(f"this process is the mutant {name}") for each in warnings)
    assert verdict.anomalies.keys() & SHOWS[name], verdict.anomalies


def test_the_service_that_is_no_mutant_passes_under_the_same_faults(service: Deployed):
    async def faults(drive: Drive) -> None:
        await put_clock_off(drive, -2 * BACK_S)
        await asyncio.sleep(1.5 * BACK_S)
        for _ in range(5):  # one may come in a moment without a request
            await kill(service, drive)
            if lost(drive):
                break

    service.up()
    assert service.status()["nodes"][0]["reason"] == ""
    drive = drive_of(service, [name for name in KNOWN if name != "shortener"])
    asyncio.run(drive.run(2 * SECONDS, faults, clients=2))
    found = verdicts(drive)
    assert {name: verdict.verdict for name, verdict in found.items()} == dict.fromkeys(found, Outcome.HOLDS), found
    snowflakes = [each for each in drive.recording.of("ids") if each.key == "snowflake"]
    assert any(each.status is Status.FAIL and each.http == 503 for each in snowflakes), "the step back had no effect"
    assert lost(drive), "the kills met no load"


def test_nobody_becomes_a_mutant_without_permission(service: Deployed, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(VARIABLE, "ignore-token")
    said = service.tenfold("up")
    assert said.code != 0
    assert "TENFOLD_TESTING=1 is not set" in said.err
