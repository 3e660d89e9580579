"""How a keeper starts a balancer."""

from __future__ import annotations

import sys
from pathlib import Path

from tenfold.hosts.records import Launch
from tenfold.serve.balancer.policy import GRACE_SLACK_S
from tenfold.topology.map import Map

STAGE = 1
"""Balancers are stopped before the web servers behind them."""


def balancer_launch(current: Map, node: str, *, map_file: Path, haproxy: str) -> Launch:
    """The launch of that balancer; `haproxy` is the path of its program (engines.haproxy.programs finds it).

    HAProxy works in a folder of its own, and the keeper ends it together with the balancer: when it is stopped, and
    when it does not end in time, but not when it is only started again.
    """
    return Launch(
        node=node,
        argv=(sys.executable, "-P", "-m", "tenfold.serve.balancer"),
        cwd=current.state,
        env={"TENFOLD_MAP": str(map_file), "PYTHONUNBUFFERED": "1"},
        listener=True,
        socket=True,
        map=True,
        grace_s=min(current.web.drain_limit_s + GRACE_SLACK_S, 3600.0),
        stage=STAGE,
        owns=str(folder_of(Path(current.state), node)),
        leaves=haproxy,
    )


def folder_of(state: Path, node: str) -> Path:
    """Where the HAProxy of that node works: its configuration files and the sockets that it is told things over."""
    return state / "run" / node
