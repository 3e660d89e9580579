"""What every cache backend keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from cache_lab import Lab, run, turns

from tenfold.blocks.cache import MISSING
from tenfold.core.errors import NotFound


def test_a_value_is_loaded_once_and_read_many_times(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        it.source.rows["a"] = "url"
        assert it.find.peek("a") is MISSING
        assert [await it.find("a"), await it.find("a"), await it.find(code="a")] == ["url"] * 3
        assert it.find.peek("a") == "url"
        assert it.source.loads == ["a"]

    run(body())


def test_a_hit_makes_no_task_and_does_not_suspend(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        it.source.rows["a"] = "url"
        await it.find("a")
        tasks = asyncio.all_tasks()
        with pytest.raises(StopIteration) as caught:
            it.find("a").send(None)
        assert caught.value.value == "url"
        assert asyncio.all_tasks() == tasks

    run(body())


def test_values_are_shared_and_not_copied(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        it.source.rows["a"] = value = ["url"]
        assert await it.find("a") is value
        assert await it.find("a") is value

    run(body())


def test_keys_of_different_kinds_do_not_meet(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        values = [1, "1", True, b"1", None, UUID(int=1)]
        for value in values:
            assert await it.find(value) is None
        assert it.source.loads == values

    run(body())


def test_a_hundred_concurrent_misses_are_one_load(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        it.source.rows["a"] = "url"
        it.source.hold()
        readers = [asyncio.create_task(it.find("a")) for _ in range(100)]
        await it.source.began(1)
        it.source.let_go()
        assert await asyncio.gather(*readers) == ["url"] * 100
        assert it.source.loads == ["a"]
        assert it.cache.stats().loads == 1

    run(body())


@pytest.mark.parametrize("cancelled", [[0], [7], [19], list(range(19)), list(range(20))])
def test_a_cancelled_waiter_takes_nobody_with_it(lab: Callable[..., Lab], cancelled: list[int]) -> None:
    async def body() -> None:
        it = lab()
        it.source.rows["a"] = "url"
        it.source.hold()
        readers = [asyncio.create_task(it.find("a")) for _ in range(20)]
        await it.source.began(1)
        for index in cancelled:
            readers[index].cancel()
        await turns()
        assert [reader.done() for reader in readers] == [index in cancelled for index in range(20)]
        it.source.let_go()
        results = await asyncio.gather(*readers, return_exceptions=True)
        assert [result == "url" for result in results] == [index not in cancelled for index in range(20)]
        await turns()
        assert it.find.peek("a") == "url"
        assert it.source.loads == ["a"]

    run(body())


def test_an_exception_reaches_all_waiters_and_is_not_kept(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab()
        answers: list[Any] = [NotFound("No such link."), "url"]
        gate = asyncio.Event()

        @it.cache.read("odd:{code}", ttl=100)
        async def odd(code: str) -> Any:
            answer = answers.pop(0)
            await gate.wait()
            if isinstance(answer, Exception):
                raise answer
            return answer

        readers = [asyncio.create_task(odd("a")) for _ in range(5)]
        await turns()
        gate.set()
        results = await asyncio.gather(*readers, return_exceptions=True)
        assert [type(result) for result in results] == [NotFound] * 5
        assert odd.peek("a") is MISSING
        assert await odd("a") == "url"
        assert it.cache.stats().by_key["odd:{code}"].failures == 1

    run(body())


def test_none_is_kept_for_its_own_time(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab(ttl="1h", none_ttl="5s")
        assert await it.find("a") is None
        assert it.find.peek("a") is None
        assert it.source.loads == ["a"]
        it.clock.advance(4.4)
        assert await it.find("a") is None
        assert it.source.loads == ["a"]
        it.clock.advance(0.7)
        it.source.rows["a"] = "url"
        assert await it.find("a") == "url"

    run(body())


@pytest.mark.parametrize(("ttl", "expected"), [(3600, 30), (10, 10)])
def test_none_is_kept_for_the_ttl_but_at_most_half_a_minute_by_default(
    lab: Callable[..., Lab], ttl: float, expected: float
) -> None:
    async def body() -> None:
        it = lab(ttl=ttl, jitter=0)
        await it.find("a")
        it.clock.advance(expected - 0.01)
        assert it.find.peek("a") is None
        it.clock.advance(0.02)
        assert it.find.peek("a") is MISSING

    run(body())


def test_a_none_ttl_of_zero_keeps_no_none(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab(none_ttl=0)
        await it.find("a")
        assert it.find.peek("a") is MISSING

    run(body())


def test_entries_filled_together_expire_apart_but_never_late(lab: Callable[..., Lab]) -> None:
    async def body() -> None:
        it = lab(ttl=100)
        for number in range(200):
            it.source.rows[number] = number
            await it.find(number)
        alive = []
        for second in (89.9, 92.5, 95, 97.5, 100.001):
            it.clock.advance(second - it.clock.monotonic())
            alive.append(sum(it.find.peek(number) is not MISSING for number in range(200)))
        assert alive[0] == 200
        assert alive[-1] == 0
        assert 200 > alive[1] > alive[2] > alive[3] > 0

    run(body())
