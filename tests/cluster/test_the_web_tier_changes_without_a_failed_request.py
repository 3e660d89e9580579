"""Balancers put and taken, web servers added, replaced and taken away, while clients of every kind are at work."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployed import Deployed
from haproxy import needs_haproxy
from postgres import needs_postgres
from tier import Clients, count_of, port_of, state_of, tier, until, until_stage, write_code

pytestmark = needs_haproxy
DIES_SOON = """
import sys, threading
if "tenfold.serve.web" in sys.orig_argv:
    threading.Timer(3.0, os._exit, (5,)).start()
"""
DOOR = ("climb", "--only", "load-balancer", "--yes")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Deployed]:
    with tier(tmp_path / "svc") as made:
        yield made


def done(made: Deployed, *words: str) -> None:
    said = made.tenfold(*words)
    assert said.code == 0, (words, said)


def web_of(made: Deployed) -> dict[str, str]:
    """The web servers that are ready, with the version that each runs."""
    return {node["node"]: node["version"] for node in made.status()["nodes"] if node["ready"]}


def kill(made: Deployed, node: str) -> None:
    record = json.loads((made.state / "run" / f"{node}.json").read_text())
    os.kill(int(record["process"]["pid"]), signal.SIGKILL)


def nothing_is_left_to_do(made: Deployed) -> None:
    """The map is what runs, nothing else runs, and nothing is wanted beyond it."""
    assert made.tenfold("plan", "--json").facts()["empty"] is True
    status = made.status()
    assert status["state"] == "running"
    current = json.loads((made.state / "map.json").read_text())
    running = {node["node"] for node in (*status["nodes"], *status["balancers"])}
    assert running == {node["name"] for node in current["nodes"]}
    assert all(node["traffic"] == "on" for node in current["nodes"])
    assert all(node["epoch"] == status["epoch"] for node in (*status["nodes"], *status["balancers"]))


def test_up_and_down_the_whole_way_with_a_deploy_and_a_rollback(small: Deployed) -> None:
    with Clients(port_of(small)) as clients:
        done(small, *DOOR)
        assert set(web_of(small)) == {"web-1", "web-2"}
        assert small.status()["public"]["door"] == "balancer"
        done(small, "scale", "web=3", "--yes")
        assert set(web_of(small).values()) == {"v1"}
        assert len(web_of(small)) == 3
        write_code(small, "two")
        done(small, "deploy", "--yes")
        assert list(web_of(small).values()) == ["v2"] * 3
        until(lambda: clients.seen("two"), "the new code answers")
        done(small, "rollback", "--yes")
        assert list(web_of(small).values()) == ["v1"] * 3
        done(small, "scale", "web=2", "--yes")
        nothing_is_left_to_do(small)
        done(small, "descend", "1", "--yes")
        assert small.status()["balancers"] == []
    assert clients.failed == []
    assert count_of(small) == len(clients.written) > 20
    assert len(web_of(small)) == 1
    nothing_is_left_to_do(small)
    assert len(small.processes()) == 3


@needs_postgres
def test_from_one_process_to_several_on_a_database_server_and_back(small: Deployed) -> None:
    with Clients(port_of(small)) as clients:
        done(small, "climb", "3", "--yes")
        assert small.status()["step"] == 3
        moves = [move["move"] for move in small.tenfold("moves", "--json").facts()["moves"]]
        assert moves == ["copy_to_postgres", "put_balancers", "change_nodes"], (
            "one command, and the moves by themselves"
        )
        done(small, "scale", "web=3", "--yes")
        write_code(small, "two")
        done(small, "deploy", "--yes")
        nothing_is_left_to_do(small)
        done(small, "descend", "1", "--yes")
    assert clients.failed == []
    assert count_of(small) == len(clients.written) > 20
    assert (small.status()["step"], small.status()["engines"]) == (1, [])
    assert web_of(small) == {node["node"]: "v2" for node in small.status()["nodes"]}


def test_a_deploy_on_one_server_and_the_same_code_again(small: Deployed) -> None:
    with Clients(port_of(small)) as clients:
        write_code(small, "two")
        done(small, "deploy", "--yes")
        until(lambda: clients.seen("two"), "the new code answers")
        before = small.status()["epoch"]
        done(small, "deploy", "--yes")
        assert small.status()["epoch"] == before, "the same code is not deployed again"
    assert clients.failed == []
    assert web_of(small) == {"web-2": "v2"}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("raise ValueError('not this one')", "not this one"),
        (DIES_SOON, "The new code does not hold out"),
    ],
)
def test_code_that_does_not_start_or_dies_soon_never_sees_a_client(small: Deployed, more: str, says: str) -> None:
    done(small, *DOOR)
    with Clients(port_of(small)) as clients:
        write_code(small, "broken", more)
        said = small.tenfold("deploy", "--yes")
        assert said.code == 1
        assert says in said.err
    assert clients.failed == []
    assert not clients.seen("broken")
    assert web_of(small) == {"web-1": "v1", "web-2": "v1"}
    assert [path.name for path in (small.state / "versions").glob("v*")] == ["v1"], "what failed is not kept"
    nothing_is_left_to_do(small)


@pytest.mark.parametrize("stage", ["announce", "start", "settle", "switch", "leave", "forget"])
def test_a_mover_killed_in_a_stage_of_a_deploy_converges(small: Deployed, stage: str) -> None:
    done(small, *DOOR)
    with Clients(port_of(small)) as clients:
        write_code(small, "two")
        deploying = small.start("deploy", "--yes")
        until_stage(small, stage)
        kill(small, "mover")
        out, err = deploying.communicate(timeout=120)
        assert deploying.returncode == 0, (out, err)
    assert clients.failed == []
    assert list(web_of(small).values()) == ["v2", "v2"]
    nothing_is_left_to_do(small)


@pytest.mark.parametrize("stage", ["addresses", "balancers", "close_web_door", "quiet"])
def test_a_mover_and_the_controller_killed_while_balancers_are_put(small: Deployed, stage: str) -> None:
    with Clients(port_of(small)) as clients:
        climbing = small.start(*DOOR)
        until_stage(small, stage)
        kill(small, "mover")
        kill(small, "controller")
        out, err = climbing.communicate(timeout=120)
        assert climbing.returncode == 0, (out, err)
        assert len(web_of(small)) == 2, "what follows the first move came by itself"
    assert clients.failed == []
    nothing_is_left_to_do(small)


def test_a_deploy_is_aborted(small: Deployed) -> None:
    done(small, *DOOR)
    with Clients(port_of(small)) as clients:
        write_code(small, "two")
        deploying = small.start("deploy", "--yes")
        until_stage(small, "settle")
        done(small, "abort")
        _out, err = deploying.communicate(timeout=60)
        assert deploying.returncode == 1
        assert "It was aborted" in err
    assert clients.failed == []
    assert not clients.seen("two")
    nothing_is_left_to_do(small)


def test_an_edited_number_of_processes_and_a_value_for_new_processes(small: Deployed) -> None:
    done(small, *DOOR)
    with Clients(port_of(small)) as clients:
        small.spec("[web]\nprocesses = 3\n")
        small.up()
        assert len(web_of(small)) == 3
        before = {node["node"]: node["pid"] for node in small.status()["nodes"]}
        small.spec('[web]\nprocesses = 3\nkeep_alive = "20s"\n')
        small.up()
        after = {node["node"]: node["pid"] for node in small.status()["nodes"]}
        assert len(after) == 3
        assert not set(before.values()) & set(after.values())
    assert clients.failed == []
    nothing_is_left_to_do(small)


def test_down_and_up_and_a_killed_keeper_bring_the_same_tier_back(small: Deployed) -> None:
    done(small, *DOOR)
    done(small, "scale", "web=3", "--yes")
    before = web_of(small)
    done(small, "down")
    assert small.processes() == []
    small.up()
    assert web_of(small) == before
    nothing_is_left_to_do(small)
    with Clients(port_of(small)) as clients:
        os.kill(small.status()["keeper"]["pid"], signal.SIGKILL)
        small.up()
        assert web_of(small) == before
    assert clients.failed == []
    nothing_is_left_to_do(small)


def test_down_in_the_middle_of_a_deploy_goes_on_with_the_next_up(small: Deployed) -> None:
    done(small, *DOOR)
    write_code(small, "two")
    deploying = small.start("deploy", "--yes")
    until_stage(small, "settle")
    deploying.kill()
    deploying.communicate()
    done(small, "down")
    assert small.processes() == []
    small.up()
    until(lambda: state_of(small).result, "the move is closed")
    assert state_of(small).result == "finished", state_of(small).reason
    until(lambda: set(web_of(small).values()) == {"v2"}, "the new code serves")
    until(lambda: small.tenfold("plan", "--json").facts()["empty"], "nothing is left to do")
    nothing_is_left_to_do(small)
