"""The cache suite, second part: invalidation, bounds and failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from cache_lab import Lab, Tx, run, turns

from tenfold.blocks.cache import MISSING, KeyRefused
from tenfold.core.errors import ContractError, Unavailable, UsageError


def test_an_invalidation_takes_effect_with_the_commit(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        it.source.rows["a"] = "old"
        await it.find("a")
        tx = Tx()
        it.cache.invalidate(tx, it.find, "a")
        assert it.find.peek("a") == "old"
        it.source.rows["a"] = "new"
        tx.commit()
        assert it.find.peek("a") is MISSING
        assert await it.find("a") == "new"

    run(body())


def test_a_transaction_that_does_not_commit_invalidates_nothing(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        it.source.rows["a"] = "old"
        await it.find("a")
        it.cache.invalidate(Tx(), it.find, code="a")
        assert it.find.peek("a") == "old"

    run(body())


@pytest.mark.parametrize("how", ["invalidate", "drop", "clear"])
def test_a_load_that_began_before_is_not_stored_and_not_joined_by_later_readers(
    lab: Callable[..., Lab], how: str
) -> None:
    async def body() -> None:
        it = lab()
        it.source.rows["a"] = "old"
        it.source.hold()
        before = asyncio.create_task(it.find("a"))
        await it.source.began(1)
        if how == "invalidate":
            it.commit("a", "new")
        else:
            it.source.rows["a"] = "new"
            it.cache.drop(it.find, "a") if how == "drop" else it.cache.clear()
        after = asyncio.create_task(it.find("a"))
        await it.source.began(2)
        it.source.let_go(0)
        assert await before == "old"
        assert it.find.peek("a") is MISSING
        it.source.let_go(1)
        assert await after == "new"
        assert it.find.peek("a") == "new"

    run(body())


def test_an_old_load_that_ends_last_does_not_replace_the_new_value(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        it.source.rows["a"] = "old"
        it.source.hold()
        before = asyncio.create_task(it.find("a"))
        await it.source.began(1)
        it.commit("a", "new")
        after = asyncio.create_task(it.find("a"))
        await it.source.began(2)
        it.source.let_go(1)
        assert await after == "new"
        it.source.let_go(0)
        assert await before == "old"
        assert await it.find("a") == "new"

    run(body())


def test_an_invalidation_of_another_key_leaves_a_load_alone(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        it.source.rows["a"] = "url"
        it.source.hold()
        reader = asyncio.create_task(it.find("a"))
        await it.source.began(1)
        it.commit("b", "other")
        it.source.let_go()
        await reader
        assert it.find.peek("a") == "url"

    run(body())


def test_refresh_loads_anew_and_readers_keep_the_old_value_meanwhile(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        it.source.rows["a"] = "old"
        await it.find("a")
        it.source.rows["a"] = "new"
        it.source.hold()
        refreshing = asyncio.create_task(it.cache.refresh(it.find, "a"))
        await it.source.began(1)
        assert await it.find("a") == "old"
        it.source.let_go()
        assert await refreshing == "new"
        assert it.find.peek("a") == "new"

    run(body())


def test_refresh_does_not_join_a_load_that_began_earlier(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        it.source.rows["a"] = "old"
        it.source.hold()
        early = asyncio.create_task(it.find("a"))
        await it.source.began(1)
        it.source.rows["a"] = "new"
        refreshing = asyncio.create_task(it.cache.refresh(it.find, "a"))
        await it.source.began(2)
        it.source.let_go(1)
        assert await refreshing == "new"
        it.source.let_go(0)
        assert await early == "old"
        assert it.find.peek("a") == "new"

    run(body())


def test_a_refresh_that_fails_leaves_the_old_value(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        answers: list[Any] = ["old"]

        @it.cache.read("odd:{code}", ttl=100)
        async def odd(code: str) -> Any:
            return answers.pop()

        await odd("a")
        with pytest.raises(IndexError):
            await it.cache.refresh(odd, "a")
        assert odd.peek("a") == "old"

    run(body())


def test_a_refresh_that_finds_none_with_no_time_for_none_forgets_the_old_value(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab(none_ttl=0)
        it.source.rows["a"] = "old"
        await it.find("a")
        it.source.rows["a"] = None
        assert await it.cache.refresh(it.find, "a") is None
        assert it.find.peek("a") is MISSING

    run(body())


def test_reading_through_the_cache_inside_a_transaction_is_refused_hit_or_miss(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        it.source.rows["a"] = "url"
        await it.find("a")
        it.in_transaction = True
        for reading in (it.find("a"), it.find("b"), it.cache.refresh(it.find, "a")):
            with pytest.raises(ContractError, match=r"TF-CACHE-TX.*find reads through the cache inside a transaction"):
                await reading
        it.in_transaction = False
        assert it.source.loads == ["a"]

    run(body())


def test_a_loader_that_asks_for_its_own_key_is_told_so(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()

        @it.cache.read("self:{code}", ttl=100)
        async def own(code: str) -> Any:
            return await own(code)

        with pytest.raises(ContractError, match=r"TF-CACHE-CIRCLE.*self:a asks for its own key"):
            await own("a")

    run(body())


@pytest.mark.parametrize("how", ["drop", "refresh"])
def test_dropping_or_refreshing_its_own_key_does_not_hide_the_circle(lab: Callable[..., Lab], how: str) -> None:
    async def body() -> None:
        it = lab()

        @it.cache.read("self:{code}", ttl=100)
        async def own(code: str) -> Any:
            if how == "refresh":
                return await it.cache.refresh(own, code)
            it.cache.drop(own, code)
            return await own(code)

        with pytest.raises(ContractError, match="TF-CACHE-CIRCLE"):
            await own("a")

    run(body())


def test_a_circle_through_other_loaders_and_other_tasks_is_told(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()

        @it.cache.read("first:{code}", ttl=100)
        async def first(code: str) -> Any:
            return (await asyncio.gather(it.find("x"), asyncio.create_task(second(code))))[1]

        @it.cache.read("second:{code}", ttl=100)
        async def second(code: str) -> Any:
            return await first(code)

        with pytest.raises(ContractError, match=r"first:a <- second:a <- first:a"):
            await first("a")

    run(body())


def test_two_loads_that_wait_for_each_other_do_not_hang(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        both_began = asyncio.Barrier(2)

        @it.cache.read("left:{code}", ttl=100)
        async def left(code: str) -> Any:
            await both_began.wait()
            return await right(code)

        @it.cache.read("right:{code}", ttl=100)
        async def right(code: str) -> Any:
            await both_began.wait()
            return await left(code)

        results = await asyncio.gather(left("a"), right("a"), return_exceptions=True)
        assert [type(result) for result in results] == [ContractError] * 2
        assert "TF-CACHE-CIRCLE" in str(results[0])

    run(body())


def test_a_loader_may_read_other_keys_and_other_functions(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        it.source.rows["a"] = "url"

        @it.cache.read("tree:{depth}", ttl=100)
        async def tree(depth: int) -> Any:
            if depth == 0:
                return await it.find("a")
            return await asyncio.gather(tree(depth - 1), tree(depth - 1))

        assert await tree(3) == [[["url"] * 2] * 2] * 2
        assert it.source.loads == ["a"]

    run(body())


def test_a_long_chain_of_loaders_is_no_circle(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()

        @it.cache.read("chain:{left}", ttl=100)
        async def chain(left: int) -> int:
            return left if left == 0 else await chain(left - 1)

        assert await asyncio.gather(chain(2_000), chain(1_999), chain(0)) == [0, 0, 0]

    run(body())


def test_a_loader_that_never_returns_is_given_up(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab(timeout=0.4)
        it.source.rows["a"] = "url"
        it.source.hold()
        readers = [asyncio.create_task(it.find("a")) for _ in range(3)]
        for result in await asyncio.gather(*readers, return_exceptions=True):
            assert isinstance(result, Unavailable)
            assert "link:a took more than 0.4 s" in str(result)
        assert it.cache.stats().loading == 0
        again = asyncio.create_task(it.find("a"))
        await it.source.began(2)
        it.source.let_go(1)
        assert await again == "url"

    run(body())


def test_a_loader_that_ignores_being_given_up_stores_nothing(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        finished = asyncio.Event()

        @it.cache.read("stubborn:{code}", ttl=100, timeout=0.02)
        async def stubborn(code: str) -> Any:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                finished.set()
            return "late"

        with pytest.raises(Unavailable):
            await stubborn("a")
        await finished.wait()
        await turns()
        assert stubborn.peek("a") is MISSING

    run(body())


def test_a_load_that_is_stopped_from_outside_ends_its_waiters_as_unavailable(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        it.source.hold()
        reader = asyncio.create_task(it.find("a"))
        await it.source.began(1)
        (load,) = [task for task in asyncio.all_tasks() if task.get_name() == "load link:a"]
        load.cancel()
        with pytest.raises(Unavailable, match="was stopped"):
            await reader

    run(body())


def test_the_load_sees_the_context_of_its_first_reader_and_leaks_nothing_back(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        who: ContextVar[str] = ContextVar("who", default="nobody")

        @it.cache.read("who:{code}", ttl=100)
        async def find(code: str) -> str:
            seen = who.get()
            who.set("loader")
            return seen

        who.set("reader")
        assert await find("a") == "reader"
        assert who.get() == "reader"

    run(body())


def test_bounds_hold_over_all_functions_and_can_change_while_running(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab(entries=50, bytes_limit=20_000)

        @it.cache.read("other:{code}", ttl=100)
        async def other(code: int) -> bytes:
            return b"x" * 100

        for number in range(200):
            it.source.rows[number] = b"y" * 200
            await it.find(number)
            await other(number)
            stats = it.cache.stats()
            assert stats.entries <= 50
            assert stats.bytes <= 20_000
        assert stats.evictions > 300
        it.cache.adopt(10, 20_000)
        assert it.cache.stats().entries == 10
        it.cache.adopt(1_000, 1_500)
        assert 0 < it.cache.stats().bytes <= 1_500
        it.cache.adopt(1_000, 10**6)
        for number in range(300):
            await other(number)
        assert it.cache.stats().entries >= 300

    run(body())


def test_a_value_that_is_too_large_is_handed_out_and_not_kept(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab(bytes_limit=10_000)
        it.source.rows["a"] = b"x" * 5_000
        assert await it.find("a") == b"x" * 5_000
        assert it.find.peek("a") is MISSING
        assert it.cache.stats().refusals == 1

    run(body())


def test_size_can_be_given_and_its_failure_is_not_silent(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab(size=len)
        it.source.rows.update(a=b"x" * 1_000, b=7)
        await it.find("a")
        assert 1_000 < it.cache.stats().bytes < 1_500
        with pytest.raises(TypeError):
            await it.find("b")

    run(body())


def test_a_long_argument_is_refused_before_anything_is_loaded(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        assert it.find.peek("x" * 513) is MISSING
        with pytest.raises(KeyRefused, match="513 characters"):
            await it.find("x" * 513)
        assert it.source.loads == []

    run(body())


def test_counts_tell_hits_misses_and_loads(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        it.source.rows["a"] = "url"
        it.source.hold()
        readers = [asyncio.create_task(it.find("a")) for _ in range(3)]
        await it.source.began(1)
        assert it.cache.stats().loading == 1
        it.source.let_go()
        await asyncio.gather(*readers)
        await it.find("a")
        it.find.peek("a")
        it.find.peek("b")
        stats = it.cache.stats()
        assert (stats.hits, stats.misses, stats.loads, stats.entries, stats.loading) == (2, 3, 1, 1, 0)
        assert stats.by_key["link:{code}"].hits == 2

    run(body())


def test_two_functions_with_one_template_are_refused(lab: Callable[..., Lab]) -> None:
    with pytest.raises(ContractError, match=r"'link:\{code\}' is used by .*find and by .*other"):

        @lab().cache.read("link:{code}", ttl=1)
        async def other(code: str) -> None: ...


def test_functions_that_this_cache_does_not_know_are_refused(lab: Callable[..., Lab]) -> None:
    async def plain(code: str) -> None: ...

    for function in (plain, lab().find, 7):
        with pytest.raises(ContractError, match="not a cached function of this cache"):
            lab().cache.drop(function, "a")  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"ttl": 0}, {"timeout": 0}, {"none_ttl": -1}, {"jitter": 1.0}, {"ttl": -5}])
def test_bounds_in_time_that_make_no_sense_are_refused(lab: Callable[..., Lab], options: dict[str, Any]) -> None:
    with pytest.raises((ContractError, UsageError)):
        lab(**options)
