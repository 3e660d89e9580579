"""Step 3 under the prover: its processes killed one by one and together, the web tier scaled, deployed and reloaded,
the door put in and taken away, with clients of every kind of connection beside the load."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployed import Deployed
from haproxy import needs_haproxy
from postgres import needs_postgres
from shortened import move, shortened

from tenfold.prove.connections import COUNTING, NAMES, STREAMS

pytestmark = [needs_postgres, needs_haproxy]
P3_ROLES = ("web", "haproxy", "balancer")


@pytest.fixture
def shortener(tmp_path: Path) -> Iterator[Deployed]:
    with shortened(tmp_path / "svc") as made:
        yield made


@pytest.fixture
def door(shortener: Deployed) -> Deployed:
    """On step 3: two balancers before two web servers, the data on PostgreSQL."""
    process = shortener.start("climb", "3", "--yes", "--json")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, (out, err)
    return shortener


def proved(made: Deployed, *words: str, limit_s: float = 300, code: int = 0) -> dict[str, dict[str, Any]]:
    """Runs the prover without its own choice of faults; its verdicts by id. Nothing may be broken or vacuous."""
    process = made.start("prove", "--json", "--no-faults", *words)
    out, err = process.communicate(timeout=limit_s)
    assert process.returncode == code, (told(out), err)
    return {verdict["id"]: verdict for verdict in json.loads(out)["verdicts"]}


def told(out: str) -> list[str]:
    try:
        verdicts = json.loads(out)["verdicts"]
    except ValueError:
        return [out]
    bad = [part for each in verdicts for part in each.get("parts", []) if part["verdict"] in ("broken", "vacuous")]
    return [f"{part['id']} {part['workload']}: {part['detail']} {part.get('evidence', [])[:2]}" for part in bad]


def parts(verdict: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {part["workload"]: part for part in verdict["parts"]}


def all_hold(verdicts: dict[str, dict[str, Any]], *ids: str) -> None:
    assert {name: each["verdict"] for name, each in verdicts.items()} == dict.fromkeys(ids, "holds")


def every_kind_was_there(verdicts: dict[str, dict[str, Any]]) -> None:
    p1 = parts(verdicts["P1"])
    for name in NAMES:
        seen = p1[name if name in STREAMS else f"requests of {name}"]
        assert seen["n"] >= 20, (name, seen)
    assert all(p1[name]["figures"]["unread"] == 0 for name in COUNTING)


def kills(verdicts: dict[str, dict[str, Any]]) -> dict[str, float]:
    """How many kills of each role P3 was judged over; each role's must have met somebody."""
    p3 = parts(verdicts["P3"])
    found = {role: p3[f"requests while a {role} was killed"] for role in P3_ROLES}
    assert all(found[role]["figures"]["met"] > 0 for role in ("web", "haproxy"))
    return {role: part["figures"]["kills"] for role, part in found.items()}


def figures(verdicts: dict[str, dict[str, Any]]) -> None:
    """For people who run the long proofs."""
    print(json.dumps({name: each["n"] for name, each in verdicts.items()}))
    for name, each in verdicts.items():
        for part in each.get("parts", []):
            if name == "P3" or "moves" in part["workload"] or "changed" in part["workload"]:
                print(name, part["workload"], part["n"], json.dumps(part.get("figures", {})))


def test_kills_of_every_role_cost_nobody_else_anything(door: Deployed) -> None:
    faults = ("kill web 3", "kill haproxy 2", "kill balancer 1", "kill all haproxy 1")
    words = [word for fault in faults for word in ("--fault", fault)]
    verdicts = proved(door, *words, "--seconds", "45", "--rate", "40", "--seed", "3")
    all_hold(verdicts, "P1", "P3", "P6", "P8", "P9", "P10")
    assert kills(verdicts) == {"web": 3, "haproxy": 3, "balancer": 1}
    every_kind_was_there(verdicts)
    assert door.status()["state"] == "running"


