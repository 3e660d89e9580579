"""The decisions of `moves.nodes.policy` and the maps of `moves.nodes.maps`, case by case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from scenes import DEPLOY_ONE, DEPLOY_TWO, SCALE_DOWN, SCALE_UP, balanced, one_web, with_app

from tenfold.moves.context import NodeFacts, PublishResult
from tenfold.moves.nodes import maps, policy
from tenfold.moves.nodes.policy import NodeChange, Settling, cure_of, may_turn_off, public_connections, settling
from tenfold.moves.publishing import NotTakenOver, refuse_silent, require_all, require_one
from tenfold.topology.map import NodeMap


def fact(name: str, state: str = "running", *, restarts: int = 0, ready_s: float = 9.0) -> NodeFacts:
    return NodeFacts(name, "web", state, state == "running", restarts, ready_s)


def facts(*found: NodeFacts) -> dict[str, NodeFacts]:
    return {each.name: each for each in found}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (fact("web-3", ready_s=6.0), Settling()),
        (fact("web-3", ready_s=2.0), Settling(left_s=3.5)),
        (fact("web-3", restarts=1), Settling(problem="web-3 ended and was started again once")),
        (fact("web-3", restarts=3, ready_s=0), Settling(problem="web-3 ended and was started again 3 times")),
        (fact("web-3", "starting"), Settling(problem="web-3 is not ready")),
        (fact("web-3", "failed"), Settling(problem="web-3 does not run any more (failed)")),
        (fact("web-3", "stopping"), Settling(problem="web-3 does not run any more (stopping)")),
        (fact("web-9"), Settling(problem="web-3 does not run any more (it is gone)")),
    ],
)
def test_a_new_process_is_trusted_after_a_while_in_one_piece(found: NodeFacts, expected: Settling) -> None:
    assert settling(facts(found), ["web-3"]) == expected


def test_the_youngest_of_them_decides_how_long() -> None:
    assert settling(facts(fact("a", ready_s=5.0), fact("b", ready_s=1.5), fact("c")), ["a", "b", "c"]).left_s == 4.0


@pytest.mark.parametrize(
    ("leaving", "remaining", "may"),
    [
        ("running", "running", True),
        ("running", "starting", False),
        ("running", "stopping", False),
        ("running", "failed", False),
        ("waiting", "waiting", True),
        ("failed", "starting", True),
        ("starting", "running", True),
    ],
)
def test_who_serves_is_turned_off_only_when_somebody_else_is_ready(leaving: str, remaining: str, may: bool) -> None:
    assert may_turn_off(facts(fact("a", leaving), fact("b", remaining)), ["a"], ["b"]) is may


def test_one_that_is_ready_is_enough() -> None:
    found = facts(fact("a"), fact("b", "failed"), fact("c"))
    assert may_turn_off(found, ["a"], ["b", "c"])
    assert not may_turn_off(found, ["a"], ["b"])


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ({"web-1": {"public_connections": 0}, "web-2": {"public_connections": 0}}, (0, ())),
        ({"web-1": {"public_connections": 2}, "web-2": {"public_connections": 3}}, (5, ())),
        ({"web-1": {}, "web-2": {"public_connections": 1}}, (1, ("web-1",))),
        ({"web-9": {}}, (0, ())),
        ({"web-3": {}}, (0, ())),
    ],
)
def test_connections_past_the_balancers_are_counted_where_somebody_can_have_some(
    statuses: Mapping[str, Mapping[str, Any]], expected: tuple[int, tuple[str, ...]]
) -> None:
    known = facts(fact("web-1"), fact("web-2"), fact("web-3", "failed"))
    assert public_connections(known, statuses) == expected


def test_only_a_balancer_that_does_not_answer_is_started_anew() -> None:
    assert cure_of({}) == "restart"
    assert cure_of({"ready": True, "epoch": 4}) == "refuse"


@pytest.mark.parametrize(("count", "limit_s"), [(0, 90.0), (1, 90.0), (2, 90.0), (3, 180.0), (64, 2880.0)])
def test_the_limit_grows_with_the_processes_that_start(count: int, limit_s: float) -> None:
    assert policy.start_limit_s(count) == limit_s


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), ""),
        (("web-1",), "web-1"),
        (("web-1", "web-2"), "web-1 and web-2"),
        (("a", "b", "c", "d"), "a, b, c and d"),
        (("a", "b", "c", "d", "e"), "a ... e (5)"),
    ],
)
def test_names_are_said_in_few_words(names: tuple[str, ...], said: str) -> None:
    assert policy.shown(names) == said


def change(scene: Any) -> NodeChange:
    return NodeChange(scene.before, scene.wanted)


def test_what_joins_and_what_leaves() -> None:
    deploy = change(DEPLOY_TWO)
    assert (deploy.joins, deploy.leaves) == (("web-3", "web-4"), ("web-1", "web-2"))
    assert (deploy.version, deploy.renames_version) == ("v2", True)
    up, down = change(SCALE_UP), change(SCALE_DOWN)
    assert (up.joins, up.leaves, up.renames_version) == (("web-3", "web-4"), (), False)
    assert (down.joins, down.leaves, down.remaining) == ((), ("web-3", "web-4"), ("web-1", "web-2"))
    assert change(DEPLOY_ONE).joins == ("web-2",)


def test_a_server_without_clients_is_no_measure_for_the_version() -> None:
    before = balanced(2, "v1")
    off = NodeMap("web-3", "web", version="v2", traffic="off")
    with_off = maps.with_more(before, [off])
    found = NodeChange(with_off, before)
    assert not found.renames_version
    assert found.leaves == ("web-3",)
    assert found.serving == ("web-1", "web-2")


def test_maps_change_what_they_say_and_nothing_else() -> None:
    before = balanced(2)
    more = maps.with_more(before, [NodeMap("web-2", "web"), NodeMap("web-3", "web")])
    assert [node.name for node in more.nodes][-1] == "web-3"
    assert more.node("web-2") == before.node("web-2"), "what is there stays as it is"
    assert maps.without(more, ["web-3"]) == before
    off = maps.with_traffic(before, ["web-1"], "off")
    assert [node.traffic for node in off.of_role("web")] == ["off", "on"]
    assert maps.with_traffic(off, ["web-1"], "on") == before
    assert maps.with_door(maps.with_door(before, "web"), "balancer") == before


def test_settings_come_with_the_nodes_that_run_and_the_end_keeps_addresses() -> None:
    before = balanced(2)
    wanted = with_app(one_web(), "other:app")
    assert maps.settings_of(wanted, before).nodes == before.nodes
    assert maps.settings_of(wanted, before).app == "other:app"
    bare = msgspec.structs.replace(
        before, nodes=tuple(msgspec.structs.replace(node, address="") for node in before.nodes)
    )
    assert maps.final(bare, before) == before


def test_who_must_have_a_map_is_named_when_it_has_not() -> None:
    result = PublishResult(7, ("web-1",), {"web-2": "it hangs"})
    require_all(result, ["web-1"])
    require_one(result, ["web-1", "web-2"])
    refuse_silent(result, ["web-1", "web-3"])
    with pytest.raises(NotTakenOver, match="web-2: it hangs"):
        refuse_silent(result, ["web-1", "web-2"])
    with pytest.raises(NotTakenOver, match="web-2: it hangs; web-3: it does not run"):
        require_all(result, ["web-1", "web-2", "web-3"])
    with pytest.raises(NotTakenOver, match="web-3: it does not run"):
        require_one(result, ["web-3"])
