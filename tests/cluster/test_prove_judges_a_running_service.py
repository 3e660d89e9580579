"""The prover through the real command line, against the shortener and against a service without the probe."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import Deployed, deployed

from tenfold.prove.faults import UndoList
from tenfold.prove.history import read_history
from tenfold.prove.workloads import KNOWN

SHORTENER = Path(__file__).parents[2] / "services" / "shortener"
SPEC = '[service]\nname = "shortener"\napp = "shortener.app:app"\n[public]\nport = 0\n'
LONG_S = 1500


def shortener_in(made: Deployed) -> None:
    shutil.copytree(SHORTENER, made.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".tenfold", "tests"))
    (made.root / "tenfold.toml").write_text(SPEC)


@pytest.fixture
def shortener(tmp_path: Path) -> Iterator[Deployed]:
    with deployed(tmp_path / "svc") as made:
        shortener_in(made)
        yield made


def prove(made: Deployed, *words: str, limit_s: float = 100) -> tuple[int, str, str]:
    process = made.start("prove", *words)
    out, err = process.communicate(timeout=limit_s)
    return process.returncode, out, err


def test_a_short_run_with_kills_and_a_pause_holds_and_can_be_judged_again(shortener: Deployed) -> None:
    shortener.up()
    code, out, err = prove(shortener, "--quick", "--seconds", "16", "--rate", "120", "--seed", "3", "--json")
    assert code == 0, (out, err)
    told = json.loads(out)
    assert told["seed"] == 3
    assert "seed 3" in err.splitlines()[0], "the seed is the first that is printed"
    assert {each["id"]: each["verdict"] for each in told["verdicts"]} == dict.fromkeys(
        ("P1", "P6", "P8", "P9", "P10"), "holds"
    )
    assert all(each["n"] > 0 for each in told["verdicts"])
    parts: dict[str, int] = {}
    for part in (part for each in told["verdicts"] for part in each.get("parts", [])):
        parts[part["workload"]] = max(part["n"], parts.get(part["workload"], 0))
    assert set(KNOWN) <= set(parts), "every workload was judged"
    assert all(parts[name] >= 20 for name in KNOWN), parts
    report = Path(told["report"])
    assert "kill" in report.read_text()
    history = report.with_name("history.jsonl")
    recording = read_history(history)
    kinds = sorted(window.kind for window in recording.windows)
    assert kinds == ["clock-step", "kill", "kill", "kill", "kill", "pause"]
    assert all(window.effect for window in recording.windows)
    assert max(operation.latency_us for operation in recording.operations) > 200_000, "some were held"

    again, out, _ = prove(shortener, "--history", str(history), "--json")
    assert again == 0
    judged = {each["id"]: each["verdict"] for each in json.loads(out)["verdicts"]}
    assert judged == dict.fromkeys(("P1", "P6", "P8", "P9"), "holds")

    damaged = history.with_name("damaged.jsonl")
    lines = history.read_bytes().splitlines(keepends=True)
    damaged.write_bytes(b"".join([*lines[:5], b"{oops\n", *lines[5:]]))
    code, out, err = prove(shortener, "--history", str(damaged))
    assert code == 1
    assert "damaged in line 6" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_undoes_the_fault_and_marks_the_report(shortener: Deployed, number: signal.Signals) -> None:
    shortener.up()
    pid = shortener.web_pid()
    process = shortener.start("prove", "--quick", "--seconds", "60", "--seed", "5", "--out", str(shortener.root / "o"))
    undo_list = UndoList(shortener.state)
    deadline = time.monotonic() + 60
    while not undo_list.read() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "Interrupted" in err
    assert undo_list.read() == []
    assert shortener.status()["state"] == "running"
    report = next((shortener.root / "o").glob("*/report.html"))
    assert "partial" in report.read_text().lower()
    assert pid


def test_a_target_that_is_down_is_said_at_once(shortener: Deployed) -> None:
    code, _, err = prove(shortener)
    assert code == 3
    assert "Nothing runs here" in err
    assert "tenfold up" in err


def test_a_service_without_the_probe_is_told_the_line_to_add(tmp_path: Path) -> None:
    with deployed(tmp_path / "svc") as small:
        small.up()
        code, _, err = prove(small, "--quick")
        assert code == 1
        assert "Probe(tf, app)" in err


def test_break_and_heal_work_on_a_running_service(shortener: Deployed) -> None:
    shortener.up()
    pid = shortener.web_pid()
    said = shortener.tenfold("break", "web", "--yes")
    assert said.code == 0, said
    assert str(pid) in said.out
    assert shortener.web_pid() != pid
    unknown = shortener.tenfold("break", "balancer", "--yes")
    assert unknown.code == 1
    assert "web-1" in unknown.err

    stopped = shortener.start("break", "web", "--how", "pause", "--for", "60s", "--yes")
    undo_list = UndoList(shortener.state)
    deadline = time.monotonic() + 20
    while not undo_list.read() and time.monotonic() < deadline:
        time.sleep(0.01)
    stopped.kill()
    stopped.communicate()
    assert undo_list.read(), "the way back survives the prover"
    healed = shortener.tenfold("heal")
    assert healed.code == 0
    assert "continued" in healed.out
    assert shortener.tenfold("heal").out.startswith("Nothing is broken")
    assert shortener.status()["state"] == "running"


def test_load_says_what_it_reached(shortener: Deployed) -> None:
    shortener.up()
    said = shortener.tenfold("load", "--rate", "100", "--seconds", "2", "--json")
    assert said.code == 0, said
    figures = said.facts()
    assert figures["outcomes"] == {"ok": 200}
    assert 0 < figures["ms"]["p50"] <= figures["ms"]["p99.9"]
    fast = shortener.tenfold("load", "--rate", "30000", "--seconds", "1")
    assert "This machine sent" in fast.err


@pytest.mark.long
def test_the_long_proof_holds(tmp_path: Path) -> None:
    """Web killed 100 times, keeper 10 times, web paused 5 x 10 s, clock steps; as root also a full disk."""
    root = tmp_path / "svc"
    root.mkdir()
    as_root = os.geteuid() == 0
    if as_root:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(root)], check=True)
    try:
        with deployed(root) as made:
            shortener_in(made)
            made.up()
            words = ["--long", "--json", "--out", str(tmp_path / "proofs"), *(["--disk-full"] if as_root else [])]
            until = time.monotonic() + float(os.environ.get("TENFOLD_SOAK_HOURS", "0")) * 3600
            while True:  # a new seed each time
                code, out, err = prove(made, *words, limit_s=LONG_S)
                assert code == 0, (out, err)
                print(out)
                if time.monotonic() >= until:
                    break
            if not as_root:
                print("NOT RUN: the full disk needs root")
    finally:
        if as_root:
            subprocess.run(["umount", "-l", str(root)], check=True)
