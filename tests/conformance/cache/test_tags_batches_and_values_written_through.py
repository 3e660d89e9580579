"""Tags drop what they name, a batch is one call, and a value written through is never older than the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from cache_lab import Lab, Tx

from tenfold.blocks.cache import MISSING
from tenfold.core.errors import ContractError

Make = Callable[..., Lab]


def test_a_tag_drops_all_values_that_have_it_and_no_others(lab: Make) -> None:
    async def test() -> None:
        made = lab(tags=["all", "code:{code}", lambda value: [f"owner:{value}"]])
        made.source.rows.update(a="x", b="x", c="y")
        for code in "abc":
            await made.find(code)
        made.cache.drop_tag("owner:x")
        assert [made.find.peek(code) for code in "abc"] == [MISSING, MISSING, "y"]
        await made.find("a")
        made.cache.drop_tag("code:a")
        assert [made.find.peek(code) for code in "ac"] == [MISSING, "y"]
        made.cache.drop_tag("all")
        assert made.cache.stats().entries == 0
        assert len(made.cache._tags) == 0, "the index forgets what has left"

    asyncio.run(test())


def test_a_tag_goes_with_the_transaction(lab: Make) -> None:
    async def test() -> None:
        made, tx = lab(tags=["all"]), Tx()
        await made.find("a")
        made.cache.invalidate_tag(tx, "all")
        assert made.find.peek("a") is not MISSING
        tx.commit()
        assert made.find.peek("a") is MISSING

    asyncio.run(test())


def test_a_load_that_began_before_its_tag_was_dropped_is_neither_stored_nor_joined(lab: Make) -> None:
    async def test() -> None:
        made = lab(tags=[lambda value: [f"owner:{value}"]])
        made.source.rows["a"] = 1
        made.source.hold()
        before = asyncio.create_task(made.find("a"))
        await made.source.began(1)
        made.cache.drop_tag("owner:1")
        made.source.rows["a"] = 2
        after = asyncio.create_task(made.find("a"))
        await made.source.began(2)
        made.source.let_go(0)
        assert await before == 1
        assert made.find.peek("a") is MISSING
        made.source.let_go(1)
        assert await after == 2
        assert made.find.peek("a") == 2

    asyncio.run(test())


def test_another_process_drops_a_tag_here(lab: Make) -> None:
    async def test() -> None:
        one, two = lab(tags=["shop:7"]), lab(tags=["shop:7"])
        one.cache.announce = two.cache.heard
        await two.find("a")
        one.cache.drop_tag("shop:7")
        assert two.find.peek("a") is MISSING

    asyncio.run(test())


@pytest.mark.parametrize("tag", ["", "a b", "a|b", "x" * 201, "é"])
def test_what_is_no_tag_is_refused(lab: Make, tag: str) -> None:
    made = lab()
    with pytest.raises(ContractError, match="is not a tag"):
        made.cache.drop_tag(tag)


def test_arguments_with_strange_characters_make_different_tags(lab: Make) -> None:
    async def test() -> None:
        made = lab(tags=["code:{code}"])
        for code in ("a/b", "a.2Fb", "a b"):
            await made.find(code)
        made.cache.drop_tag("code:a.2Fb")
        assert [made.find.peek(code) is MISSING for code in ("a/b", "a.2Fb", "a b")] == [True, False, False]

    asyncio.run(test())


# -- batches ----------------------------------------------------------------------------------------------------------


def test_many_keys_are_one_call_of_the_batch_loader(lab: Make) -> None:
    async def test() -> None:
        made = lab()
        calls: list[list[Any]] = []

        @made.find.batch
        async def find_all(codes: list[Any]) -> dict[Any, Any]:
            calls.append(list(codes))
            return {code: code.upper() for code in codes if code != "z"}

        made.source.rows["a"] = "kept"
        assert await made.find("a") == "kept"
        assert await made.find.many(["b", "a", "c", "b", "z"]) == {"b": "B", "a": "kept", "c": "C", "z": None}
        assert calls == [["b", "c", "z"]]
        assert made.find.peek("b") == "B"
        assert made.find.peek("z") is None
        assert await made.find.many(["b", "c"]) == {"b": "B", "c": "C"}
        assert len(calls) == 1

    asyncio.run(test())


def test_a_key_that_is_dropped_while_its_batch_loads_is_not_stored_and_the_others_are(lab: Make) -> None:
    async def test() -> None:
        made = lab()
        gate = asyncio.get_running_loop().create_future()

        @made.find.batch
        async def find_all(codes: list[Any]) -> dict[Any, Any]:
            await gate
            return dict.fromkeys(codes, "old")

        asked = asyncio.create_task(made.find.many(["a", "b"]))
        for _ in range(5):
            await asyncio.sleep(0)
        made.cache.drop(made.find, "a")
        gate.set_result(None)
        assert await asked == {"a": "old", "b": "old"}
        assert made.find.peek("a") is MISSING
        assert made.find.peek("b") == "old"

    asyncio.run(test())


def test_single_readers_join_a_batch_and_a_batch_joins_single_loads(lab: Make) -> None:
    async def test() -> None:
        made = lab()
        calls: list[list[Any]] = []

        @made.find.batch
        async def find_all(codes: list[Any]) -> dict[Any, Any]:
            calls.append(list(codes))
            await asyncio.sleep(0)
            return dict.fromkeys(codes, "batch")

        made.source.rows["s"] = "single"
        made.source.hold()
        single = asyncio.create_task(made.find("s"))
        await made.source.began(1)
        together = asyncio.create_task(made.find.many(["s", "t"]))
        await asyncio.sleep(0)
        joined = asyncio.create_task(made.find("t"))
        await asyncio.sleep(0)
        made.source.let_go()
        assert await together == {"s": "single", "t": "batch"}
        assert (await single, await joined) == ("single", "batch")
        assert calls == [["t"]]

    asyncio.run(test())


def test_a_batch_that_fails_fails_for_all_of_its_keys_and_stores_nothing(lab: Make) -> None:
    async def test() -> None:
        made = lab()

        @made.find.batch
        async def find_all(codes: list[Any]) -> dict[Any, Any]:
            raise RuntimeError("away")

        with pytest.raises(RuntimeError, match="away"):
            await made.find.many(["a", "b"])
        assert made.cache.stats().entries == 0

    asyncio.run(test())


def test_without_a_batch_loader_many_is_each_of_them(lab: Make) -> None:
    async def test() -> None:
        made = lab()
        made.source.rows.update(a=1, b=2)
        assert await made.find.many(["a", "b", "a"]) == {"a": 1, "b": 2}
        assert sorted(made.source.loads) == ["a", "b"]

    asyncio.run(test())


# -- write-through ----------------------------------------------------------------------------------------------------


def test_a_value_written_through_is_there_after_the_commit_and_not_before(lab: Make) -> None:
    async def test() -> None:
        made, tx = lab(), Tx()
        made.source.rows["a"] = 1
        assert await made.find("a") == 1
        made.cache.write(tx, made.find, 2, "a")
        assert made.find.peek("a") == 1
        tx.commit()
        assert made.find.peek("a") == 2
        assert made.source.loads == ["a"]

    asyncio.run(test())


def test_a_load_under_way_does_not_overwrite_what_was_written_through(lab: Make) -> None:
    async def test() -> None:
        made, tx = lab(), Tx()
        made.source.rows["a"] = 1
        made.source.hold()
        reader = asyncio.create_task(made.find("a"))
        await made.source.began(1)
        made.cache.write(tx, made.find, 2, "a")
        tx.commit()
        made.source.let_go()
        assert await reader == 1
        assert made.find.peek("a") == 2

    asyncio.run(test())


@pytest.mark.parametrize("other", ["write", "drop", "heard", "missed", "tag", "tag heard"])
def test_two_changes_at_once_leave_nothing_because_nobody_knows_which_came_last(lab: Make, other: str) -> None:
    async def test() -> None:
        made, one, two = lab(tags=["all", lambda value: [f"owner:{value}"]]), Tx(), Tx()
        made.cache.write(one, made.find, 1, "a")
        if other == "write":
            made.cache.write(two, made.find, 2, "a")
            two.commit()
        elif other == "drop":
            made.cache.drop(made.find, "a")
        elif other == "tag":
            made.cache.drop_tag("owner:1")
        else:
            heard = {"heard": ["link:{code}|link:a"], "missed": None, "tag heard": ["#|owner:1"]}
            made.cache.heard(heard[other])
        one.commit()
        assert made.find.peek("a") is MISSING

    asyncio.run(test())


def test_a_body_that_was_rolled_back_leaves_no_trace(lab: Make) -> None:
    async def test() -> None:
        made, tx = lab(), Tx()
        made.cache.write(tx, made.find, 1, "a")
        del tx
        later = Tx()
        made.cache.write(later, made.find, 2, "a")
        later.commit()
        assert made.find.peek("a") == 2
        assert not len(made.cache._around.pending) > 1

    asyncio.run(test())
