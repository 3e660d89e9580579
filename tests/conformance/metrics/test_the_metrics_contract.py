from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from databases import Kit
from sqlalchemy import MetaData

from tenfold.blocks.database import Database, DatabaseConfig, Transaction
from tenfold.blocks.metrics import Metrics
from tenfold.blocks.metrics.store import Store
from tenfold.core.clock import ManualClock
from tenfold.core.errors import Unavailable
from tenfold.core.randomness import SeededRandomness

DAY_S = 86_400


class Shop:
    """Some processes of one service on one database, with one clock that tests move."""

    def __init__(self, database: Database, config: DatabaseConfig) -> None:
        self.database = database
        self.config = config
        self.clock = ManualClock()
        self.processes = [self.another(seed) for seed in range(2)]

    def another(self, seed: int) -> Metrics:
        made = Metrics(self.database, self.clock, SeededRandomness(seed))
        made.count("links", labels=("plan",))
        made.sum("revenue", unit="eur")
        made.unique("active")
        made.visits("returning", within=3)
        return made

    async def values(self, name: str, days: int = 1, **labels: object) -> list[Any]:
        return [day.value for day in await self.processes[0].read(name, days=days, **labels)]

    async def flush(self) -> None:
        for each in self.processes:
            await each.flush()


def in_shop(kit: Kit, folder: Path, test: Callable[[Shop], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        database = Database(MetaData())
        config = kit.create(folder, database.metadata, **settings)
        await database.start(config, print)
        try:
            await test(Shop(database, config))
        finally:
            await database.stop()

    asyncio.run(run())


def rows(kit: Kit, table: str) -> int:
    prefix = "" if kit.capabilities.parallel_writers is False else "tf."
    return int(kit.elsewhere(f"SELECT count(*) FROM {prefix}{table}"))


def test_what_several_processes_count_is_one_number_a_day(kit: Kit, tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        for day in range(3):
            for each in shop.processes:
                each.count("links", labels=("plan",)).add(day + 1, plan="free")
                each.count("links", labels=("plan",)).add(plan="team")
                each.sum("revenue").add("0.10")
                each.sum("revenue").add(Decimal("-0.03"))
            await shop.flush()
            shop.clock.advance(DAY_S)
        assert await shop.values("links", days=4) == [4, 6, 8, 0]
        assert await shop.values("links", days=4, plan="free") == [2, 4, 6, 0]
        assert await shop.values("links", days=4, plan="nobody") == [0, 0, 0, 0]
        assert await shop.values("revenue", days=4) == [Decimal("0.14")] * 3 + [0]
        read = await shop.processes[1].read("links", days=400)
        assert len(read) == 400
        assert [(day.day.isoformat(), day.value) for day in read[-2:]] == [("2023-11-16", 8), ("2023-11-17", 0)]

    in_shop(kit, tmp_path, test)


def test_writing_again_and_again_counts_once(kit: Kit, tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        links = shop.processes[0].count("links", labels=("plan",))
        for _ in range(5):
            links.add(2, plan="free")
            await asyncio.gather(*(shop.processes[0].flush() for _ in range(3)))
        assert await shop.values("links") == [10]
        assert rows(kit, "tf_metric") == 1, "one row for a process, a label set and a day"

    in_shop(kit, tmp_path, test)


def test_reading_has_what_this_process_counted_a_moment_ago(kit: Kit, tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        shop.processes[0].sum("revenue").add(990)
        assert await shop.values("revenue") == [990]

    in_shop(kit, tmp_path, test)


def test_users_of_several_processes_are_counted_once(kit: Kit, tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        one, other = (each.unique("active") for each in shop.processes)
        for number in range(300):
            one.add(f"user {number}")
            other.add(f"user {number + 100}")
        await shop.flush()
        assert await shop.values("active") == [400], "exact while they are few"
        for number in range(6000):
            one.add(f"more {number}")
        await shop.flush()
        estimate = (await shop.values("active"))[0]
        assert abs(estimate / 6400 - 1) < 0.05
        shop.clock.advance(DAY_S)
        one.add("user 1")
        await shop.flush()
        assert await shop.values("active", days=2) == [estimate, 1], "each day begins anew"

    in_shop(kit, tmp_path, test)


def test_a_return_is_a_visit_after_an_earlier_day(kit: Kit, tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        visits = [each.visits("returning", within=3) for each in shop.processes]
        found = []
        for users in (["a", "b"], ["a"], ["c"], [], ["a", "b"], ["a", "a"]):
            for each in visits:  # all processes see them all
                for user in users:
                    each.add(user)
            await shop.flush()
            await shop.flush()
            found.append((await shop.values("returning"))[0])
            shop.clock.advance(DAY_S)
        # On day 4, a was here three days before (counted), b four days before (not any more).
        assert found == [0, 1, 0, 0, 1, 1], found
        assert await shop.values("returning", days=7) == [*found, 0]
        await shop.processes[0].tidy()
        assert rows(kit, "tf_metric_visitor") == 2, "who was not here for longer than that is forgotten"

    in_shop(kit, tmp_path, test)


def test_money_in_a_transaction_is_counted_when_it_commits_and_only_then(kit: Kit, tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        revenue = shop.processes[0].sum("revenue", unit="eur")
        links = shop.processes[0].count("links", labels=("plan",))

        @shop.database.transaction()
        async def pay(tx: Transaction, amount: str, *, fails: bool) -> None:
            await revenue.add_in(tx, amount)
            await links.add_in(tx, plan="team")
            if fails:
                raise Unavailable("The till is closed.")

        await asyncio.gather(*(pay("0.1", fails=False) for _ in range(10)))
        for _ in range(3):
            with pytest.raises(Unavailable):
                await pay("1000", fails=True)
        entries = rows(kit, "tf_metric_entry")
        assert entries == 20, "a row each: nobody waits for a row of another"
        # Another process sees them, before and after they are added up.
        assert (await shop.processes[1].read("revenue", days=1))[0].value == Decimal("1.0")
        await shop.flush()
        assert rows(kit, "tf_metric_entry") == 0
        await pay("2.5", fails=False)
        revenue.add("0.01")
        assert await shop.values("revenue") == [Decimal("3.51")]
        assert await shop.values("links", plan="team") == [11]

    in_shop(kit, tmp_path, test)


def test_entries_of_a_process_that_died_are_added_up_by_another(kit: Kit, tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        dead = shop.another(77)
        pay = shop.database.transaction()(lambda_body(dead))
        await pay("5")
        await shop.processes[0].flush()
        await shop.processes[0].tidy()
        await shop.processes[0].flush()
        assert rows(kit, "tf_metric_entry") == 0
        assert await shop.values("revenue") == [Decimal(5)]

    in_shop(kit, tmp_path, test)


def lambda_body(metrics: Metrics) -> Any:
    async def pay(tx: Transaction, amount: str) -> None:
        await metrics.sum("revenue").add_in(tx, amount)

    return pay


def test_parts_of_past_days_become_one_and_nothing_of_them_is_lost(kit: Kit, tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        shop.processes += [shop.another(seed) for seed in range(10, 14)]
        for each in shop.processes:
            each.sum("revenue").add("0.01")
            each.unique("active").add("same")
            each.unique("active").add(str(id(each)))
        await shop.flush()
        before = [await shop.values(name) for name in ("revenue", "active")]
        assert before == [[Decimal("0.06")], [7]]
        shop.clock.advance(3 * DAY_S)
        assert rows(kit, "tf_metric") == 12
        await asyncio.gather(*(each.tidy() for each in shop.processes))
        assert rows(kit, "tf_metric") == 2
        assert [(await shop.values(name, days=4))[:1] for name in ("revenue", "active")] == before

    in_shop(kit, tmp_path, test)


def test_a_day_on_which_a_metric_became_another_kind_is_merged_once_and_not_for_ever(kit: Kit, tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        changed = Metrics(shop.database, shop.clock, SeededRandomness(99))
        changed.sum("links", labels=("plan",)).add(5, plan="free")
        shop.processes[0].count("links", labels=("plan",)).add(2, plan="free")
        await shop.flush()
        await changed.flush()
        store = Store(shop.database, SeededRandomness(5), "tidies")
        assert await store.join(before=10**6) == 0, "one part of each kind"
        assert rows(kit, "tf_metric") == 2
        shop.processes[1].count("links", labels=("plan",)).add(1, plan="free")
        await shop.flush()
        assert [await store.join(before=10**6) for _ in range(2)] == [1, 0]
        assert rows(kit, "tf_metric") == 2
        assert await shop.values("links") == [3]

    in_shop(kit, tmp_path, test)


def test_a_process_that_slept_over_the_merging_of_its_part_adds_only_what_is_new(kit: Kit, tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        for each in shop.processes:
            each.sum("revenue").add(5)
            await each.flush()
        shop.clock.advance(3 * DAY_S)
        await shop.processes[1].tidy()
        assert rows(kit, "tf_metric") == 1, "the parts are one now"
        shop.clock.step_wall(-3 * DAY_S)  # and its clock is set back to the day that was merged
        for total in (11, 12, 13):
            shop.processes[0].sum("revenue").add(1)
            assert await shop.values("revenue") == [total]

    in_shop(kit, tmp_path, test)


def test_days_that_nobody_reads_any_more_are_dropped(kit: Kit, tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        shop.processes[0].sum("revenue").add(1)
        await shop.flush()
        shop.clock.advance(801 * DAY_S)
        await shop.processes[0].tidy()
        assert rows(kit, "tf_metric") == 0

    in_shop(kit, tmp_path, test)


def test_a_clock_that_steps_over_midnight_and_back_loses_nothing(kit: Kit, tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        links, active = shop.processes[0].count("links", labels=("plan",)), shop.processes[0].unique("active")
        for step in (0, DAY_S, -DAY_S, DAY_S, -DAY_S):
            shop.clock.step_wall(step)
            links.add()
            active.add("a")
            active.add(f"{step}")
            await shop.flush()
        assert await shop.values("links") == [3]
        assert await shop.values("active") == [3]
        shop.clock.step_wall(DAY_S)
        assert await shop.values("links", days=2) == [3, 2]

    in_shop(kit, tmp_path, test)


def test_what_the_database_did_not_take_is_written_later(kit: Kit, tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        one = shop.processes[0]
        one.sum("revenue").add(1)
        one.unique("active").add("a")
        one.visits("returning", within=3).add("a")
        shop.database.adopt(replace(shop.config, epoch=2, held=True))
        for _ in range(2):
            with pytest.raises(Unavailable):
                await one.flush()
            one.sum("revenue").add(1)
        shop.database.adopt(replace(shop.config, epoch=3, hold_s=25.0))
        assert await shop.values("revenue") == [3]
        assert await shop.values("active") == [1]
        assert one.stats().flushes_failed == 2

    in_shop(kit, tmp_path, test, hold_s=0.05)


def test_between_start_and_stop_it_is_written_by_itself_and_stop_writes_the_rest(kit: Kit, tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        one = shop.processes[0]
        await one.start()
        one.sum("revenue").add(7)
        async with asyncio.timeout(10):
            while not one.stats().flushes:
                await asyncio.sleep(0.01)
        assert rows(kit, "tf_metric") == 1
        one.sum("revenue").add(1)
        await one.stop()
        await one.stop()
        assert (await shop.processes[1].read("revenue", days=1))[0].value == 8

    in_shop(kit, tmp_path, test)


def test_a_failure_that_nobody_foresaw_does_not_end_the_writing(
    kit: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(shop: Shop) -> None:
        one, fails = shop.processes[0], 2
        real = one._store.write

        async def write(writes: Any) -> Any:
            nonlocal fails
            fails -= 1
            if fails >= 0:
                raise RuntimeError("unforeseen")
            return await real(writes)

        monkeypatch.setattr(one._store, "write", write)
        monkeypatch.setattr("tenfold.blocks.metrics.FLUSH_EVERY_S", 0.01)
        await one.start()
        one.sum("revenue").add(7)
        async with asyncio.timeout(10):
            while not one.stats().flushes:
                await asyncio.sleep(0.01)
        await one.stop()
        assert await shop.values("revenue") == [7]
        assert one.stats().flushes_failed == 2

    in_shop(kit, tmp_path, test)
    assert caplog.text.count("could not be written down") == 1


def test_two_processes_that_note_the_same_first_visit_at_once_both_succeed(kit: Kit, tmp_path: Path) -> None:
    async def test(shop: Shop) -> None:
        for each in shop.processes:
            for number in range(200):
                each.visits("returning", within=3).add(number)
        await asyncio.gather(*(each.flush() for each in shop.processes))
        shop.clock.advance(DAY_S)
        for each in shop.processes:
            for number in range(200):
                each.visits("returning", within=3).add(number)
        await asyncio.gather(*(each.flush() for each in shop.processes))
        assert await shop.values("returning", days=2) == [0, 200]

    in_shop(kit, tmp_path, test)