def test_scaling_and_a_deploy_and_its_rollback_lose_nothing(door: Deployed) -> None:
    verdicts = proved(door, "--scale", "1", "--deploy", "1", "--seconds", "75", "--rate", "40", "--seed", "5")
    all_hold(verdicts, "P1", "P8", "P9", "P10")
    changed = parts(verdicts["P1"])["requests while the web tier changed"]
    assert changed["figures"]["windows"] == 4
    every_kind_was_there(verdicts)
    assert len([node for node in door.status()["nodes"] if node["traffic"] == "on"]) == 2


def test_break_and_heal_know_balancers(door: Deployed) -> None:
    before = {node["node"]: node["haproxy_pid"] for node in door.status()["balancers"]}
    said = door.tenfold("break", "haproxy-1", "--yes")
    assert said.code == 0, said
    after = {node["node"]: node["haproxy_pid"] for node in door.status()["balancers"]}
    assert before["balancer-1"] != after["balancer-1"]
    assert before["balancer-2"] == after["balancer-2"]
    said = door.tenfold("break", "balancer", "--how", "pause", "--for", "1s", "--amount", "all", "--yes")
    assert said.code == 0, said
    unknown = door.tenfold("break", "edge", "--yes")
    assert unknown.code == 1
    assert "haproxy" in unknown.err
    assert door.tenfold("heal").code == 0


# --- the long proofs of `make prove`


@pytest.mark.long
def test_the_long_proof_of_kills_behind_balancers_holds(door: Deployed) -> None:
    """100 kills of a web server, 35 of HAProxy (5 of them both at once), 10 of the process beside it, pauses."""
    process = door.start("prove", "--long", "--json", "--rate", "80", "--seconds", "1200")
    out, err = process.communicate(timeout=1800)
    assert process.returncode == 0, (told(out), err)
    verdicts = {verdict["id"]: verdict for verdict in json.loads(out)["verdicts"]}
    all_hold(verdicts, "P1", "P3", "P6", "P8", "P9", "P10")
    assert kills(verdicts)["web"] >= 90, "a slow machine may leave some out"
    every_kind_was_there(verdicts)
    figures(verdicts)


@pytest.mark.long
def test_climbs_and_descends_of_the_front_door_keep_every_promise(shortener: Deployed) -> None:
    """2 to 3 to 2 ten times, with movers killed; then scaling and deploys on step 3."""
    move(shortener, "climb", "2")
    verdicts = proved(shortener, "--moves", "10", "--seconds", "600", "--rate", "80", "--seed", "11", limit_s=1500)
    all_hold(verdicts, "P1", "P2", "P8", "P9", "P10")
    every_kind_was_there(verdicts)
    figures(verdicts)
    assert shortener.status()["step"] == 2


@pytest.mark.long
def test_scaling_and_deploys_in_a_row_keep_every_promise(door: Deployed) -> None:
    verdicts = proved(
        door, "--scale", "10", "--deploy", "5", "--seconds", "420", "--rate", "80", "--seed", "12", limit_s=1200
    )
    all_hold(verdicts, "P1", "P8", "P9", "P10")
    every_kind_was_there(verdicts)
    figures(verdicts)


@pytest.mark.long
def test_reloads_under_load_lose_nothing(door: Deployed) -> None:
    """A setting that HAProxy takes only when it is loaded anew, changed ten times; streams are ended properly too."""
    toml = door.root / "tenfold.toml"
    spec = toml.read_text()
    reloads = sum(node["reloads"] for node in door.status()["balancers"])
    process = door.start("prove", "--json", "--no-faults", "--seconds", "240", "--rate", "80", "--seed", "13")
    for number in range(10):
        time.sleep(15)  # not for a condition: so that load goes on between two of them
        toml.write_text(f'{spec}[balancer]\nheader_timeout = "{20 - number}s"\n')
        assert door.tenfold("up").code == 0
    out, err = process.communicate(timeout=400)
    assert sum(node["reloads"] for node in door.status()["balancers"]) >= reloads + 20, "each of both was loaded anew"
    assert process.returncode == 0, (told(out), err)
    verdicts = {verdict["id"]: verdict for verdict in json.loads(out)["verdicts"]}
    all_hold(verdicts, "P1", "P8", "P9", "P10")
    assert all(parts(verdicts["P1"])[name]["figures"]["ends"] >= 10 for name in STREAMS)
