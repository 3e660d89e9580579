"""`tenfold status` from its facts: what a person sees of web servers, balancers, doors and routes."""

from __future__ import annotations

from typing import Any

import click
import pytest

from tenfold.cli.moves import _lines as move_lines
from tenfold.cli.status import status_lines

Facts = dict[str, Any]


def node(name: str, **more: Any) -> Facts:
    told = {"node": name, "pid": 7, "state": "running", "ready": True, "requests": 2, "connections": 1, "restarts": 0}
    return {**told, **more}


def facts(**more: Any) -> Facts:
    told: Facts = {
        "service": "shop",
        "state": "running",
        "root": "/srv/shop",
        "address": "http://127.0.0.1:8000",
        "step": 3,
        "epoch": 9,
        "version": "v4",
        "keeper": {"pid": 1},
        "controller": {"error": None},
        "nodes": [node("web-1", version="v4", traffic="on", address="127.0.0.1:23000")],
        "workers": [],
        "balancers": [],
        "jobs": {"waiting": 0, "running": 0, "dead": 0, "unknown": 0},
        "engines": [],
        "public": {"door": "web", "tls": None},
        "routes": [],
        "waiting": [],
        "database": {"backend": "sqlite", "where": "/srv/shop.db", "gate": "open", "way_back": False},
        "move": None,
    }
    return {**told, **more}


def said(**more: Any) -> list[str]:
    return [click.unstyle(line) for line in status_lines(facts(**more))]


def test_one_server() -> None:
    assert said() == [
        "shop: running",
        "  http://127.0.0.1:8000   step 3, version v4, map epoch 9",
        "  web-1       pid 7        ready, 2 requests, 1 connection at 127.0.0.1:23000",
        "  data        sqlite, /srv/shop.db",
    ]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"version": "v5", "traffic": "off"}, "ready, 2 requests, 1 connection, version v5, no traffic"),
        ({"restarts": 1}, "1 connection, started again once"),
        ({"restarts": 3}, "1 connection, started again 3 times"),
        ({"reason": "the disk is full"}, "1 connection, BUT the disk is full"),
        ({"ready": False, "state": "starting"}, "starting, not ready"),
        ({"ready": False, "state": "running", "reason": "no tables"}, "running, not ready: no tables"),
        ({"pid": None, "ready": False, "state": "failed"}, "pid -        failed, not ready"),
    ],
)
def test_a_web_server(more: Facts, says: str) -> None:
    assert said(nodes=[node("web-1", **more)])[2].endswith(says)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"jobs": 1}, "ready, runs 1 job now"),
        ({"jobs": 3, "version": "v5", "traffic": "off"}, "ready, runs 3 jobs now, version v5, gets no jobs"),
        ({"ready": False, "reason": "The database is away."}, "running, not ready: The database is away."),
        ({"restarts": 1}, "runs 0 jobs now, started again once"),
    ],
)
def test_a_worker(more: Facts, says: str) -> None:
    lines = said(workers=[node("worker-2", **more), node("worker-1")])
    assert [line.split()[0] for line in lines[2:5]] == ["web-1", "worker-1", "worker-2"]
    assert lines[4].endswith(says)


@pytest.mark.parametrize(
    ("workers", "jobs", "says"),
    [
        (0, {"waiting": 1200}, "1,200 wait, 0 run, in the web servers"),
        (1, {"running": 2}, "0 wait, 2 run"),
        (1, {"dead": 3}, "0 wait, 0 run, 3 dead; `tenfold jobs --dead` lists them"),
        (1, {"unknown": 3}, "0 wait, 0 run, 3 of tasks that the code does not have"),
    ],
)
def test_jobs(workers: int, jobs: Facts, says: str) -> None:
    told = {"waiting": 0, "running": 0, "dead": 0, "unknown": 0, **jobs}
    lines = said(jobs=told, workers=[node("worker-1")] * workers)
    assert lines[-1] == f"  jobs        {says}"
    assert not any(line.startswith("  jobs") for line in said(jobs=None))


def test_the_front_door() -> None:
    balancers = [
        node(
            "balancer-2",
            haproxy_pid=9,
            servers=[{"name": "web-1", "ejected": True}, {"name": "web-2", "ejected": False}],
        ),
        node("balancer-1", haproxy_pid=8, servers=[]),
    ]
    routes = [
        {"host": "", "path": "/api", "to": ["10.0.0.1:80", "10.0.0.2:80"]},
        {"host": "a.org", "path": "/", "to": ["x:1"]},
    ]
    public = {"door": "balancer", "tls": "https://127.0.0.1:8443"}
    nodes = [node("web-10"), node("web-2")]
    lines = said(balancers=balancers, routes=routes, public=public, nodes=nodes)
    assert lines[2] == "  https://127.0.0.1:8443"
    assert [line.split()[0] for line in lines[3:7]] == ["balancer-1", "balancer-2", "web-2", "web-10"]
    assert lines[3].endswith("2 requests, 1 connection, HAProxy pid 8")
    assert lines[4].endswith("HAProxy pid 9, passes over web-1, which fails more than the others")
    assert lines[-2:] == ["  route       /api to 10.0.0.1:80, 10.0.0.2:80", "  route       a.org/ to x:1"]
    assert not any("route" in line for line in said(routes=routes[:1])), "nothing goes there yet"
    assert (
        said(waiting=["1 route waits for step 3 (load balancer)."])[-1] == "  1 route waits for step 3 (load balancer)."
    )


def test_why_a_node_does_not_run_is_told_at_the_end() -> None:
    error = {"message": "HAProxy is not installed.", "hint": "Install it."}
    broken = node("balancer-1", ready=False, state="failed", report={"error": error})
    assert said(balancers=[broken], state="degraded")[-1] == "HAProxy is not installed. Install it."


def test_a_move_says_which_web_servers_came_and_went() -> None:
    move = {"begun_us": 0, "move": "change_nodes", "result": "undone", "took_s": 1.0, "reason": "It died.\n  its log"}
    told = {"held_ms": 0.0, "starts": ["web-3", "web-4"], "stops": ["web-1"], "version": "v7"}
    lines = move_lines([{**move, "facts": told}])
    assert "change_nodes +2 -1 v7" in lines[1]
    assert lines[2].strip() == "It died."


def test_limits_that_are_off_are_said_loudly() -> None:
    on, off = node("web-1", limits="on"), node("web-2", limits="off")
    loud = "  RATE LIMITS ARE OFF (TENFOLD_LIMITS=off): nobody is refused"
    assert loud not in said(nodes=[on])
    assert loud in said(nodes=[on, off])
