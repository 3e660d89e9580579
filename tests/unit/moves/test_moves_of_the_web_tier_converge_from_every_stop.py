"""`put_balancers`, `take_balancers` and `change_nodes` are stopped, fail, are aborted, lose processes at every point.

At each moment somebody serves the public door and no client meets a server that is not ready; what is left is exactly
the wanted or exactly the old topology.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest
from fake_tier import Run, Scene, check_run, converge_scene
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import (
    DEPLOY_ONE,
    DEPLOY_TWO,
    PUT,
    RENEW_TWO,
    SCALE_DOWN,
    SCALE_UP,
    SCENES,
    TAKE,
    WORKER_SCENES,
    balanced,
    deployed,
    one_web,
    put,
    scaled,
    take,
    with_workers,
)

MOVER = ("crash", "fail", "late", "abort")
WORLD = ("resume", "keeper", "reboot")
OTHER_ORDER = (
    deployed("deploy-two-other-order", balanced(2, "v1"), "v2", balancers_first=True),
    put("put-other-order", one_web(), balancers_first=True),
    take("take-other-order", balanced(1), balancers_first=True),
    scaled("scale-other-order", balanced(3), 2, balancers_first=True),
)
"""Web servers adopt a map before the balancers do, or after them."""
ALL = (*SCENES, *WORKER_SCENES, put("put-before-worker", with_workers(one_web(), 1)))


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


def points(runner: asyncio.Runner, scene: Scene, at: dict[int, str] | None = None) -> int:
    """How many points a run passes."""
    return converge_scene(runner, scene, at or {}).world.points


def nodes_of(scene: Scene) -> list[str]:
    return sorted({node.name for each in (scene.before, scene.wanted) for node in each.nodes})


def checked(runner: asyncio.Runner, scene: Scene, at: dict[int, str]) -> Run:
    run = converge_scene(runner, scene, at)
    check_run(run)
    return run


def any_scene(*scenes: Scene) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("scene", scenes or ALL, ids=lambda scene: scene.name)


@any_scene(*ALL, *OTHER_ORDER)
def test_an_undisturbed_move_brings_the_wanted_topology(runner: asyncio.Runner, scene: Scene) -> None:
    assert checked(runner, scene, {}).finished


@pytest.mark.parametrize("what", MOVER)
@any_scene()
def test_disturbed_once_at_every_point(runner: asyncio.Runner, scene: Scene, what: str) -> None:
    ends = [checked(runner, scene, {point: what}).finished for point in range(1, points(runner, scene) + 1)]
    if what == "crash":
        assert all(ends), "a crash alone never undoes anything"
    else:
        assert not all(ends), "some of it is undone"
        assert ends[-1], "and at the end nothing is"


@pytest.mark.parametrize("what", WORLD)
@any_scene()
def test_the_keeper_the_controller_or_all_of_it_starts_anew(runner: asyncio.Runner, scene: Scene, what: str) -> None:
    for point in range(1, points(runner, scene) + 1, 3):
        checked(runner, scene, {point: what})


@pytest.mark.parametrize("what", ["kill", "nap", "refuse"])
@any_scene()
def test_any_process_is_killed_stands_still_or_refuses_the_map(runner: asyncio.Runner, scene: Scene, what: str) -> None:
    nodes = nodes_of(scene)
    for turn, point in enumerate(range(1, points(runner, scene) + 1, 3)):
        checked(runner, scene, {point: f"{what} {nodes[turn % len(nodes)]}"})


def test_a_single_kill_after_the_switch_never_brings_the_old_servers_back(runner: asyncio.Runner) -> None:
    undisturbed = converge_scene(runner, DEPLOY_TWO, {})
    switched = undisturbed.world.trail.index("after move.done switch") + 1
    for point in range(switched, undisturbed.world.points + 1):
        for name in ("web-1", "web-3", "balancer-1"):
            assert checked(runner, DEPLOY_TWO, {point: f"kill {name}"}).finished


@st.composite
def disturbances(draw: st.DrawFn) -> tuple[Scene, dict[int, str]]:
    scene = draw(st.sampled_from((*ALL, *OTHER_ORDER)))
    whats = [*MOVER, *WORLD, *(f"{what} {name}" for what in ("kill", "nap", "refuse") for name in nodes_of(scene))]
    return scene, draw(st.dictionaries(st.integers(1, 160), st.sampled_from(whats), min_size=2, max_size=6))


@given(found=disturbances())
@settings(deadline=None, max_examples=120)
def test_any_sequence_of_disturbances_converges(runner: asyncio.Runner, found: tuple[Scene, dict[int, str]]) -> None:
    checked(runner, *found)


@pytest.mark.long
@pytest.mark.parametrize("pair", list(itertools.product(["crash", "fail", "abort"], repeat=2)), ids="-".join)
@any_scene(PUT, TAKE, SCALE_UP, SCALE_DOWN, RENEW_TWO, DEPLOY_ONE, *WORKER_SCENES)
def test_disturbed_at_every_point_and_again_during_what_follows(
    runner: asyncio.Runner, scene: Scene, pair: tuple[str, str]
) -> None:
    first, second = pair
    length = points(runner, scene)
    for one in range(1, length + 1):
        for other in range(one + 1, points(runner, scene, {one: first}) + 1, max(1, length // 25)):
            checked(runner, scene, {one: first, other: second})


@pytest.mark.long
@any_scene()
def test_any_process_falls_out_at_any_point(runner: asyncio.Runner, scene: Scene) -> None:
    for point in range(1, points(runner, scene) + 1):
        for what, name in itertools.product(("kill", "nap", "refuse"), nodes_of(scene)):
            checked(runner, scene, {point: f"{what} {name}"})
        for what in WORLD:
            checked(runner, scene, {point: what})
