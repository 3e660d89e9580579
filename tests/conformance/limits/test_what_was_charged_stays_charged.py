"""Over restarts, from one process to several and back, and under a new map: nothing that was charged is forgotten."""

from __future__ import annotations

import asyncio

import pytest
from blocks_lab import Opener, run
from limits_lab import Process, Town

from tenfold.blocks.limits import sharing
from tenfold.topology.limits import LimitMap

DAY = {"a": ("20/day", 20), "b": ("5/day", 5)}


async def until_settled(process: Process, *, shared: bool) -> None:
    sharing = process.limits._sharing
    while sharing.on != shared or not sharing._handed_over:
        await asyncio.sleep(0.001)


def test_a_process_that_ends_leaves_its_charges_to_the_next(opener: Opener) -> None:
    town = Town(opener, DAY)

    async def main() -> None:
        async with town.processes(1) as (one,):
            assert await one.burst("a", 12) == 12
            assert one.limits.charge((one.rules["b"], ("user", "ann"), 4)).allowed
        async with town.processes(1) as (next_one,):
            assert not next_one.limits._sharing.on
            assert not next_one.limits.charge((next_one.rules["b"], ("user", "ann"), 2)).allowed
            assert await next_one.burst("a", 20) == 8

    run(main())


def test_from_one_process_to_several_and_back(opener: Opener) -> None:
    town = Town(opener, DAY)

    async def main() -> None:
        async with town.processes(1) as (one,):
            assert await one.burst("a", 6) == 6
            one.limits._sharing.adopt(2)
            assert await one.burst("a", 2) == 2, "at once, without a pause"
            await until_settled(one, shared=True)
            async with opener() as database, town.process(database, 2, 2) as two:
                assert await two.burst("a", 5) == 5
                assert await one.burst("a", 3) == 3
            one.limits._sharing.adopt(1)
            await until_settled(one, shared=False)
            assert one.limits.charge((one.rules["a"], "k", 2)).allowed
            assert await one.burst("a", 20) == 2

    run(main())


def test_going_alone_under_load_forgets_no_charge(opener: Opener) -> None:
    town = Town(opener, {"a": ("2/day", 400)})

    async def main() -> None:
        async with town.processes(1, among=2) as (one,):
            allowed = 0

            async def load() -> None:
                nonlocal allowed
                while (await one.take("a")).allowed:
                    allowed += 1
                    await asyncio.sleep(0)

            tasks = [asyncio.create_task(load()) for _ in range(4)]
            while allowed < 40:
                await asyncio.sleep(0.001)
            one.limits._sharing.adopt(1)
            await until_settled(one, shared=False)
            assert allowed < 400, "it went alone under load"
            await asyncio.gather(*tasks)
            assert allowed == 400

    run(main())


def test_keys_that_do_not_come_by_are_handed_over_too(opener: Opener) -> None:
    town = Town(opener, DAY)

    async def main() -> None:
        async with town.processes(1) as (one,):
            for number in range(30):
                assert await one.burst("b", 5, key=f"k{number}") == 5
            one.limits._sharing.adopt(2)
            await until_settled(one, shared=True)
            async with opener() as database, town.process(database, 2, 2) as two:
                assert [await two.burst("b", 1, key=f"k{number}") for number in range(30)] == [0] * 30

    run(main())


def test_charges_of_others_are_forgotten_once_they_are_over(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "FORGET_S", 0.001)
    town = Town(opener, {"a": ("1/second", 20), "b": ("5/day", 5)})

    async def main() -> None:
        async with town.processes(1) as (one,):
            for number in range(3):
                assert await one.burst("a", 5, key=f"k{number}") == 5
            assert await one.burst("b", 5) == 5
        async with town.processes(1) as (alone,):
            assert [len(alone.rules[name].unclaimed) for name in "ab"] == [3, 1]
            town.clock.advance(6.0)
            async with asyncio.timeout(10):
                while alone.rules["a"].unclaimed:
                    await asyncio.sleep(0.001)
            assert len(alone.rules["b"].unclaimed) == 1
            assert await alone.burst("b", 1) == 0

    run(main())


def test_a_new_map_changes_the_terms_for_all_and_what_was_charged_stays(opener: Opener) -> None:
    town = Town(opener, DAY)

    async def main() -> None:
        async with town.processes(2) as (one, two):
            assert await one.burst("a", 15) == 15
            for process in (one, two):
                process.limits.rules.adopt([LimitMap("a", "40/hour", burst=30)], round(town.clock.monotonic() * 1e9))
            assert await one.burst("a", 40) + await two.burst("a", 40) == 15

    run(main())


def test_the_clock_of_the_database_may_be_set_back(opener: Opener) -> None:
    town = Town(opener, DAY)

    async def main() -> None:
        async with town.processes(2) as (one, two):
            assert await one.burst("a", 15) == 15
            town.clock.step_wall(-7 * 86_400)
            assert await two.burst("a", 20) == 5, "neither more nor less"
            town.clock.advance(86_400 / 2)
            assert await one.burst("a", 20) == 10, "and it comes back as before"

    run(main())
