"""What a person writes as a fault, and what the controller's answer about a move means to the prover."""

from __future__ import annotations

from typing import Any

import pytest

from tenfold.cli.living import facts_of
from tenfold.cli.prove import FULL, LONG, QUICK, Scale, _recipes, recipe_in
from tenfold.core.errors import UsageError
from tenfold.prove.excuses import Cost, cost_of
from tenfold.prove.faults import KINDS, NodeFacts
from tenfold.prove.history import Window
from tenfold.prove.moves import MoveFacts
from tenfold.prove.schedule import Recipe

NONE: dict[str, Any] = {
    "no_faults": False, "disk_full": False, "fault": (), "moves": None, "scale": None, "deploy": None,
}  # fmt: skip

ALONE = (NodeFacts("web-1", "web", 10, True),)
BEHIND = (*ALONE, NodeFacts("web-2", "web", 11, True), NodeFacts("balancer-1", "balancer", 12, True))
WORKER = NodeFacts("worker-1", "worker", 13, True)


@pytest.mark.parametrize(
    ("text", "recipe"),
    [
        ("kill database 5", Recipe("kill", "database", 5)),
        ("pause web 2 10", Recipe("pause", "web", 2, 10.0)),
        ("kill all haproxy 3", Recipe("kill", "haproxy", 3, 0.0, "all")),
        ("pause all haproxy 1 2.5", Recipe("pause", "haproxy", 1, 2.5, "all")),
        ("kill web-2 1", Recipe("kill", "web-2", 1)),
    ],
)
def test_a_fault_is_read(text: str, recipe: Recipe) -> None:
    assert recipe_in(text) == recipe


@pytest.mark.parametrize(
    "text",
    ["", "kill", "kill web", "kill all", "kill all web", "eat web 1", "kill web 0", "kill web x", "pause web 1 -1"],
)
def test_what_is_no_fault_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="not a fault"):
        recipe_in(text)


@pytest.mark.parametrize("scale", [QUICK, FULL, LONG])
def test_behind_balancers_a_run_kills_every_role_of_p3(scale: Scale) -> None:
    behind = _recipes(scale, 1, NONE, nodes=BEHIND)
    assert {recipe.target for recipe in behind if recipe.kind == "kill"} >= {"web", "haproxy", "balancer", "keeper"}
    assert all(recipe.kind in KINDS for recipe in behind)
    before = _recipes(scale, 1, NONE, nodes=ALONE)
    assert not {recipe.target for recipe in before} & {"haproxy", "balancer"}
    costs = {recipe.target: cost_of(Window("kill", recipe.target, 0, 1, True, balanced=True)) for recipe in behind}
    assert costs["keeper"] is costs["balancer"] is Cost.NOTHING


def test_nothing_is_planned_that_was_not_asked_for() -> None:
    assert _recipes(QUICK, 1, {**NONE, "no_faults": True}, nodes=BEHIND) == ()
    pairs = _recipes(QUICK, 1, {**NONE, "no_faults": True, "scale": 2, "deploy": 1}, nodes=BEHIND)
    assert [(recipe.kind, recipe.times) for recipe in pairs] == [("scale", 4), ("deploy", 2)], "there and back"


def answer(*, open_: bool, result: str = "", then: tuple[str, ...] = (), error: Any = None, pid: int = 7) -> Any:
    move = {"open": open_, "stage": "start", "result": result, "reason": "why", "progress": {"pid": pid}}
    return {"move": move, "then": list(then), "error": error}


@pytest.mark.parametrize(
    ("said", "facts"),
    [
        ({"move": None, "then": [], "error": None}, MoveFacts(False, "", 0, "there was none")),
        (answer(open_=True), MoveFacts(True, "start", 7, "why")),
        (answer(open_=False, result="finished"), MoveFacts(False, "start", 0, "finished why")),
        (answer(open_=False, result="finished", then=("change_nodes",)), MoveFacts(True, "start", 0, "finished why")),
        (answer(open_=False, result="undone"), MoveFacts(False, "start", 0, "undone why")),
        (
            answer(open_=False, result="finished", then=("change_nodes",), error={"message": "no HAProxy"}),
            MoveFacts(False, "start", 0, "no HAProxy"),
        ),
    ],
)
def test_a_row_of_moves_is_open_until_its_last_one_is_closed(said: Any, facts: MoveFacts) -> None:
    assert facts_of(said) == facts


@pytest.mark.parametrize("scale", [QUICK, FULL, LONG])
def test_workers_are_killed_where_there_are_some(scale: Scale) -> None:
    for nodes in (ALONE, BEHIND):
        with_worker = _recipes(scale, 1, NONE, nodes=(*nodes, WORKER))
        assert [each for each in with_worker if each.target == "worker"] == [
            Recipe("kill", "worker", scale.worker_kills)
        ]
        assert not [each for each in _recipes(scale, 1, NONE, nodes=nodes) if each.target == "worker"]
    assert _recipes(scale, 1, {**NONE, "no_faults": True}, nodes=(*ALONE, WORKER)) == ()
