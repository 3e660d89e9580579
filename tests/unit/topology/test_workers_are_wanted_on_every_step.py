"""Workers: how many are wanted, which moves lead there, who runs jobs meanwhile, and what the connections carry."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import msgspec
import pytest

from tenfold.core.errors import UsageError
from tenfold.topology.map import Map, NodeMap, ServerMap, map_of
from tenfold.topology.spec import parse_spec
from tenfold.topology.targets import moves_between, target_of, wanted_map
from tenfold.topology.wants import (
    WORKERS_MAX,
    Wants,
    climb_wants,
    descend_wants,
    refuse_small_pool,
    scale_wants,
    wants_of,
    worker_count,
)
from tenfold.topology.working import coded, works

TEXT = '[service]\nname = "shop"\napp = "shop.app:app"\n'
ONE = map_of(parse_spec(TEXT), root="/srv", state="/srv/.tenfold", previous=None)
SERVER = ServerMap("127.0.0.1", 5432, "shop", "shop_web", "secrets/database-web", 16)


def on_server(current: Map, pool: int = 16) -> Map:
    server = msgspec.structs.replace(SERVER, pool=pool)
    database = msgspec.structs.replace(current.database, backend="postgres", server=server, way_back=True)
    return msgspec.structs.replace(current, database=database, step=2)


TWO = on_server(ONE)
THREE = wanted_map(TWO, Wants("postgres", balancers=2))
STEPS = pytest.mark.parametrize("current", [ONE, TWO, THREE], ids=["one", "two", "three"])


def with_workers(current: Map, *names: str, off: tuple[str, ...] = (), version: str = "") -> Map:
    more = (NodeMap(name, "worker", version=version, traffic="off" if name in off else "on") for name in names)
    return msgspec.structs.replace(current, nodes=(*current.nodes, *more))


def names(current: Map, role: str = "worker") -> list[str]:
    return [node.name for node in current.of_role(role)]


def content_of(text: str, current: Map) -> Map:
    return map_of(parse_spec(TEXT + text), root="/srv", state="/srv/.tenfold", previous=current)


@STEPS
def test_workers_come_and_go_on_every_step_and_nothing_else_changes(current: Map) -> None:
    wants = scale_wants(current, wants_of(current), worker=2)
    assert wants == msgspec.structs.replace(wants_of(current), workers=2)
    assert moves_between(current, wants) == ("change_nodes",)
    after = target_of("change_nodes", current, wants)
    assert names(after) == ["worker-1", "worker-2"]
    assert msgspec.structs.replace(after, nodes=current.nodes) == current
    assert [node for node in after.nodes if node.role != "worker"] == list(current.nodes)
    assert wants_of(after) == wants
    assert moves_between(after, wants) == moves_between(after, wants_of(after)) == ()
    none = scale_wants(after, wants_of(after), worker=0)
    assert none == wants_of(current)
    assert target_of("change_nodes", after, none) == current


@STEPS
def test_the_file_says_how_many_until_a_command_does_and_again_when_it_is_edited(current: Map) -> None:
    content = content_of("[workers]\nprocesses = 2\n", current)
    found = wanted_map(current, wants_of(current), content)
    assert (names(found), found.workers.processes) == (["worker-1", "worker-2"], 2)
    none = scale_wants(found, wants_of(found), worker=0)
    assert (none.workers, none.workers_instead_of) == (0, 2)
    assert names(wanted_map(found, none)) == []
    edited = content_of("[workers]\nprocesses = 3\n", found)
    assert worker_count(edited, none) == 3
    assert names(wanted_map(found, none, edited)) == ["worker-1", "worker-2", "worker-3"]


def test_a_first_map_has_the_workers_of_its_file_after_a_move() -> None:
    first = content_of("[workers]\nprocesses = 2\n", ONE)
    assert names(first) == []
    assert names(target_of("change_nodes", first, Wants())) == ["worker-1", "worker-2"]


@STEPS
def test_a_deploy_replaces_web_servers_and_workers(current: Map) -> None:
    before = with_workers(current, "worker-1", "worker-3")
    wants = msgspec.structs.replace(wants_of(before), version="v2")
    after = target_of("change_nodes", before, wants)
    assert names(after) == ["worker-2", "worker-4"]
    assert {node.version for node in coded(after)} == {"v2"}
    assert not set(coded(after)) & set(before.nodes)
    assert all(node.address == "" for node in after.of_role("worker"))


def test_a_worker_with_another_version_or_without_work_is_replaced() -> None:
    for before in (
        with_workers(ONE, "worker-1", version="v9"),
        with_workers(ONE, "worker-1", "worker-2", off=("worker-1",)),
    ):
        wants = wants_of(before)
        after = wanted_map(before, wants)
        assert moves_between(before, wants) == ("change_nodes",)
        assert "worker-1" not in names(after)
        assert len(names(after)) == 1
        assert names(after, "web") == ["web-1"]


@pytest.mark.parametrize("first", [(), ("climb",), ("climb", "climb")])
def test_steps_leave_the_workers_alone(first: tuple[str, ...]) -> None:
    current = wanted_map(ONE, scale_wants(ONE, wants_of(ONE), worker=3))
    for _ in first:
        climbed = wanted_map(current, climb_wants(current, None))
        current = on_server(climbed) if climbed.database.backend == "postgres" else climbed
    assert len(names(current)) == 3
    down = wanted_map(current, descend_wants(current, None)) if first else current
    assert len(names(down)) == 3


@pytest.mark.parametrize("number", [-1, WORKERS_MAX + 1, 10_000])
def test_a_number_of_workers_that_cannot_be(number: int) -> None:
    with pytest.raises(UsageError) as caught:
        scale_wants(ONE, wants_of(ONE), worker=number)
    assert caught.value.code == "TF-SCALE"
    assert caught.value.message == f"shop cannot run {number} workers: it runs 0 to 64."
    assert "worker=2" in caught.value.hint


def test_web_servers_and_workers_are_scaled_in_one_command() -> None:
    wants = scale_wants(THREE, wants_of(THREE), web=4, worker=2)
    assert (wants.web, wants.workers) == (4, 2)
    after = wanted_map(THREE, wants)
    assert (len(names(after, "web")), len(names(after))) == (4, 2)
    with pytest.raises(UsageError, match="no load balancer yet"):
        scale_wants(ONE, wants_of(ONE), web=4, worker=2)


def test_more_processes_than_the_pool_carries_are_refused_with_the_pool_that_would() -> None:
    assert scale_wants(THREE, wants_of(THREE), worker=6).workers == 6
    with pytest.raises(UsageError) as caught:
        scale_wants(THREE, wants_of(THREE), worker=7)
    assert caught.value.code == "TF-SCALE"
    assert caught.value.message == (
        "2 web servers and 7 workers need 18 connections for transactions, and database.pool is 16."
    )
    assert "pool = 18" in caught.value.hint
    assert scale_wants(ONE, wants_of(ONE), worker=64).workers == 64, "a file has no connections"
    refuse_small_pool(1, 7, 16)


def test_a_step_that_adds_web_servers_is_refused_when_the_pool_is_too_small_for_them_and_the_workers() -> None:
    current = wanted_map(TWO, scale_wants(TWO, wants_of(TWO), worker=7))
    with pytest.raises(UsageError, match="2 web servers and 7 workers need 18"):
        climb_wants(current, None)
    climb_wants(on_server(current, 18), None)


Traffic = Literal["on", "off"]


def run_by(current: Map) -> set[str]:
    return {node.name for node in current.nodes if works(current, node.name)}


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ((("web-1", "on"), ("web-2", "on")), {"web-1", "web-2"}),
        ((("web-1", "on"), ("web-2", "off")), {"web-1"}),
        ((("web-1", "on"), ("worker-1", "off")), {"web-1"}),
        ((("web-1", "on"), ("worker-1", "on")), {"worker-1"}),
        ((("web-1", "on"), ("worker-1", "on"), ("worker-2", "off")), {"worker-1"}),
        ((("web-1", "on"), ("worker-1", "on"), ("worker-2", "on"), ("balancer-1", "on")), {"worker-1", "worker-2"}),
    ],
)
def test_who_runs_jobs(nodes: tuple[tuple[str, Traffic], ...], expected: set[str]) -> None:
    made = tuple(NodeMap(name, name.split("-")[0], traffic=traffic) for name, traffic in nodes)
    assert run_by(msgspec.structs.replace(ONE, nodes=made)) == expected


def test_outside_of_a_deployment_a_process_runs_its_own_jobs() -> None:
    assert works(None, "")
    assert works(ONE, "")
    assert not works(ONE, "web-9"), "a process that has left the map does not"


def test_somebody_runs_jobs_at_every_moment_of_every_way() -> None:
    """Whatever a move turns on before it turns something off, there is somebody."""
    for web, worker in itertools.product(("on", "off"), ("on", "off")):
        nodes: Any = (NodeMap("web-1", "web", traffic=web), NodeMap("worker-1", "worker", traffic=worker))
        current = msgspec.structs.replace(ONE, nodes=nodes)
        assert bool(run_by(current)) is ("on" in (web, worker))
