"""PostgreSQL is killed in the middle of requests that the block cannot begin anew by itself: the web process does."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bank import FIND, database, open_account
from postgres import PostgresServer, needs_postgres
from postgres_kit import PostgresKit
from serving import Answer, FakeRuntime, exchange, http_scope

from tenfold.serve.asgi import TenfoldASGI

pytestmark = needs_postgres


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    running = PostgresServer()
    running.start()
    try:
        yield running
    finally:
        running.remove()


class Reads:
    """An application that reads twice in one snapshot; between the two, what `between` says happens once."""

    def __init__(self, between: Any) -> None:
        self.between = between
        self.attempts = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.attempts += 1
        async with database.read(key="ann", snapshot=True) as db:
            first = await db.one(FIND, owner="ann")
            if self.attempts == 1:
                await self.between()
            second = await db.one(FIND, owner="ann")
        assert first == second
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(second.balance).encode()})


async def ask(app: Any, method: str) -> tuple[Answer, TenfoldASGI]:
    wrapped = TenfoldASGI(app, FakeRuntime())
    return await exchange(wrapped, http_scope(method, "/")), wrapped


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGINT])
def test_a_get_is_answered_and_a_post_is_told_to_come_again(
    tmp_path: Path, server: PostgresServer, how: signal.Signals
) -> None:
    def restart() -> None:
        server.stop(how)
        server.start()

    async def work() -> None:
        await database.start(PostgresKit(server).create(tmp_path, database.metadata), print)
        try:
            await open_account("ann", 7)
            app = Reads(lambda: asyncio.to_thread(restart))
            answer, wrapped = await ask(app, "GET")
            assert (answer.status, answer.body, app.attempts) == (200, b"7", 2)
            assert wrapped.metrics.replays == 1
            app = Reads(lambda: asyncio.to_thread(restart))
            answer, _ = await ask(app, "POST")
            assert (answer.status, answer.problem["code"], app.attempts) == (503, "TF-INTERRUPTED", 1)
        finally:
            await database.stop()

    asyncio.run(asyncio.wait_for(work(), 60))
