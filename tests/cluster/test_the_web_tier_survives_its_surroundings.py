"""A disk that is full while a move writes its journal, a private port that somebody has: the old tier serves on."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import Deployed
from haproxy import needs_haproxy
from tier import Clients, port_of, state_of, tier, until_stage, write_code

pytestmark = needs_haproxy
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="not run: mounting a small file system needs root")
DOOR = ("climb", "--only", "load-balancer", "--yes")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Deployed]:
    with tier(tmp_path / "svc") as made:
        yield made


@pytest.fixture
def on_a_small_disk(tmp_path: Path) -> Iterator[Deployed]:
    state = tmp_path / "svc" / ".tenfold"
    state.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(state)], check=True)
    try:
        with tier(tmp_path / "svc") as made:
            yield made
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


@contextlib.contextmanager
def full(made: Deployed) -> Iterator[None]:
    """Not a byte is left on the disk of the state."""
    filler = made.state / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    try:
        yield
    finally:
        filler.unlink()


@as_root
def test_a_disk_that_is_full_before_a_climb_changes_nothing(on_a_small_disk: Deployed) -> None:
    made = on_a_small_disk
    with Clients(port_of(made), writes=False) as clients:
        with full(made):
            said = made.tenfold(*DOOR)
            assert said.code == 1
            assert "No space left on device" in said.err
            assert "Traceback" not in said.err
        assert made.status()["public"]["door"] == "web"
        assert made.tenfold(*DOOR).code == 0
    assert clients.failed == []
    assert made.status()["public"]["door"] == "balancer"


@as_root
@pytest.mark.parametrize("stage", ["start", "settle"])
def test_a_disk_that_fills_up_in_a_deploy_leaves_a_tier_that_serves(on_a_small_disk: Deployed, stage: str) -> None:
    made = on_a_small_disk
    assert made.tenfold(*DOOR).code == 0
    with Clients(port_of(made), writes=False) as clients:
        write_code(made, "two")
        deploying = made.start("deploy", "--yes")
        until_stage(made, stage)
        with full(made), contextlib.suppress(subprocess.TimeoutExpired):
            deploying.communicate(timeout=8)
        out, err = deploying.communicate(timeout=120)
        assert "Traceback" not in err
        assert not state_of(made).open, (out, err)
        made.tenfold("deploy", "--yes")
    assert clients.failed == []
    assert {node["version"] for node in made.status()["nodes"]} != {"v1"}
    assert made.tenfold("plan", "--json").facts()["empty"] is True


def test_a_private_port_that_another_program_has_taken_is_not_used(small: Deployed) -> None:
    assert made_door(small) == 0
    assert small.tenfold("scale", "web=3", "--yes").code == 0
    [address] = [node["address"] for node in small.status()["nodes"] if node["node"] == "web-3"]
    assert small.tenfold("scale", "web=2", "--yes").code == 0
    with socket.socket() as other, Clients(port_of(small)) as clients:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(address.rpartition(":")[2])))
        other.listen()
        said = small.tenfold("scale", "web=3", "--yes")
        assert said.code == 0, said
        [now] = [node["address"] for node in small.status()["nodes"] if node["node"] == "web-3"]
    assert now != address
    assert clients.failed == []
    assert json.loads((small.state / "run" / "ports.json").read_text())["web-3"] == int(now.rpartition(":")[2])


def made_door(made: Deployed) -> int:
    """Climbs; the exit code."""
    return made.tenfold(*DOOR).code
