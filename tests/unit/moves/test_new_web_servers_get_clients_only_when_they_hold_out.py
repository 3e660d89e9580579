"""Bad code, clients that stay, migrations that fail, many servers: what the moves of the web tier do about each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fake_tier import Run, Scene, check_run, converge_scene
from scenes import (
    DEPLOY_TWO,
    DEPLOY_WORKERS,
    FEWER_WORKERS,
    FIRST_WORKERS,
    LAST_WORKER,
    PUT,
    SCALE_DOWN,
    SCALE_UP,
    TAKE,
    balanced,
    deployed,
    one_web,
    put,
    scaled,
    take,
    with_workers,
    worked,
)

from tenfold.moves.base import Kind, State
from tenfold.moves.driver import say
from tenfold.moves.nodes.policy import AT_ONCE


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


def ended(runner: asyncio.Runner, scene: Scene, at: dict[int, str] | None = None) -> Run:
    run = converge_scene(runner, scene, at or {})
    check_run(run)
    return run


def began(run: Run) -> list[str]:
    """The stages that were begun."""
    return [record.data["stage"] for record in run.journal.records if record.kind == Kind.INTENT]


@pytest.mark.parametrize("before", [one_web("v1"), balanced(2, "v1")], ids=["door", "balanced"])
@pytest.mark.parametrize("lives_s", [0.0, 2.0, 5.0, 5.4])
def test_a_version_that_dies_early_never_meets_a_client(runner: asyncio.Runner, before: Any, lives_s: float) -> None:
    run = ended(runner, deployed("bad", before, "v2", bad={"v2": lives_s}))
    assert run.state.result == "undone"
    assert began(run)[-1] == ("start" if lives_s < 0.5 else "settle")
    assert ("web-" in run.state.reason) == (lives_s > 0) or "ended before it was ready" in run.state.reason


@pytest.mark.parametrize("what", ["crash", "late", "keeper", "resume"])
def test_nor_when_the_mover_is_disturbed_on_top(runner: asyncio.Runner, what: str) -> None:
    scene = deployed("bad", balanced(2, "v1"), "v2", bad={"v2": 5.0})
    for point in range(1, ended(runner, scene).world.points + 1, 2):
        run = ended(runner, scene, {point: what})
        assert run.state.result == "undone"
        assert not any(node.traffic == "on" and node.version == "v2" for each in run.world.maps.values()
                       for node in each.of_role("web"))  # fmt: skip


def test_the_old_servers_go_on_until_the_new_ones_have_said_that_they_accept(runner: asyncio.Runner) -> None:
    maps = list(ended(runner, DEPLOY_TWO).world.maps.values())
    traffic = [{node.name: node.traffic for node in each.of_role("web")} for each in maps]
    assert traffic == [
        {"web-1": "on", "web-2": "on"},
        {"web-1": "on", "web-2": "on", "web-3": "off", "web-4": "off"},
        {"web-1": "on", "web-2": "on", "web-3": "on", "web-4": "on"},
        {"web-1": "off", "web-2": "off", "web-3": "on", "web-4": "on"},
        {"web-3": "on", "web-4": "on"},
    ]


def traffic_of(run: Run) -> list[dict[str, str]]:
    """Who had traffic in each map."""
    return [{node.name: node.traffic for node in each.nodes} for each in run.world.maps.values()]


def test_workers_get_jobs_when_they_are_ready_and_the_web_server_is_left_alone(runner: asyncio.Runner) -> None:
    run = ended(runner, FIRST_WORKERS)
    assert traffic_of(run) == [
        {"web-1": "on"},
        {"web-1": "on", "worker-1": "off", "worker-2": "off"},
        {"web-1": "on", "worker-1": "on", "worker-2": "on"},
    ]
    assert not any("web-1" in each for each in run.world.trail)
    assert {node.address for node in run.world.map.of_role("worker")} == {""}


def test_the_last_worker_leaves_once_it_gets_no_more_jobs(runner: asyncio.Runner) -> None:
    run = ended(runner, LAST_WORKER)
    assert [each.get("worker-1") for each in traffic_of(run)] == ["on", "off", None]
    trail = run.world.trail
    assert not any(each.startswith(("stop web-", "start web-")) for each in trail)


def test_a_deploy_replaces_a_worker_as_it_does_a_web_server(runner: asyncio.Runner) -> None:
    run = ended(runner, DEPLOY_WORKERS)
    assert traffic_of(run)[1:-1] == [
        {"web-1": "on", "worker-1": "on", "web-2": "off", "worker-2": "off"},
        {"web-1": "on", "worker-1": "on", "web-2": "on", "worker-2": "on"},
        {"web-1": "off", "worker-1": "off", "web-2": "on", "worker-2": "on"},
    ]
    assert run.world.migrated == [("v2", "expand"), ("v2", "contract")]
    trail = run.world.trail
    assert trail.index("stopped worker-1") < trail.index("migrate contract")


def test_a_worker_that_is_left_alone_has_to_be_ready(runner: asyncio.Runner) -> None:
    trail = ended(runner, FEWER_WORKERS).world.trail
    run = ended(runner, FEWER_WORKERS, {trail.index("before move.intent switch") + 1: "kill worker-1"})
    assert run.state.result == "undone"
    assert "None of worker-1 is ready" in run.state.reason


def test_a_worker_that_stands_still_keeps_no_balancers_from_coming(runner: asyncio.Runner) -> None:
    assert ended(runner, put("put", with_workers(one_web(), 1)), {1: "nap worker-1"}).finished


def test_workers_are_scaled_while_a_web_server_is_down(runner: asyncio.Runner) -> None:
    scene = worked("more", with_workers(balanced(2), 1), 2)
    trail = ended(runner, scene).world.trail
    assert ended(runner, scene, {trail.index("before move.intent switch") + 1: "kill web-1"}).finished


def test_migrations_run_before_the_first_new_process_and_after_the_last_old_one(runner: asyncio.Runner) -> None:
    run = ended(runner, DEPLOY_TWO)
    assert run.world.migrated == [("v2", "expand"), ("v2", "contract")]
    trail = run.world.trail
    assert trail.index("migrated expand") < trail.index("start web-3")
    assert trail.index("stopped web-2") < trail.index("migrate contract")


def test_an_expansion_that_fails_starts_nothing(runner: asyncio.Runner) -> None:
    run = ended(runner, deployed("no-expand", balanced(2, "v1"), "v2", failing=("expand",)))
    assert (run.state.result, began(run)) == ("undone", ["expand"])


def test_a_contraction_that_fails_is_told_and_does_not_keep_the_move_open(runner: asyncio.Runner) -> None:
    run = ended(runner, deployed("no-contract", balanced(2, "v1"), "v2", failing=("contract",)))
    assert run.finished
    assert run.world.trail.count("migrate contract") == 3


def test_a_contraction_without_a_keeper_waits_for_one(runner: asyncio.Runner) -> None:
    at = ended(runner, DEPLOY_TWO).world.trail.index("migrate contract") + 1
    run = ended(runner, DEPLOY_TWO, {at: "keeper"})
    assert run.finished
    assert run.world.migrated[-1] == ("v2", "contract")


def test_clients_that_stay_for_ever_are_waited_for_as_long_as_the_limit_says(runner: asyncio.Runner) -> None:
    run = ended(runner, put("clinging", one_web(), clinging=True))
    assert run.finished
    limit_s = run.scene.before.web.drain_limit_s
    assert limit_s < run.world.now < limit_s + 10


@pytest.mark.parametrize("scene", [DEPLOY_TWO, SCALE_DOWN, TAKE], ids=lambda scene: scene.name)
def test_a_server_that_clients_do_not_leave_is_killed_at_the_limit(runner: asyncio.Runner, scene: Scene) -> None:
    clinging = Scene(scene.name, scene.make, scene.before, scene.wanted, clinging=True)
    assert ended(runner, clinging).finished


def test_many_servers_start_a_few_at_a_time_and_end_all_at_once(runner: asyncio.Runner) -> None:
    grown = ended(runner, scaled("grow", balanced(2), 64))
    assert grown.finished
    assert grown.world.most_at_once == AT_ONCE
    shrunk = ended(runner, scaled("shrink", balanced(64), 1))
    assert shrunk.finished
    assert shrunk.world.now < 30


def test_servers_that_serve_go_on_when_nothing_would_be_left(runner: asyncio.Runner) -> None:
    """web-1 is to stay alone, and it is not there at the moment when the others are to leave."""
    scene = scaled("to-one", balanced(3), 1)
    trail = ended(runner, scene).world.trail
    run = ended(runner, scene, {trail.index("before move.intent switch") + 1: "kill web-1"})
    assert run.state.result == "undone"
    assert "None of web-1 is ready" in run.state.reason


@pytest.mark.parametrize("scene", [DEPLOY_TWO, SCALE_UP], ids=lambda scene: scene.name)
def test_a_balancer_that_does_not_answer_is_started_anew_and_never_ignored(
    runner: asyncio.Runner, scene: Scene
) -> None:
    at = ended(runner, scene).world.trail.index("before move.intent switch") + 1
    run = ended(runner, scene, {at: "nap balancer-1"})
    assert run.finished
    assert "stopped balancer-1" in run.world.trail
    assert "stopped balancer-2" not in run.world.trail


def test_a_balancer_that_answers_and_refuses_the_map_serves_on_and_the_move_is_undone(runner: asyncio.Runner) -> None:
    at = ended(runner, DEPLOY_TWO).world.trail.index("before move.intent switch") + 1
    run = ended(runner, DEPLOY_TWO, {at: "refuse balancer-1"})
    assert run.state.result == "undone"
    assert "balancer-1 does not take over map" in run.state.reason
    assert "stop balancer-1" not in run.world.trail


def test_a_balancer_that_stands_still_does_not_keep_balancers_from_being_taken_away(runner: asyncio.Runner) -> None:
    assert ended(runner, take("take", balanced(1)), {3: "nap balancer-1"}).finished


def test_an_abort_while_new_servers_settle_leaves_the_old_ones_untouched(runner: asyncio.Runner) -> None:
    at = ended(runner, DEPLOY_TWO).world.trail.index("after move.intent settle") + 2
    run = ended(runner, DEPLOY_TWO, {at: "abort"})
    assert run.state.result == "undone"
    assert not any(each.startswith(("stop web-1", "stop web-2")) for each in run.world.trail)


@pytest.mark.parametrize(
    "scene", [PUT, TAKE, DEPLOY_TWO, SCALE_UP, SCALE_DOWN, FIRST_WORKERS, DEPLOY_WORKERS], ids=lambda scene: scene.name
)
def test_a_plan_says_every_stage_and_touches_nothing(runner: asyncio.Runner, scene: Scene) -> None:
    world = scene.world({})
    move = scene.move(world, 1)
    lines = runner.run(say(move))
    assert world.points == 0
    assert all(line.says.endswith(".") and not line.holds_writes for line in lines)
    assert sum(line.decides for line in lines) == 1
    state = State(id="m", stages=tuple(stage.name for stage in move.stages))
    assert [line.stage for line in lines] == list(state.stages)


class Told:
    """Progress that is kept."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.lines: list[tuple[str, int, int]] = []

    def say(self, doing: str, *, done: int = 0, total: int = 0, unit: str = "", rate: float = 0.0) -> None:
        self.lines.append((doing, done, total))

    def fact(self, name: str, value: Any) -> None:
        self.facts[name] = value


