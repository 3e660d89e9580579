"""Climbing to PostgreSQL and back under load, judged by the prover; movers, servers and processes die on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployed import Deployed, deployed
from postgres import needs_postgres

SHORTENER = Path(__file__).parents[2] / "services" / "shortener"
SPEC = '[service]\nname = "shortener"\napp = "shortener.app:app"\n[public]\nport = 0\n'
STAGES = (
    "preflight", "server", "schema", "capture", "copy", "replay", "constraints", "verify", "return_path", "connect",
    "hold", "fence", "open", "flip", "settle",
)  # fmt: skip
STAGES_BACK = ("preflight", "prepare", "catch_up", "verify", "connect", "hold", "fence", "open", "flip", "settle")


pytestmark = needs_postgres


@pytest.fixture
def shortener(tmp_path: Path) -> Iterator[Deployed]:
    with deployed(tmp_path / "svc") as made:
        shutil.copytree(SHORTENER, made.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".tenfold", "tests"))
        (made.root / "tenfold.toml").write_text(SPEC)
        made.up()
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


def move(made: Deployed, *words: str, limit_s: float = 300) -> dict[str, Any]:
    process = made.start(*words, "--yes", "--json")
    out, err = process.communicate(timeout=limit_s)
    assert process.returncode == 0, (out, err)
    facts: dict[str, Any] = json.loads(out)
    return facts


def leftovers(made: Deployed) -> list[str]:
    """What a move leaves in the SQLite file when it is not cleared up."""
    with sqlite3.connect(made.state / "data" / "shortener.db") as connection:
        rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger' OR name = 'tf_log'").fetchall()
    connection.close()
    return [str(row[0]) for row in rows]


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


def test_a_killed_database_is_waited_for(shortener: Deployed) -> None:
    move(shortener, "climb", "2")
    load = shortener.start("load", "--rate", "60", "--seconds", "12", "--json")
    time.sleep(3)  # not for a condition: so that there is load before the kill
    said = shortener.tenfold("break", "db-1", "--yes")
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
def test_postgres_is_killed_and_paused_under_load(shortener: Deployed) -> None:
    move(shortener, "climb", "2")
    words = ("--seconds", "240", "--rate", "150", "--fault", "kill database 20", "--no-faults")
    verdicts = proved(shortener, *words, limit_s=900)
    assert verdicts["P4"]["verdict"] == "holds"
    print(json.dumps({name: each["n"] for name, each in verdicts.items()}))


@pytest.mark.long
@pytest.mark.parametrize(("way", "stages"), [("climb", STAGES), ("descend", STAGES_BACK)])
def test_a_mover_killed_in_each_stage_converges(shortener: Deployed, way: str, stages: tuple[str, ...]) -> None:
    """The mover gets SIGKILL once in each stage, under load; the load sees nothing, and nothing is left behind."""
    load = shortener.start("load", "--rate", "80", "--seconds", "900", "--json")
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
    seen_before = lines(made)

    def strike() -> None:
        until = time.monotonic() + 120
        while time.monotonic() < until and begun.poll() is None:
            for line in lines(made)[len(seen_before) :]:
                if line["kind"].endswith("intent") and line["data"].get("stage") == stage:
                    with_pid(made, hit, stage)
                    return
            time.sleep(0.0005)

    striker = threading.Thread(target=strike)
    striker.start()
    out, err = begun.communicate(timeout=300)
    striker.join()
    assert begun.returncode == 0, (stage, out, err)
    return hit


def with_pid(made: Deployed, hit: list[str], stage: str) -> None:
    record = json.loads((made.state / "run" / "mover.json").read_text())
    try:
        os.kill(int(record["process"]["pid"]), signal.SIGKILL)
    except ProcessLookupError:
        return
    hit.append(stage)


def lines(made: Deployed) -> list[dict[str, Any]]:
    path = made.state / "moves.jsonl"
    if not path.exists():
        return []
    data = path.read_bytes()
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]
