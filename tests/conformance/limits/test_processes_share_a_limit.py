"""What several processes on one database keep together: never more than the limit, and hardly less."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from blocks_lab import Opener, run
from limits_lab import Process, Town
from sqlalchemy import select

from tenfold.blocks.database.own.limits import tf_limit
from tenfold.blocks.database.scope import RequestScope, enter_scope, leave_scope
from tenfold.blocks.limits import shared
from tenfold.blocks.limits.policy import Terms, lease_size
from tenfold.core.errors import ContractError, Unavailable

NS = 10**9


def test_of_a_small_limit_exactly_so_many_pass_however_many_processes_ask(opener: Opener) -> None:
    town = Town(opener, {"a": ("60/minute", 20)})

    async def main() -> None:
        async with town.processes(4) as processes:
            assert sum(await asyncio.gather(*(each.burst("a", 25) for each in processes))) == 20
            town.clock.advance(4.999)
            assert sum(await asyncio.gather(*(each.burst("a", 25) for each in processes))) == 4
            town.clock.advance(0.001)
            assert sum(await asyncio.gather(*(each.burst("a", 25) for each in processes))) == 1
            town.clock.advance(20.0)
            for number in range(20):
                assert (await processes[number % 4].take("a")).allowed
            refused = await processes[0].take("a")
            assert (refused.allowed, refused.retry_after_s) == (False, 1.0)

    run(main())


@pytest.mark.parametrize("seed", range(3))
def test_prepaid_tokens_never_add_up_to_more_and_waste_no_more_than_one_lease_each(opener: Opener, seed: int) -> None:
    town, draw = Town(opener, {"a": ("2000/second", 1000)}), random.Random(seed)
    terms = Terms(NS // 2000, 1000)
    spent: list[tuple[int, int]] = []

    async def main() -> None:
        async with town.processes(4) as processes:
            for _ in range(40):
                asked = [draw.randint(0, 120) for _ in processes]
                passed = sum(await asyncio.gather(*(p.burst("a", n) for p, n in zip(processes, asked, strict=True))))
                spent.append((town.clock.wall_us() * 1000, passed))
                if draw.random() < 0.2:
                    await draw.choice(processes).settle()
                town.clock.advance(draw.choice([0.0, 0.001, 0.02, 0.3, 1.1]))
            town.clock.advance(5.0)
            assert sum(await asyncio.gather(*(p.burst("a", 500) for p in processes))) >= 1000 - 4 * lease_size(terms)

    assert lease_size(terms) == 20
    run(main(), 120)
    for first, (from_ns, _) in enumerate(spent):
        tokens = 0
        for at_ns, number in spent[first:]:
            tokens += number
            assert tokens * terms.interval_ns <= terms.tolerance_ns + at_ns - from_ns


def test_several_limits_are_charged_together_or_not_at_all(opener: Opener) -> None:
    town = Town(opener, {"wide": ("10/day", 10), "tight": ("2/day", 2)})

    async def main() -> None:
        async with town.processes(2) as (one, two):
            calls = [process.take("wide", "tight") for process in (one, two) for _ in range(5)]
            assert sum(decision.allowed for decision in await asyncio.gather(*calls)) == 2
            town.clock.advance(1.0)
            await asyncio.gather(one.settle(), two.settle())
            assert await one.burst("wide", 5) + await two.burst("wide", 5) == 8, "refused charges came back"

    run(main())


def test_a_weighted_charge_takes_all_it_weighs(opener: Opener) -> None:
    town = Town(opener, {"a": ("10/day", 10)})

    async def main() -> None:
        async with town.processes(2) as (one, two):
            assert (await one.take("a", cost=7)).remaining == 3
            assert not (await two.take("a", cost=4)).allowed
            assert (await two.take("a", cost=3)).allowed
            with pytest.raises(ContractError, match="could never pass"):
                await one.take("a", cost=11)

    run(main())


def test_keys_are_counted_apart_and_no_key_is_stored_as_it_is(opener: Opener) -> None:
    town = Town(opener, {"a": ("1/day", 1)})
    keys = ["203.0.113.9", "", "\x00\n", "ü" * 9000, "\ud800", "x"]

    async def main() -> None:
        async with town.processes(2) as (one, two), opener() as database:
            for key in keys:
                assert (await one.take("a", key=key)).allowed
                assert not (await two.take("a", key=key)).allowed
            async with database.fanout() as db:
                names = [row.name for row in await db.all(select(tf_limit.c.name))]
            assert len(names) == len(keys)
            assert all(name.startswith("a/") and len(name) == 34 for name in names)

    run(main())


def test_a_refusal_is_remembered_until_it_may_pass(opener: Opener) -> None:
    town = Town(opener, {"a": ("60/hour", 1)})

    async def main() -> None:
        async with town.processes(2) as (one, two):
            assert (await two.take("a")).allowed
            assert not (await one.take("a")).allowed
            asked = count_questions(one)
            for _ in range(50):
                assert not (await one.take("a")).allowed
            assert asked == []
            town.clock.advance(60.0)
            assert (await one.take("a")).allowed

    run(main())


def count_questions(process: Process) -> list[Any]:
    rows, asked = process.limits._sharing.shared.rows, list[Any]()
    lease = rows.lease

    async def counted(*args: Any) -> Any:
        asked.append(args)
        return await lease(*args)

    rows.lease = counted  # type: ignore[method-assign]
    return asked


def test_a_process_that_ends_gives_back_what_it_did_not_spend(opener: Opener) -> None:
    town = Town(opener, {"a": ("2000/second", 1000)})

    async def main() -> None:
        async with town.processes(1, among=2) as (first,):
            assert (await first.take("a")).allowed
            (purse,) = first.limits._sharing.shared._purses.values()
            assert purse.left == 20, "it holds a lease"
        async with town.processes(1, among=2) as (second,):
            assert await second.burst("a", 1100) == 999

    run(main())


def test_a_request_that_is_sent_again_with_its_key_is_charged_again(opener: Opener) -> None:
    town = Town(opener, {"a": ("2/day", 2)})

    async def main() -> None:
        async with town.processes(2) as (one, _):
            allowed = []
            for _ in range(3):
                entered = enter_scope(scope := RequestScope(idempotency_key="same", fingerprint=b"x" * 32))
                try:
                    allowed.append((await one.take("a")).allowed)
                finally:
                    leave_scope(entered)
                assert scope.next_ordinal("transaction") == 0, "the request's own transactions keep their numbers"
            assert allowed == [True, True, False]

    run(main())


def test_a_charge_inside_a_transaction_is_a_mistake_on_every_step(opener: Opener) -> None:
    town = Town(opener, {"a": ("2/day", 2)})

    async def main() -> None:
        async with opener() as database:
            for among in (1, 2):
                async with town.process(database, 1, among) as process:

                    @database.transaction()
                    async def body(tx: Any, process: Process = process) -> None:
                        await process.take("a")

                    with pytest.raises(ContractError, match="TF-LIMIT-TX"):
                        await body()

    run(main())


def test_the_synchronous_form_says_that_it_does_not_suffice(opener: Opener) -> None:
    town = Town(opener, {"a": ("2/day", 2)})

    async def main() -> None:
        async with town.processes(2) as (one, _):
            with pytest.raises(ContractError, match="TF-LIMIT-SHARED"):
                one.limits.charge((one.rules["a"], "k"))

    run(main())


def test_a_caller_that_leaves_takes_no_token_with_it(opener: Opener) -> None:
    town = Town(opener, {"a": ("5/day", 5)})

    async def main() -> None:
        async with town.processes(2) as (one, two):
            calls = [asyncio.create_task(one.take("a")) for _ in range(3)]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            town.clock.advance(1.0)
            shared_part = one.limits._sharing.shared
            while shared_part._tasks:
                await asyncio.wait(set(shared_part._tasks))
            await one.settle()
            assert await two.burst("a", 9) == 5

    run(main())


@pytest.mark.parametrize(("policy", "allowed"), [("open", 40), ("closed", 0), ("local", 5)])
def test_without_the_database_each_rule_says_what_happens(opener: Opener, policy: str, allowed: int) -> None:
    town = Town(opener, {"a": ("1/day", 20)}, {"when_away": policy})

    async def main() -> None:
        async with town.processes(1, among=4) as (one,):
            rows = one.limits._sharing.shared.rows
            there, rows.lease = rows.lease, away  # type: ignore[method-assign]
            assert await one.burst("a", 40) == allowed
            assert one.limits.stats().local == 40
            decision = await one.take("a")
            assert decision.local
            rows.lease = there  # type: ignore[method-assign]
            town.clock.advance(shared.PROBE_S + 0.01)
            await one.take("a")
            while one.limits.stats().away:
                await asyncio.sleep(0.001)
            assert await one.burst("a", 40) == 20, "and then the database decides again"

    run(main())


async def away(*_: Any) -> Any:
    raise Unavailable("The database is away.")


def test_a_database_that_hangs_keeps_a_request_waiting_only_once(
    opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = Town(opener, {"a": ("1/day", 8)})
    monkeypatch.setattr(shared, "AWAY_AFTER_S", 0.05)

    async def main() -> None:
        async with town.processes(1, among=4) as (one,):
            going_on = asyncio.Event()
            rows = one.limits._sharing.shared.rows
            lease = rows.lease

            async def hangs(*args: Any) -> Any:
                await going_on.wait()
                return await lease(*args)

            rows.lease = hangs  # type: ignore[method-assign]
            began = asyncio.get_running_loop().time()
            assert (await one.take("a")).local
            assert [(await one.take("a", key=f"k{n}")).allowed for n in range(100)] == [True] * 100
            assert asyncio.get_running_loop().time() - began < 2.0
            going_on.set()

    run(main())


def test_leases_are_spent_while_the_database_is_away(opener: Opener) -> None:
    town = Town(opener, {"a": ("2000/second", 1000)}, {"when_away": "closed"})

    async def main() -> None:
        async with town.processes(1, among=2) as (one,):
            assert (await one.take("a")).allowed
            one.limits._sharing.shared.rows.lease = away  # type: ignore[method-assign]
            assert [await one.burst("a", 1) for _ in range(30)] == [1] * 20 + [0] * 10

    run(main())


def test_rows_of_full_buckets_are_removed(opener: Opener) -> None:
    town = Town(opener, {"a": ("1/second", 5)})

    async def main() -> None:
        async with town.processes(2) as (one, _):
            await asyncio.gather(*(one.take("a", key=f"k{number}") for number in range(10)))
            town.clock.advance(3.9)
            assert await one.limits._sharing.shared.rows.forget() == 0
            town.clock.advance(0.2)
            assert await one.limits._sharing.shared.rows.forget() == 10

    run(main())
