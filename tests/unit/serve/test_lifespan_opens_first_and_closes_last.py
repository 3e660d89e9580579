from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from serving import FakeRuntime
from starlette.applications import Starlette

from tenfold.core.errors import StorageDamaged
from tenfold.serve.asgi import TenfoldASGI


def live(app: TenfoldASGI) -> list[str]:
    """The answers to a startup and, if that worked, a shutdown."""

    async def play() -> list[str]:
        answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        async def send(message: dict[str, Any]) -> None:
            answers.put_nowait(message)

        task = asyncio.create_task(app({"type": "lifespan", "state": {}}, inbox.get, send))
        said: list[str] = []
        async with asyncio.timeout(10):
            for phase in ("startup", "shutdown"):
                inbox.put_nowait({"type": f"lifespan.{phase}"})
                answer = await answers.get()
                said.append(answer["type"] + (f": {answer['message']}" if answer.get("message") else ""))
                if answer["type"].endswith("failed"):
                    break
            await task
        return said

    return asyncio.run(play())


COMPLETE = ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_the_runtime_is_open_for_as_long_as_the_framework_runs() -> None:
    runtime = FakeRuntime()

    @contextlib.asynccontextmanager
    async def around(_: Starlette) -> AsyncIterator[None]:
        runtime.calls.append("framework starts")
        yield
        runtime.calls.append("framework stops")

    assert live(TenfoldASGI(Starlette(lifespan=around), runtime)) == COMPLETE
    assert runtime.calls == ["open", "framework starts", "framework stops", "close"]


def test_an_application_that_does_not_speak_lifespan_is_left_alone() -> None:
    async def raises(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("only http here")

    async def returns(scope: Any, receive: Any, send: Any) -> None:
        return

    async def answers_http(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    for app in (raises, returns, answers_http):
        runtime = FakeRuntime()
        assert live(TenfoldASGI(app, runtime)) == COMPLETE
        assert runtime.calls == ["open", "close"]


def test_a_runtime_that_does_not_open_is_a_failed_startup_that_names_the_reason() -> None:
    runtime = FakeRuntime()
    runtime.open_error = StorageDamaged("links.db is not a database.")
    app = TenfoldASGI(Starlette(), runtime)
    assert live(app) == ["lifespan.startup.failed: TF-DAMAGED: links.db is not a database."]
    assert app.startup_error is runtime.open_error


def test_a_framework_that_does_not_start_closes_the_runtime() -> None:
    runtime = FakeRuntime()

    @contextlib.asynccontextmanager
    async def broken(_: Starlette) -> AsyncIterator[None]:
        raise ValueError("no templates")
        yield

    answers = live(TenfoldASGI(Starlette(lifespan=broken), runtime))
    assert len(answers) == 1
    assert "no templates" in answers[0]
    assert runtime.calls == ["open", "close"]
