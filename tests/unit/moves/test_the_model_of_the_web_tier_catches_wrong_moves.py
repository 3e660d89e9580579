"""The model of the web tier must be able to fail: moves with one rule less are caught by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from fake_tier import Broken, Scene, check_run, converge_scene
from scenes import (
    DEPLOY_ONE,
    DEPLOY_TWO,
    DEPLOY_WORKERS,
    FIRST_WORKERS,
    LAST_WORKER,
    PUT,
    RENEW_TWO,
    SCALE_DOWN,
    TAKE,
    balanced,
    deployed,
    with_workers,
)

from tenfold.moves.base import Move, Progress
from tenfold.moves.change_nodes import ChangeNodes
from tenfold.moves.context import PublishResult
from tenfold.moves.nodes import maps, policy
from tenfold.moves.nodes.policy import Settling
from tenfold.moves.nodes.tier import Tier
from tenfold.moves.put_balancers import PutBalancers
from tenfold.moves.take_balancers import TakeBalancers


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as made:
        yield made


def caught(runner: asyncio.Runner, scene: Scene, *whats: str) -> bool:
    """Whether an undisturbed run shows that something is wrong, or one that is disturbed (at every point) does."""
    try:
        check_run(converge_scene(runner, scene, {}))
        length = converge_scene(runner, scene, {}).world.points
        for what in whats:
            first, _, then = what.partition(", then ")
            for point in range(1, length + 1):
                for later in range(point + 1, point + 40 if then else point + 2):
                    check_run(converge_scene(runner, scene, {point: first, later: then}))
    except (Broken, AssertionError):
        return True
    return False


BAD = deployed("bad", balanced(2, "v1"), "v2", bad={"v2": 5.0})


@pytest.mark.parametrize("scene", [PUT, TAKE, DEPLOY_TWO, BAD], ids=lambda scene: scene.name)
def test_the_moves_as_they_are_pass(runner: asyncio.Runner, scene: Scene) -> None:
    assert not caught(runner, scene, "fail", "resume")


async def hasty_switch(self: ChangeNodes, progress: Progress) -> None:
    """Old servers lose their clients before new ones have them."""
    await self.tier.publish(lambda current: maps.with_traffic(current, self.change.leaves, "off"), progress)
    await self.tier.publish(lambda current: maps.with_traffic(current, self.change.joins, "on"), progress)


async def eager_announce(self: ChangeNodes, progress: Progress) -> None:
    """New processes get clients and jobs before they run."""
    nodes = self.change.fresh
    await self.tier.publish(
        lambda current: maps.with_more(maps.settings_of(self.change.wanted, current), nodes), progress
    )


async def nothing(self: Any, progress: Progress) -> None:
    """The stage does nothing."""


async def door_first(self: PutBalancers, progress: Progress) -> None:
    """The web servers stop accepting before balancers run."""
    await self.context.publish(lambda current: maps.with_door(current, "balancer"))
    await self.context.publish(lambda current: maps.with_more(current, self.nodes))
    await self.tier.start(self.balancers, progress)


async def forgets_only(self: TakeBalancers, progress: Progress) -> None:
    """The addresses go with the balancers' names, whether one runs again or not; nobody looks for it."""
    await self.context.publish(
        lambda current: maps.with_addresses(
            maps.without(current, self.balancers), {node.name: "" for node in self.before.of_role("web")}
        )
    )


async def recalls_only(self: ChangeNodes, progress: Progress) -> None:
    """New servers that were started again by the map are left running."""
    await self.tier.publish(lambda _current: self.change.before, progress)


async def deaf(self: Tier, change: Any, progress: Progress) -> PublishResult:
    """A balancer that does not answer is ignored."""
    return await self.context.publish(change)


@pytest.mark.parametrize(
    ("owner", "name", "wrong", "scene", "whats"),
    [
        (ChangeNodes, "switch", hasty_switch, DEPLOY_ONE, ()),
        (ChangeNodes, "switch", hasty_switch, DEPLOY_TWO, ()),
        (ChangeNodes, "switch", nothing, DEPLOY_TWO, ()),
        (ChangeNodes, "switch", nothing, SCALE_DOWN, ()),
        (ChangeNodes, "announce", eager_announce, FIRST_WORKERS, ()),
        (ChangeNodes, "switch", hasty_switch, DEPLOY_WORKERS, ()),
        (ChangeNodes, "switch", nothing, LAST_WORKER, ()),
        (ChangeNodes, "return_", nothing, DEPLOY_WORKERS, ("fail",)),
        (ChangeNodes, "switch_back", nothing, DEPLOY_TWO, ("fail",)),
        (ChangeNodes, "return_", nothing, RENEW_TWO, ("fail",)),
        (ChangeNodes, "recall", recalls_only, RENEW_TWO, ("fail, then resume",)),
        (Tier, "publish", deaf, DEPLOY_TWO, ("nap balancer-1",)),
        (PutBalancers, "start", door_first, PUT, ()),
        (PutBalancers, "stop", nothing, PUT, ("fail",)),
        (PutBalancers, "open_web_door", nothing, PUT, ("fail",)),
        (TakeBalancers, "open_web_door", nothing, TAKE, ()),
        (TakeBalancers, "forget", forgets_only, TAKE, ("resume",)),
    ],
    ids=lambda each: getattr(each, "name", getattr(each, "__name__", "")) if not isinstance(each, tuple) else "",
)
def test_a_move_with_one_rule_less_is_caught(
    runner: asyncio.Runner,
    owner: type,
    name: str,
    wrong: Callable[..., Any],
    scene: Scene,
    whats: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owner, name, wrong)
    assert caught(runner, scene, *whats)


def test_code_that_is_trusted_at_once_is_caught(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "settling", lambda *_args, **_named: Settling())
    assert caught(runner, BAD)
    assert caught(runner, deployed("bad", with_workers(balanced(2, "v1"), 1), "v2", bad={"v2": 5.0}))


def test_a_move_that_starts_nothing_before_its_switch_is_caught(runner: asyncio.Runner) -> None:
    def without_start(tier: Tier) -> Move:
        move = DEPLOY_TWO.make(tier)
        return replace(move, stages=tuple(stage for stage in move.stages if stage.name not in ("start", "settle")))

    scene = replace(DEPLOY_TWO, make=without_start)
    run = converge_scene(runner, scene, {})
    assert run.state.result == "undone", "no client is sent to servers that do not run"
    check_run(run)
