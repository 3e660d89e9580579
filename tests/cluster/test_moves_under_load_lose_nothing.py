"""Climbing to PostgreSQL and back under load, judged by the prover; movers, servers and processes die on the way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployed import Deployed
from postgres import needs_postgres
from shortened import LOAD, journal, leftovers, move, shortened, until_stage

STAGES = (
    "preflight", "server", "schema", "capture", "copy", "replay", "constraints", "verify", "return_path", "connect",
    "hold", "fence", "open", "flip", "settle",
)  # fmt: skip
STAGES_BACK = ("preflight", "prepare", "catch_up", "verify", "connect", "hold", "fence", "open", "flip", "settle")


pytestmark = needs_postgres


@pytest.fixture
def shortener(tmp_path: Path) -> Iterator[Deployed]:
    with shortened(tmp_path / "svc") as made:
        yield made


def proved(made: Deployed, *words: str, limit_s: float = 600) -> dict[str, dict[str, Any]]:
    """Runs the prover; its verdicts by id. Nothing may be broken or vacuous."""
    process = made.start("prove", "--json", *words)
    out, err = process.communicate(timeout=limit_s)
    assert process.returncode == 0, (told(out), err)
    return {verdict["id"]: verdict for verdict in json.loads(out)["verdicts"]}


def told(out: str) -> list[str]:
    try:
        return [f"{each['id']} {each['verdict']}: {each['detail']}" for each in json.loads(out)["verdicts"]]
    except ValueError:
        return [out]


def test_climb_and_descend_under_load_keep_every_promise(shortener: Deployed) -> None:
    verdicts = proved(shortener, "--seconds", "40", "--rate", "80", "--moves", "1", "--no-faults", "--seed", "7")
    assert {name: each["verdict"] for name, each in verdicts.items()} == dict.fromkeys(
        ("P1", "P8", "P9", "P10"), "holds"
    )
    parts = {part["workload"]: part for part in verdicts["P1"]["parts"]}
    assert parts["requests during moves"]["figures"]["windows"] == 2
    status = shortener.status()
    assert (status["step"], status["engines"], status["database"]["way_back"]) == (1, [], False)
    assert leftovers(shortener) == []


@pytest.mark.parametrize("how", ["kill", "restart"])
def test_a_database_that_is_away_is_waited_for(shortener: Deployed, how: str) -> None:
    move(shortener, "climb", "2")
    load = shortener.start(*LOAD, "--rate", "60", "--seconds", "12", "--json")
    time.sleep(3)  # not for a condition: so that there is load before the kill
    said = shortener.tenfold("break", "db-1", "--how", how, "--yes")
    assert said.code == 0, said
    out, err = load.communicate(timeout=60)
    assert load.returncode == 0, err
    assert set(json.loads(out)["outcomes"]) == {"ok"}, (out, err)


@pytest.mark.long
def test_moves_with_killed_movers_keep_every_promise(shortener: Deployed) -> None:
    verdicts = proved(shortener, "--seconds", "420", "--rate", "150", "--moves", "10", "--no-faults", limit_s=1200)
    assert {name: each["verdict"] for name, each in verdicts.items()} == dict.fromkeys(
        ("P1", "P2", "P8", "P9", "P10"), "holds"
    )
    print(json.dumps({name: each["n"] for name, each in verdicts.items()}))


@pytest.mark.long
def test_postgres_is_killed_and_restarted_under_load(shortener: Deployed) -> None:
    move(shortener, "climb", "2")
    words = (
        "--seconds",
        "240",
        "--rate",
        "150",
        "--fault",
        "kill database 20",
        "--fault",
        "restart database 5",
        "--no-faults",
    )
    verdicts = proved(shortener, *words, limit_s=900)
    assert verdicts["P4"]["verdict"] == "holds"
    print(json.dumps({name: each["n"] for name, each in verdicts.items()}))


@pytest.mark.long
@pytest.mark.parametrize(("way", "stages"), [("climb", STAGES), ("descend", STAGES_BACK)])
def test_a_mover_killed_in_each_stage_converges(shortener: Deployed, way: str, stages: tuple[str, ...]) -> None:
    """The mover gets SIGKILL once in each stage, under load; the load sees nothing, and nothing is left behind."""
    load = shortener.start(*LOAD, "--rate", "80", "--seconds", "900", "--json")
    killed: list[str] = []
    try:
        for stage in stages:
            if way == "descend":
                move(shortener, "climb", "2")
            killed += killed_in(shortener, way, stage)
            assert shortener.status()["step"] == (2 if way == "climb" else 1)
            if way == "climb":
                move(shortener, "descend", "1")
            assert leftovers(shortener) == [], stage
    finally:
        load.send_signal(signal.SIGINT)
    out, err = load.communicate(timeout=60)
    assert set(json.loads(out)["outcomes"]) == {"ok"}, (out, err)
    assert len(killed) >= len(stages) - 3, f"very short stages may be over before the blow: only {killed} were hit"
    print(way, "killed in", killed)


def killed_in(made: Deployed, way: str, stage: str) -> list[str]:
    """Begins a move, kills its mover when its journal says that the stage has begun; the stage, if it was hit."""
    begun = made.start(way, "2" if way == "climb" else "1", "--yes", "--json")
    hit: list[str] = []
    before = len(journal(made))

    def strike() -> None:
        with contextlib.suppress(AssertionError):
            until_stage(made, stage, after=before, limit_s=60)
            record = json.loads((made.state / "run" / "mover.json").read_text())
            os.kill(int(record["process"]["pid"]), signal.SIGKILL)
            hit.append(stage)

    striker = threading.Thread(target=strike)
    striker.start()
    out, err = begun.communicate(timeout=300)
    striker.join()
    assert begun.returncode == 0, (stage, out, err)
    return hit
