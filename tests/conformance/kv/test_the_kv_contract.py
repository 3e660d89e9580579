"""What keys and values keep on every database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from blocks_lab import Opener, run

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.database.own.kv import VALUE_MAX
from tenfold.blocks.database.scope import RequestScope, enter_scope, leave_scope
from tenfold.blocks.kv import Entry, Kv
from tenfold.core.clock import ManualClock
from tenfold.core.errors import ContractError, InvalidRequest
from tenfold.core.randomness import SeededRandomness

NOW_US = 1_800_000_000_000_000
VALUES: list[Any] = [
    b"",
    b"\x00\xff",
    "",
    "nul\x00 and é",
    "\U0001f600",
    None,
    True,
    0,
    -(2**53),
    1.5,
    [],
    [1, "a", None],
    {"a": {"b": [1]}},
]


def make(database: Database, clock: ManualClock | None = None) -> Kv:
    return Kv(database, clock or ManualClock(NOW_US), SeededRandomness(1))


def test_a_value_comes_back_as_the_kind_that_was_put(open_database: Opener) -> None:
    async def main() -> None:
        async with open_database() as database:
            kv = make(database)
            for number, value in enumerate(VALUES):
                await kv.put(f"k{number}", value)
            for number, value in enumerate(VALUES):
                found = await kv.get(f"k{number}")
                assert found is not None
                assert (type(found.value), found.value) == (type(value), value)
            assert await kv.get("nothing") is None

    run(main())


def test_versions_grow_and_a_delete_does_not_begin_them_anew(open_database: Opener) -> None:
    async def main() -> None:
        async with open_database() as database:
            kv = make(database)
            assert [await kv.put("a", n) for n in range(3)] == [1, 2, 3]
            assert await kv.delete("a")
            assert not await kv.delete("a")
            assert await kv.get("a") is None
            assert await kv.put("a", "again") == 4
            assert await kv.get("a") == Entry("again", 4)

    run(main())


def test_a_compare_and_set_needs_the_very_version(open_database: Opener) -> None:
    async def main() -> None:
        async with open_database() as database:
            kv = make(database)
            assert await kv.cas("a", 1, "no") is None
            assert await kv.cas("a", None, "one") == 1
            assert await kv.cas("a", None, "no") is None
            assert await kv.cas("a", 2, "no") is None
            assert await kv.cas("a", 1, "two") == 2
            assert await kv.get("a") == Entry("two", 2)
            assert not await kv.delete("a", version=1)
            assert await kv.delete("a", version=2)
            assert await kv.cas("a", 2, "of an older life") is None
            assert await kv.cas("a", None, "three") == 3
            assert kv.stats().lost == 4

    run(main())


def test_a_value_is_gone_from_the_microsecond_in_which_it_expires(open_database: Opener) -> None:
    async def main() -> None:
        async with open_database() as database:
            clock = ManualClock(NOW_US)
            kv = make(database, clock)
            await kv.put("a", 1, ttl="10s")
            clock.step_wall(9.999_999)
            assert await kv.get("a") == Entry(1, 1, datetime.fromtimestamp(NOW_US / 1e6 + 10, UTC))
            clock.step_wall(0.000_001)
            assert await kv.get("a") is None
            assert await kv.cas("a", 1, "of what expired") is None
            assert not await kv.delete("a", version=7)
            assert await kv.cas("a", None, 2) == 2
            assert await kv.get("a") == Entry(2, 2)

    run(main())


def test_a_put_without_a_time_to_live_takes_the_one_before_away(open_database: Opener) -> None:
    async def main() -> None:
        async with open_database() as database:
            clock = ManualClock(NOW_US)
            kv = make(database, clock)
            await kv.put("a", 1, ttl=5)
            await kv.put("a", 2)
            clock.step_wall(10**6)
            assert await kv.get("a") == Entry(2, 2)

    run(main())


def test_the_time_to_live_counts_from_the_write_and_not_from_the_call(open_database: Opener) -> None:
    async def main() -> None:
        async with open_database() as database:
            clock = ManualClock(NOW_US)
            kv = make(database, clock)

            @database.transaction(key="user")
            async def late(tx: Transaction, user: str) -> int:
                clock.step_wall(100)  # it was held
                return await kv.in_(tx).put(user, 1, ttl="1s")

            await late("a")
            assert await kv.get("a") is not None

    run(main())


def test_what_expired_is_swept_and_its_version_does_not_come_back(open_database: Opener) -> None:
    async def main() -> None:
        async with open_database() as database:
            clock = ManualClock(NOW_US)
            kv = make(database, clock)
            for number in range(120):
                await kv.put(f"k{number}", 1, ttl="1s")
            await kv.put("k7", 2, ttl="1s")
            await kv.put("stays", 1, ttl="1h")
            assert await kv.sweep() == 0
            clock.step_wall(1)
            assert await kv.sweep() == 120
            clock.step_wall(-86_400)  # and nothing of it comes back when the clock does
            assert [await kv.get(f"k{number}") for number in range(120)] == [None] * 120
            assert await kv.get("stays") is not None
            assert await kv.put("k7", 3) == 3

    run(main())


def test_versions_grow_while_the_clock_goes_back(open_database: Opener) -> None:
    async def main() -> None:
        async with open_database() as database:
            clock = ManualClock(NOW_US)
            kv = make(database, clock)
            seen = []
            for _ in range(6):
                seen.append(await kv.put("a", 1, ttl="1s"))
                clock.step_wall(-3600)
                await kv.delete("a")
            assert seen == sorted(set(seen))

    run(main())


def test_it_takes_part_in_a_transaction_of_the_same_key(open_database: Opener) -> None:
    async def main() -> None:
        async with open_database() as database:
            kv = make(database)

            @database.transaction(key="user")
            async def change(tx: Transaction, user: int, fails: bool) -> int | None:
                inside = kv.in_(tx)
                before = await inside.get("{42}theme")
                version = await inside.cas("{42}theme", before and before.version, {"dark": True})
                assert await inside.get("{42}theme") == Entry({"dark": True}, version or 0)
                await inside.put("42", "the key itself")
                assert await inside.delete("{42}gone")
                if fails:
                    raise ValueError("rolled back")
                return version

            await kv.put("{42}gone", 1)
            with pytest.raises(ValueError, match="rolled back"):
                await change(42, True)
            assert await kv.get("{42}theme") is None
            assert await kv.get("{42}gone") is not None
            assert await change(42, False) == 1
            assert await kv.get("42") == Entry("the key itself", 1)
            assert await kv.get("{42}gone") is None

    run(main())


def test_other_keys_and_transactions_without_a_key_are_refused(open_database: Opener) -> None:
    async def main() -> None:
        async with open_database() as database:
            kv = make(database)

            @database.transaction(key="user")
            async def other(tx: Transaction, user: str) -> int:
                return await kv.in_(tx).put("somebody else's", 1)

            @database.transaction()
            async def at_home(tx: Transaction) -> int:
                return await kv.in_(tx).put("a", 1)

            with pytest.raises(ContractError, match="TF-KEY-2"):
                await other("a")
            with pytest.raises(ContractError, match="TF-KEY-1"):
                await at_home()

    run(main())


def test_a_repeated_request_gets_the_version_of_the_first(open_database: Opener) -> None:
    async def main() -> None:
        async with open_database() as database:
            kv = make(database)
            for _ in range(2):
                entered = enter_scope(RequestScope(idempotency_key="once", fingerprint=b"f" * 32))
                try:
                    assert await kv.cas("a", None, 1) == 1
                finally:
                    leave_scope(entered)
            assert await kv.get("a") == Entry(1, 1)

    run(main())


@pytest.mark.parametrize("consistency", ["session", "strong", "eventual"])
def test_every_consistency_reads_what_this_process_wrote(open_database: Opener, consistency: Any) -> None:
    async def main() -> None:
        async with open_database() as database:
            kv = make(database)
            for number in range(20):
                await kv.put("a", number)
                found = await kv.get("a", consistency=consistency)
                assert found is not None
                assert found.value == number

    run(main())


def test_values_and_keys_up_to_their_bounds_are_kept_and_larger_ones_refused(open_database: Opener) -> None:
    async def main() -> None:
        async with open_database() as database:
            kv = make(database)
            longest = "é" * 256
            await kv.put(longest, b"x" * VALUE_MAX)
            found = await kv.get(longest)
            assert found is not None
            assert len(found.value) == VALUE_MAX
            braced = "{" + "t" * 500 + "}" + "r" * 10
            await kv.put(braced, 1)
            assert await kv.get(braced) == Entry(1, 1)
            for key, value in ((longest + "a", 1), ("a", b"x" * (VALUE_MAX + 1)), ("a", "é" * (VALUE_MAX // 2 + 1))):
                with pytest.raises(InvalidRequest, match="TF-KV-REFUSED"):
                    await kv.put(key, value)
            assert await kv.get("a") is None

    run(main())
