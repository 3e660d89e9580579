"""Grace, soft timeouts, refresh-ahead and remembered failures: what is served when a load is late or fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from cache_lab import Lab

from tenfold.core.errors import TenfoldError, Unavailable

Make = Callable[..., Lab]


class Down(Exception):
    """The source is away."""


def failing(lab: Lab) -> Any:
    async def load(key: Any) -> Any:
        lab.source.loads.append(key)
        raise Down(key)

    return load


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def run(test: Callable[[Lab], Any], make: Make, **options: Any) -> None:
    asyncio.run(test(make(jitter=0.0, **options)))


def test_a_value_stands_in_for_a_load_that_fails_until_its_grace_ends(lab: Make) -> None:
    async def test(lab: Lab) -> None:
        lab.source.rows["a"] = 1
        assert await lab.find("a") == 1
        lab.source.load = failing(lab)  # type: ignore[method-assign]
        lab.clock.advance(100)
        assert await lab.find("a") == 1
        assert await lab.find("a") == 1, "within `again` nobody asks"
        assert lab.source.loads == ["a", "a"]
        lab.clock.advance(1.5)
        assert await lab.find("a") == 1
        assert len(lab.source.loads) == 3
        lab.clock.advance(50)
        with pytest.raises(Down):
            await lab.find("a")
        assert lab.cache.stats().stale == 2

    run(test, lab, grace=50)


def test_without_a_grace_a_failed_load_is_a_failure(lab: Make) -> None:
    async def test(lab: Lab) -> None:
        lab.source.rows["a"] = 1
        await lab.find("a")
        lab.source.load = failing(lab)  # type: ignore[method-assign]
        lab.clock.advance(100)
        with pytest.raises(Down):
            await lab.find("a")

    run(test, lab)


def test_what_was_dropped_is_never_served_whatever_the_grace(lab: Make) -> None:
    async def test(lab: Lab) -> None:
        lab.source.rows["a"] = 1
        await lab.find("a")
        lab.cache.drop(lab.find, "a")
        lab.source.load = failing(lab)  # type: ignore[method-assign]
        with pytest.raises(Down):
            await lab.find("a")

    run(test, lab, grace=50)


def test_what_is_dropped_while_its_load_fails_is_not_served(lab: Make) -> None:
    async def test(lab: Lab) -> None:
        lab.source.rows["a"] = 1
        await lab.find("a")
        lab.clock.advance(100)
        gate = asyncio.get_running_loop().create_future()

        async def load(key: Any) -> Any:
            await gate

        lab.source.load = load  # type: ignore[method-assign]
        reader = asyncio.create_task(lab.find("a"))
        await settled()
        lab.cache.drop(lab.find, "a")
        gate.set_exception(Down("a"))
        with pytest.raises(Down):
            await reader

    run(test, lab, grace=50)


def test_a_load_beyond_the_soft_timeout_goes_on_beside_those_who_have_the_old_value(lab: Make) -> None:
    async def test(lab: Lab) -> None:
        lab.source.rows["a"] = 1
        await lab.find("a")
        lab.clock.advance(100)
        lab.source.rows["a"] = 2
        lab.source.hold()
        assert await lab.find("a") == 1
        assert await lab.find("a") == 1, "the second joins the same load"
        assert lab.source.loads == ["a", "a"]
        lab.source.let_go()
        await settled()
        assert lab.find.peek("a") == 2

    run(test, lab, grace=50, soft_timeout=0.01)


def test_a_soft_timeout_does_not_cut_a_first_load(lab: Make) -> None:
    async def test(lab: Lab) -> None:
        lab.source.rows["a"] = 1
        lab.source.hold()
        reader = asyncio.create_task(lab.find("a"))
        await lab.source.began(1)
        await asyncio.sleep(0.03)
        assert not reader.done()
        lab.source.let_go()
        assert await reader == 1

    run(test, lab, grace=50, soft_timeout=0.01)


def test_a_value_is_loaded_anew_beside_its_readers_before_it_ends(lab: Make) -> None:
    async def test(lab: Lab) -> None:
        lab.source.rows["a"] = 1
        await lab.find("a")
        lab.source.rows["a"] = 2
        lab.clock.advance(79)
        assert await lab.find("a") == 1
        assert lab.source.loads == ["a"]
        lab.clock.advance(2)
        assert lab.find.peek("a") == 1
        assert await lab.find("a") == 1
        await settled()
        assert lab.source.loads == ["a", "a"]
        assert await lab.find("a") == 2
        lab.clock.advance(60)
        assert await lab.find("a") == 2
        assert lab.cache.stats().refreshes == 1

    run(test, lab, ahead=0.8)


def test_a_refresh_that_fails_is_tried_again_and_harms_nobody(lab: Make) -> None:
    async def test(lab: Lab) -> None:
        lab.source.rows["a"] = 1
        await lab.find("a")
        lab.source.load = failing(lab)  # type: ignore[method-assign]
        lab.clock.advance(85)
        assert await lab.find("a") == 1
        await settled()
        assert await lab.find("a") == 1
        assert len(lab.source.loads) == 2
        lab.clock.advance(1.1)
        assert await lab.find("a") == 1
        await settled()
        assert len(lab.source.loads) == 3
        lab.clock.advance(20)
        with pytest.raises(Down):
            await lab.find("a")

    run(test, lab, ahead=0.8)


def test_a_refresh_that_races_an_invalidation_is_not_stored(lab: Make) -> None:
    async def test(lab: Lab) -> None:
        lab.source.rows["a"] = 1
        await lab.find("a")
        lab.clock.advance(85)
        lab.source.hold()
        assert await lab.find("a") == 1
        await lab.source.began(1)
        lab.source.rows["a"] = 2
        lab.cache.drop(lab.find, "a")
        lab.source.let_go(0)
        await settled()
        reader = asyncio.create_task(lab.find("a"))
        await lab.source.began(2)
        lab.source.let_go(1)
        assert await reader == 2

    run(test, lab, ahead=0.8)


def test_a_failure_is_remembered_for_its_own_time(lab: Make) -> None:
    async def test(lab: Lab) -> None:
        lab.source.load = failing(lab)  # type: ignore[method-assign]
        for _ in range(3):
            with pytest.raises(Down):
                await lab.find("a")
        assert lab.source.loads == ["a"]
        lab.clock.advance(2)
        with pytest.raises(Down):
            await lab.find("a")
        assert lab.source.loads == ["a", "a"]
        lab.cache.drop(lab.find, "a")
        with pytest.raises(Down):
            await lab.find("a")
        assert len(lab.source.loads) == 3, "an invalidation forgets the failure too"

    run(test, lab, error_ttl=2)


def test_a_loader_that_never_returns_costs_its_readers_the_timeout_or_nothing(lab: Make) -> None:
    async def test(lab: Lab) -> None:
        lab.source.rows["a"] = 1
        await lab.find("a")
        lab.clock.advance(100)
        lab.source.hold()
        assert await lab.find("a") == 1
        with pytest.raises(Unavailable):
            await lab.find("b")
        await asyncio.sleep(0.06)
        assert await lab.find("a") == 1

    run(test, lab, grace=50, soft_timeout=0.01, timeout=0.05)


@pytest.mark.parametrize(
    "options",
    [
        {"grace": -1},
        {"soft_timeout": 1},
        {"soft_timeout": 20, "grace": 5},
        {"ahead": 1.0},
        {"ahead": 0.0},
        {"again": 0},
    ],
)
def test_options_that_contradict_each_other_are_refused(lab: Make, options: dict[str, Any]) -> None:
    with pytest.raises(TenfoldError):
        lab(**options)
