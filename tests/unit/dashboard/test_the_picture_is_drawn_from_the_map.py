"""The picture: tiers and arrows from the map, whatever step it is on; health from the facts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from pictures import AT_US, SERVER, a_map, a_node, an_engine, facts_of, figures_of, names, on_server, without

from tenfold.cli.living import _haproxy
from tenfold.control.figures.model import NodeFigures, Traffic
from tenfold.dashboard.picture.drawing import PARTS_UP_TO, draw
from tenfold.dashboard.picture.flows import together
from tenfold.dashboard.picture.health import health_of
from tenfold.dashboard.picture.model import Arrow, Health, LoadNow, Picture, Program, Tier
from tenfold.dashboard.picture.roles import ASKS, ENGINES, FAULTS, ORDER, PROGRAM_FAULTS, in_order
from tenfold.prove.faults import KINDS
from tenfold.topology.map import Map, NodeMap
from tenfold.topology.steps import STEPS


def drawn(current: Map | None, *changed: Any, **more: Any) -> Picture:
    return draw(current, facts_of(current, *changed), at_us=AT_US, **more)


def roles(picture: Picture) -> list[str]:
    return [tier.role for tier in picture.tiers]


def tier(picture: Picture, role: str) -> Tier:
    return next(each for each in picture.tiers if each.role == role)


def arrows(picture: Picture) -> set[tuple[str, str, str]]:
    return {(arrow.source, arrow.target, arrow.kind) for arrow in picture.arrows}


def arrow(picture: Picture, source: str, target: str) -> Arrow:
    return next(each for each in picture.arrows if (each.source, each.target) == (source, target))


# Tiers


def test_one_server_is_one_box_with_its_parts() -> None:
    picture = drawn(a_map("web-1"))
    assert roles(picture) == ["users", "web"]
    (web,) = tier(picture, "web").nodes
    assert [part.kind for part in web.parts] == ["app", "cache", "database", "jobs"]
    assert arrows(picture) == {("users", "web", "requests")}


def test_a_database_server_is_a_tier_and_no_part() -> None:
    picture = drawn(on_server("web-1"), an_engine())
    assert roles(picture) == ["users", "web", "database"]
    assert [part.kind for part in tier(picture, "web").nodes[0].parts] == ["app", "cache", "jobs"]
    database = tier(picture, "database")
    assert (database.backend, database.nodes[0].name, database.nodes[0].clients) == ("PostgreSQL", "db-1", True)
    assert ("web", "database", "queries") in arrows(picture)


def test_balancers_stand_before_web_servers_and_workers_beside_them() -> None:
    picture = drawn(on_server("web-1", "web-2", "balancer-1", "balancer-2", "worker-1", door="balancer"), an_engine())
    assert roles(picture) == ["users", "balancer", "web", "worker", "database"]
    assert tier(picture, "worker").beside == "web"
    assert arrows(picture) == {
        ("users", "balancer", "requests"),
        ("balancer", "web", "requests"),
        ("web", "worker", "jobs"),
        ("web", "database", "queries"),
        ("worker", "database", "queries"),
    }
    assert [part.kind for part in tier(picture, "web").nodes[0].parts] == ["app", "cache"], "workers have the jobs"
    assert [part.kind for part in tier(picture, "worker").nodes[0].parts] == ["cache", "jobs"]


def test_a_worker_without_web_servers_stands_in_a_row_of_its_own() -> None:
    assert tier(drawn(a_map("worker-1")), "worker").beside == ""


def test_a_file_that_several_processes_share_is_a_node() -> None:
    picture = drawn(a_map("web-1", "worker-1"))
    database = tier(picture, "database")
    assert [(node.name, node.pid, node.faults) for node in database.nodes] == [("shop.db", 0, ())]
    assert database.backend == "SQLite"
    assert "database" not in [part.kind for part in tier(picture, "web").nodes[0].parts]
    assert ("web", "database", "queries") in arrows(picture)


@pytest.mark.parametrize("step", [step for step in STEPS if step.number > 3], ids=lambda step: step.slug)
def test_the_tier_of_a_later_step_appears_by_itself(step: Any) -> None:
    role = {4: "replica", 5: "cache", 6: "edge", 7: "store", 8: "geodns", 9: "queue", 10: "metrics", 11: "shard"}
    name = f"{role[step.number]}-1"
    current = on_server("web-1", "balancer-1", name, door="balancer")
    assert step.holds(current), "the step looks for this role"
    picture = drawn(current, an_engine())
    (node,) = tier(picture, role[step.number]).nodes
    assert (node.name, node.health) == (name, "well")
    assert roles(picture) == [each for each in ORDER if each in roles(picture)]


def test_a_role_that_nobody_knows_is_drawn_before_the_database() -> None:
    picture = drawn(on_server("web-1", "oracle-1"), an_engine())
    assert roles(picture) == ["users", "web", "oracle", "database"]
    assert tier(picture, "oracle").nodes[0].health == "well"
    assert ("web", "oracle", "requests") in arrows(picture)


def test_the_order_is_from_the_users_downwards() -> None:
    assert in_order(reversed([*ORDER, "oracle"])) == [*ORDER[:9], "oracle", *ORDER[9:]]
    assert {source for source, _, _ in ASKS} | {target for _, target, _ in ASKS} | set(ENGINES) <= set(ORDER)


def test_names_are_in_the_order_of_their_numbers() -> None:
    picture = drawn(a_map("web-10", "web-2", "web-1"))
    assert [node.name for node in tier(picture, "web").nodes] == ["web-1", "web-2", "web-10"]


def test_all_doors_are_passed_in_their_order() -> None:
    current = on_server("web-1", "balancer-1", "edge-1", "geodns-1", door="balancer")
    way = [(each.source, each.target) for each in drawn(current, an_engine()).arrows if each.kind == "requests"]
    assert way == [("users", "geodns"), ("geodns", "edge"), ("edge", "balancer"), ("balancer", "web")]


def test_a_queue_stands_between_web_servers_and_workers() -> None:
    picture = drawn(on_server("web-1", "worker-1", "queue-1"), an_engine())
    assert {("web", "queue", "jobs"), ("queue", "worker", "jobs")} <= arrows(picture)
    assert ("web", "worker", "jobs") not in arrows(picture)


def test_without_a_map_there_is_nothing_to_draw() -> None:
    picture = draw(None, facts_of(None, state="stopped", service=None, keeper=None, controller=None), at_us=AT_US)
    assert (picture.tiers, picture.arrows, picture.service, picture.state) == ((), (), "/srv/shop", "stopped")
    assert picture.says == ("Nothing runs. `tenfold up` starts it.",)


def test_large_tiers_are_drawn_without_their_parts() -> None:
    few, many = (drawn(on_server(*names(["web"], count)), an_engine()) for count in (PARTS_UP_TO, PARTS_UP_TO + 1))
    assert all(node.parts for node in tier(few, "web").nodes)
    assert not any(node.parts for node in tier(many, "web").nodes)


def test_what_the_facts_say_is_on_the_picture() -> None:
    current = a_map("web-1", way_back=True)
    told = facts_of(current, a_node("web-1", limits="off"), public={"door": "web", "tls": "https://x"}, step=2)
    picture = draw(current, {**told, "waiting": ["1 route waits."]}, at_us=AT_US, load=LoadNow(50, 9))
    assert (picture.tls_address, picture.step, picture.version, picture.at_us) == ("https://x", 2, "v4", AT_US)
    assert picture.limits_off
    assert picture.way_back
    assert picture.load == LoadNow(50, 9)
    assert picture.says == ("1 route waits.",)
    assert (picture.keeper, picture.controller, picture.window_s) == (True, True, 0.0)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"keeper": None}, "The keeper is gone; what runs goes on."),
        ({"controller": None}, "The controller does not answer;"),
        ({"controller": {"error": {"message": "It broke.", "hint": "Mend it."}}}, "It broke. Mend it."),
    ],
)
def test_who_does_not_answer_is_said(more: Any, says: str) -> None:
    current = a_map("web-1")
    picture = draw(current, facts_of(current, **more), at_us=AT_US)
    assert picture.says[-1].startswith(says)
    assert (picture.keeper, picture.controller) == ("keeper" not in more, more.get("controller", True) is not None)


# Health


@pytest.mark.parametrize(
    ("fact", "health"),
    [
        (a_node("web-1"), "well"),
        (a_node("web-1", state="orphaned"), "well"),
        (a_node("web-1", ready=False, state="starting"), "starting"),
        (a_node("web-1", ready=False, state="starting", crash_loop=True, restarts=5), "ill"),
        (a_node("web-1", ready=False), "ill"),
        (a_node("web-1", draining=True), "leaving"),
        (a_node("web-1", ready=False, state="stopping"), "leaving"),
        (a_node("web-1", ready=False, state="waiting", pid=None), "gone"),
        (a_node("web-1", ready=False, state="failed", pid=None), "gone"),
        (a_node("web-1", ready=False, state="ended", pid=None), "gone"),
        (None, "gone"),
    ],
)
def test_health_is_what_keeper_and_node_say(fact: Any, health: Health) -> None:
    assert health_of(fact) == health


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"ready": False, "reason": "The database is away."}, "The database is away."),
        ({"reason": "The disk is full."}, "The disk is full."),
        ({"ready": False, "state": "failed", "report": {"error": {"message": "No app.", "hint": ""}}}, "No app."),
        ({"ready": False, "state": "ended", "exit_code": 3}, "It ended with exit code 3."),
        ({"ready": False, "state": "starting", "crash_loop": True, "restarts": 5}, "It has ended 5 times."),
        ({}, ""),
    ],
)
def test_a_node_says_why(more: Any, says: str) -> None:
    assert tier(drawn(a_map("web-1"), a_node("web-1", **more)), "web").nodes[0].says == says


def test_a_node_that_runs_and_is_silent_is_said_to_be() -> None:
    paused = {"node": "web-1", "pid": 7, "state": "running", "ready": False, "restarts": 0}
    node = tier(drawn(a_map("web-1"), paused), "web").nodes[0]
    assert (node.health, node.says) == ("ill", "It does not answer.")


def test_a_node_of_the_map_that_nobody_keeps_is_gone() -> None:
    current = a_map("web-1", "web-2")
    picture = draw(current, without(facts_of(current), "web-2"), at_us=AT_US)
    gone = tier(picture, "web").nodes[1]
    assert (gone.health, gone.pid, gone.faults) == ("gone", 0, ()), "nothing is there that could be broken"
    assert tier(picture, "web").health == "ill"


def test_a_node_that_is_not_in_the_map_is_leaving() -> None:
    node = tier(drawn(a_map("web-1"), a_node("web-2")), "web").nodes[1]
    assert (node.name, node.health, node.clients) == ("web-2", "leaving", False)


@pytest.mark.parametrize(
    ("states", "health"),
    [
        (("well", "well"), "well"),
        (("well", "ill"), "ill"),
        (("well", "gone"), "ill"),
        (("gone", "gone"), "gone"),
        (("well", "starting"), "starting"),
        (("well", "leaving"), "well"),
    ],
)
def test_a_tier_is_as_those_that_clients_come_to(states: Any, health: Health) -> None:
    told: dict[str, Any] = {
        "well": {},
        "ill": {"ready": False},
        "gone": {"ready": False, "state": "failed"},
        "starting": {"ready": False, "state": "starting"},
        "leaving": {"draining": True},
    }
    changed = [a_node(f"web-{number + 1}", **told[state]) for number, state in enumerate(states)]
    assert tier(drawn(a_map("web-1", "web-2"), *changed), "web").health == health


def test_a_new_node_without_clients_makes_no_tier_ill() -> None:
    current = a_map("web-1", NodeMap("web-2", "web", traffic="off"))
    web = tier(drawn(current, a_node("web-2", ready=False)), "web")
    assert (web.health, web.nodes[1].clients) == ("well", False)


def test_faults_can_be_made_where_the_prover_knows_them() -> None:
    assert set(FAULTS) <= set(KINDS)
    assert tier(drawn(a_map("web-1")), "web").nodes[0].faults == FAULTS


def test_the_haproxy_of_a_balancer_can_be_broken_by_the_name_that_break_knows() -> None:
    current = on_server("web-1", "balancer-1", "balancer-2", door="balancer")
    changed = a_node("balancer-1", haproxy_pid=4712), a_node("balancer-2", haproxy_pid=None)
    first, second = tier(drawn(current, *changed, an_engine()), "balancer").nodes
    assert first.program == Program("haproxy-1", 4712, PROGRAM_FAULTS)
    assert second.program is None, "nothing is there that could be broken"
    assert set(PROGRAM_FAULTS) <= set(KINDS)
    assert _haproxy({"node": "balancer-1", "haproxy_pid": 4712, "ready": True}).name == "haproxy-1"


# Databases


def test_a_move_shows_both_databases_and_no_queries_to_the_new_one() -> None:
    current = a_map("web-1", server=SERVER, standby="postgres")
    picture = drawn(current, an_engine())
    (server,) = tier(picture, "database").nodes
    assert (server.name, server.clients, server.engine) == ("db-1", False, "PostgreSQL")
    assert "database" in [part.kind for part in tier(picture, "web").nodes[0].parts]
    assert ("web", "database", "replication") in arrows(picture)


def test_a_server_that_starts_is_drawn_before_the_map_names_it() -> None:
    (server,) = tier(drawn(a_map("web-1"), an_engine(state="starting")), "database").nodes
    assert (server.health, server.clients) == ("starting", False)


def test_the_file_that_is_brought_up_to_date_is_not_well_yet() -> None:
    picture = drawn(on_server("web-1", standby="sqlite"), an_engine())
    part = next(part for part in tier(picture, "web").nodes[0].parts if part.kind == "database")
    assert (part.health, part.gate) == ("starting", "")
    assert ("web", "database", "queries") in arrows(picture)


def test_both_databases_are_named_where_the_file_is_shared() -> None:
    database = tier(drawn(a_map("web-1", "worker-1", server=SERVER, standby="postgres"), an_engine()), "database")
    assert {(node.name, node.engine, node.clients) for node in database.nodes} == {
        ("db-1", "PostgreSQL", False),
        ("shop.db", "SQLite", True),
    }


def test_a_server_of_ours_that_does_not_run_is_gone() -> None:
    (server,) = tier(drawn(on_server("web-1")), "database").nodes
    assert (server.name, server.health) == ("db-1", "gone")


@pytest.mark.parametrize(("ready", "health"), [(True, "well"), (False, "ill")])
def test_a_server_of_the_users_is_as_its_users_find_it(ready: bool, health: Health) -> None:
    server = msgspec.structs.replace(SERVER, supervised=False)
    (node,) = tier(drawn(on_server("web-1", server=server), a_node("web-1", ready=ready)), "database").nodes
    assert (node.name, node.health, node.pid, node.faults) == ("database", health, 0, ())


def test_without_a_keeper_nobody_says_that_the_server_is_gone() -> None:
    current = on_server("web-1")
    picture = draw(current, facts_of(current, keeper=None, state="degraded"), at_us=AT_US)
    assert tier(picture, "database").nodes[0].health == "well"


# Gates and figures


def test_a_held_gate_is_on_the_arrow_with_those_who_wait() -> None:
    current = on_server("web-1", gate="held")
    waiting = msgspec.structs.replace(figures_of(current).nodes[0], held=12)
    figures = msgspec.structs.replace(figures_of(current), nodes=(waiting,))
    gate = arrow(drawn(current, an_engine(), figures=figures), "web", "database")
    assert (gate.gate, gate.waiting) == ("held", 12)
    assert arrow(drawn(on_server("web-1"), an_engine()), "web", "database").gate == "open"


def test_inside_one_box_the_gate_is_on_the_file() -> None:
    part = next(p for p in tier(drawn(a_map("web-1", gate="held")), "web").nodes[0].parts if p.kind == "database")
    assert part.gate == "held"


def test_figures_are_on_arrows_nodes_and_parts() -> None:
    current = on_server("web-1", "web-2", "balancer-1", door="balancer")
    server = NodeFigures("db-1", "database", 9, cpu=1.0, cpu_max=2.0, connections=12)
    picture = drawn(current, an_engine(), figures=figures_of(current, server))
    assert picture.window_s == 1.0
    assert arrow(picture, "users", "balancer").traffic == Traffic(200.0, 0.5, 2.0, 20.0)
    assert arrow(picture, "balancer", "web").traffic == Traffic(200.0, 0.5, 2.0, 20.0)
    assert arrow(picture, "web", "database").traffic == Traffic(200.0, 0.0, 1.5, 9.0), "as measured over all"
    web = tier(picture, "web").nodes[0]
    assert web.values == {
        "cpu": 0.45,
        "cpu_max": 1.0,
        "memory": 90 << 20,
        "in_flight": 0.0,
        "connections": 4.0,
        "queue": 0.0,
        "held": 0.0,
        "pool": 0.0,
        "pool_busy": 0.0,
        "loop_late_ms": 0.0,
        "cache_hits": 0.92,
        "cache_bytes": 3 << 20,
        "rate": 100.0,
        "errors": 0.5,
        "p50_ms": 2.0,
        "p99_ms": 20.0,
    }
    assert tier(picture, "database").nodes[0].values["cpu"] == 1.0
    assert {part.kind: part.traffic.rate for part in web.parts if part.traffic} == {"app": 100.0, "jobs": 5.0}
    assert next(part for part in web.parts if part.kind == "cache").values == {
        "cache_hits": 0.92,
        "cache_bytes": 3 << 20,
    }


def test_web_servers_and_workers_ask_the_database_side_by_side() -> None:
    current = on_server("web-1", "worker-1")
    picture = drawn(current, an_engine(), figures=figures_of(current))
    assert arrow(picture, "web", "database").traffic == Traffic(100.0, 0.0, 1.5, 9.0)
    assert arrow(picture, "worker", "database").traffic == Traffic(10.0, 0.0, 2.0, 12.0)
    assert arrow(picture, "web", "worker").traffic == Traffic(30.0, 0.0, 4.0, 30.0)


def test_while_balancers_and_web_servers_both_accept_users_come_to_both() -> None:
    current = a_map("web-1", "balancer-1", "balancer-2")
    picture = drawn(current, figures=figures_of(current))
    assert [(each.source, each.target) for each in picture.arrows if each.kind == "requests"] == [
        ("users", "balancer"),
        ("balancer", "web"),
        ("users", "web"),
    ]
    through = Traffic(200.0, 0.0, 2.0, 15.0)
    assert arrow(picture, "users", "balancer").traffic == through, "what came through the balancers, not all"
    assert arrow(picture, "balancer", "web").traffic == through


def test_requests_that_wait_at_a_balancer_wait_on_its_arrow() -> None:
    current = a_map("web-1", "balancer-1", door="balancer")
    figures = figures_of(current)
    queued = tuple(msgspec.structs.replace(n, queue=7) if n.role == "balancer" else n for n in figures.nodes)
    picture = drawn(current, figures=msgspec.structs.replace(figures, nodes=queued))
    assert arrow(picture, "balancer", "web").waiting == 7


def test_flows_are_put_together_without_making_the_slowest_faster() -> None:
    both = together([Traffic(300, 1, 2.0, 10.0), None, Traffic(100, 0, 6.0, 8.0), Traffic(5, 0, None, None)])
    assert both == Traffic(405, 1, 3.0, 10.0)
    assert together([None]) is None
    assert together([Traffic(0, 0, 2.0, 3.0)]) == Traffic(0, 0, 2.0, 3.0)


def test_before_there_are_figures_nodes_show_what_they_count_themselves() -> None:
    node = tier(drawn(a_map("web-1"), a_node("web-1", connections=3, in_flight=1)), "web").nodes[0]
    assert node.values == {"connections": 3.0, "in_flight": 1.0}


def test_a_picture_is_json_and_comes_back_the_same() -> None:
    current = on_server("web-1", "worker-1", "balancer-1", door="balancer")
    picture = drawn(current, an_engine(), figures=figures_of(current))
    assert msgspec.json.decode(msgspec.json.encode(picture), type=Picture) == picture


def test_five_hundred_nodes_are_drawn_in_a_moment() -> None:
    current = on_server(*names(["web"], 480), *names(["balancer"], 20), door="balancer")
    picture = drawn(current, an_engine(), figures=figures_of(current))
    assert sum(len(each.nodes) for each in picture.tiers) == 501
    assert len(msgspec.json.encode(picture)) < 250_000