def told(runner: asyncio.Runner, scene: Scene) -> Told:
    """What a move tells while nothing disturbs it."""
    found = Told()

    async def all_of_it() -> None:
        for stage in scene.move(scene.world({}), 1).stages:
            await stage.do(found)

    runner.run(all_of_it())
    return found


def test_a_deploy_tells_what_it_waits_for_and_how_long_it_took(runner: asyncio.Runner) -> None:
    found = told(runner, DEPLOY_TWO)
    assert ("web-3 is ready", 1, 2) in found.lines or ("web-4 is ready", 1, 2) in found.lines
    assert [line for line in found.lines if line[0] == "The new code has to live for a while"][-1][1:] == (5, 6)
    assert found.facts["ended"] == {"web-1": "drained", "web-2": "drained"}
    assert 0 < found.facts["started_s"] < 5
    assert 0 < found.facts["left_s"] < 5
    assert "migration_left" not in found.facts


def test_what_was_killed_at_its_limit_and_what_could_not_be_migrated_is_in_the_record(runner: asyncio.Runner) -> None:
    scene = deployed("both", balanced(2, "v1"), "v2", failing=("contract",), clinging=True)
    found = told(runner, scene)
    assert found.facts["ended"] == {"web-1": "killed", "web-2": "killed"}
    assert found.facts["migration_left"].startswith("The migration contract fails here.")


@pytest.mark.parametrize("contracts", [True, False])
def test_a_second_half_of_a_migration_that_is_empty_costs_no_process(runner: asyncio.Runner, contracts: bool) -> None:
    scene = deployed("both", balanced(2, "v1"), "v2", contracts=contracts)
    migrated = ended(runner, scene).world.migrated
    assert migrated == [("v2", "expand"), ("v2", "contract")][: 1 + contracts]


def test_clients_that_are_left_past_the_balancers_are_counted(runner: asyncio.Runner) -> None:
    assert told(runner, PUT).facts["connections_left"] == 0
    clinging = told(runner, put("clinging", one_web(), clinging=True)).facts
    assert clinging["connections_left"] == 3
    assert clinging["waited_s"] >= 30
