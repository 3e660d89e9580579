"""The lifecycle contract, and what becomes of work that fails, ends, or cleans up slowly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from lifecycle_contract import check_lifecycle

from tenfold.core.lifecycle import Background, Service


class Counting(Background):
    """Waits for ever and counts how many of it run at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = self.begun = self.cleaned = 0
        self.under_way = asyncio.Event()

    async def run(self) -> None:
        self.begun += 1
        self.now += 1
        self.most = max(self.most, self.now)
        self.under_way.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.cleaned += 1
            self.now -= 1


def test_the_contract_holds() -> None:
    def running(thing: Service) -> bool:
        assert isinstance(thing, Counting)
        return thing.running

    asyncio.run(check_lifecycle(Counting, running))


def test_five_starts_at_once_run_it_once() -> None:
    async def body() -> Counting:
        work = Counting()
        await asyncio.gather(*(work.start() for _ in range(5)))
        await work.under_way.wait()
        await work.stop()
        return work

    work = asyncio.run(body())
    assert (work.begun, work.most, work.cleaned, work.now) == (1, 1, 1, 0)


def test_stop_returns_only_after_the_clean_up_even_when_its_caller_is_cancelled() -> None:
    class Slow(Background):
        def __init__(self) -> None:
            super().__init__()
            self.under_way, self.cleaning, self.go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
            self.cleaned = False

        async def run(self) -> None:
            self.under_way.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.cleaning.set()
                await self.go_on.wait()
                self.cleaned = True

    async def body() -> None:
        work = Slow()
        await work.start()
        await work.under_way.wait()
        stopping = asyncio.create_task(work.stop())
        await work.cleaning.wait()
        stopping.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not stopping.done()
        work.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        assert work.cleaned
        assert not work.running

    asyncio.run(asyncio.wait_for(body(), 10))


class Failing(Background):
    """Fails as soon as it runs."""

    async def run(self) -> None:
        raise RuntimeError("broken")


def test_a_failure_reaches_somebody_and_is_not_raised_again_by_stop() -> None:
    async def body() -> list[dict[str, Any]]:
        heard: list[dict[str, Any]] = []
        told = asyncio.Event()

        def hear(_: object, context: dict[str, Any]) -> None:
            heard.append(context)
            told.set()

        asyncio.get_running_loop().set_exception_handler(hear)
        work = Failing()
        await work.start()
        await told.wait()
        await asyncio.sleep(0)
        assert not work.running
        await work.stop()
        await work.start()
        await work.stop()
        return heard

    heard = asyncio.run(asyncio.wait_for(body(), 10))
    assert heard[0]["message"] == "Failing failed"
    assert str(heard[0]["exception"]) == "broken"


def test_work_that_ended_by_itself_can_be_started_again() -> None:
    class Once(Background):
        runs = 0
        ended = asyncio.Event()

        async def run(self) -> None:
            self.runs += 1
            self.ended.set()

    async def body() -> None:
        work = Once()
        for expected in (1, 2):
            work.ended = asyncio.Event()
            await work.start()
            await work.ended.wait()
            await asyncio.sleep(0)
            assert (work.runs, work.running) == (expected, False)
        await work.stop()

    asyncio.run(asyncio.wait_for(body(), 10))


def test_work_that_stops_itself_is_a_mistake_and_not_a_deadlock() -> None:
    class Suicidal(Background):
        error: BaseException | None = None

        def __init__(self) -> None:
            super().__init__()
            self.told = asyncio.Event()

        async def run(self) -> None:
            await self.stop()

        def failed(self, error: BaseException) -> None:
            self.error = error
            self.told.set()

    async def body() -> None:
        work = Suicidal()
        await work.start()
        await work.told.wait()
        assert "cannot wait for itself" in str(work.error)

    asyncio.run(asyncio.wait_for(body(), 10))
