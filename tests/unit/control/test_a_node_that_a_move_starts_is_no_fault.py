"""The state of a deployment while a move changes its nodes: what the move starts is not broken, all else may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenfold.control.place import Place
from tenfold.control.standing import Heard, facts_from
from tenfold.topology.map import Map, NodeMap, map_of
from tenfold.topology.spec import parse_spec

SPEC = '[service]\nname = "shop"\napp = "shop:app"\n'
ONE_SERVER = map_of(parse_spec(SPEC), root="/s", state="/s/.tenfold", previous=None)
CURRENT: Map = msgspec.structs.replace(
    ONE_SERVER, nodes=(*ONE_SERVER.of_role("web"), NodeMap("balancer-1", "balancer"), NodeMap("balancer-2", "balancer"))
)
MOVE = {"id": "m-1", "move": "put_balancers", "open": True}
CONTROLLER = {"pid": 2, "state": "moving", "doing": "", "error": None, "move": "m-1"}


def child(node: str, state: str = "running", **more: Any) -> dict[str, Any]:
    told = {"pid": 7, "restarts": 0, "crash_loop": False, "exit_code": None, "report": None}
    return {"node": node, "state": state, **told, **more}


def state_of(*balancers: dict[str, Any], move: dict[str, Any] | None = MOVE, web: bool = True) -> str:
    """The state with these balancers; who is `running` says that it is ready."""
    children = (child("web-1", "running" if web else "waiting"), *balancers)
    said = {fact["node"]: {"ready": True} for fact in children if fact["state"] == "running"}
    keeper = {"pid": 1, "host": "", "port": 1, "stopping": False}
    heard = Heard(keeper, children, said, CONTROLLER, move)
    return str(facts_from(Place(Path("/s")), CURRENT, heard)["state"])


def test_balancers_that_a_move_starts_do_not_degrade_the_deployment() -> None:
    assert state_of() == "running", "they are in the map, and the keeper has not heard of them yet"
    assert state_of(child("balancer-1", "starting"), child("balancer-2", "starting")) == "running"
    assert state_of(child("balancer-1"), child("balancer-2", "starting")) == "running"
    assert state_of(child("balancer-1"), child("balancer-2", "stopping")) == "running"


def test_without_a_move_they_do() -> None:
    assert state_of(child("balancer-1", "starting"), child("balancer-2"), move=None) == "degraded"
    assert state_of(child("balancer-1"), move=None) == "degraded"
    assert state_of(child("balancer-1"), child("balancer-2"), move=None) == "running"


@pytest.mark.parametrize(
    "broken",
    [
        child("balancer-1", "starting", restarts=1),
        child("balancer-1", "waiting", restarts=1),
        child("balancer-1", "failed"),
        child("balancer-1", "ended"),
    ],
)
def test_a_move_does_not_hide_what_has_ended(broken: dict[str, Any]) -> None:
    assert state_of(broken, child("balancer-2")) == "degraded"


def test_a_move_does_not_hide_that_nobody_answers() -> None:
    assert state_of(web=False) == "degraded"
    assert state_of(child("balancer-1"), child("balancer-2"), web=False) == "degraded"
