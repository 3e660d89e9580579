"""Reads and transactions are counted with how long they took, and for which request, on every backend."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bank import COUNT_ACCOUNTS, FIND, database, keyed, open_account, run
from databases import Kit, opened

from tenfold.blocks.database import Transaction
from tenfold.blocks.database.meter import DatabaseStats
from tenfold.blocks.database.scope import RequestScope, enter_scope, leave_scope
from tenfold.core.errors import RowExists, Unavailable


def stats() -> DatabaseStats:
    found = database.stats()
    assert found is not None
    return found


def counts() -> tuple[int, int, int]:
    """Reads, transactions, and what of both failed."""
    found = stats()
    return sum(found.read_duration_s.counts), sum(found.write_duration_s.counts), found.failed


@contextmanager
def request() -> Iterator[RequestScope]:
    scope = RequestScope(request_id="r")
    entered = enter_scope(scope)
    try:
        yield scope
    finally:
        leave_scope(entered)


def test_each_statement_and_each_transaction_is_one_and_belongs_to_its_request(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            reads, writes, failed = counts()
            began = time.monotonic()
            with request() as scope:
                await open_account("ann", 5)
                async with database.read(key="ann") as db:
                    await db.one(FIND, owner="ann")
                    await db.all(FIND, owner="ann")
                    assert await db.one_or_none(FIND, owner="ann")
                async with database.read(key="ann", snapshot=True) as db:
                    await db.scalar(FIND, owner="ann")
                async with database.fanout() as db:
                    await db.scalar(COUNT_ACCOUNTS)
            took = time.monotonic() - began
            assert counts() == (reads + 5, writes + 1, failed)
            assert (scope.database_calls, scope.gate_s) == (6, 0)
            assert 0 < scope.database_s < took
            found = stats()
            assert 0 < found.read_duration_s.sum_s < took
            assert 0 < found.write_duration_s.sum_s < took + 10
            await open_account("bob")  # outside of a request
            assert counts() == (reads + 5, writes + 2, failed)

    run(work())


def test_what_the_body_raises_is_not_a_failure_of_the_database(kit: Kit, tmp_path: Path) -> None:
    async def refuse(tx: Transaction) -> None:
        raise ValueError("it is the body's")

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await open_account("ann")
            _, writes, failed = counts()
            with pytest.raises(ValueError, match="the body's"):
                await keyed("bob", refuse)
            with pytest.raises(RowExists):
                await open_account("ann")
            assert counts()[1:] == (writes + 2, failed)

    run(work())


def test_the_wait_at_the_gate_is_told_apart_and_who_waits_too_long_has_failed(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        config = kit.create(tmp_path, database.metadata)
        await database.start(config, print)
        try:
            database.adopt(dataclasses.replace(config, epoch=2, held=True))
            _, writes, failed = counts()
            before = stats().write_duration_s.sum_s
            with request() as scope:
                call = asyncio.create_task(open_account("ann"))  # in the context of the request
                await asyncio.sleep(0.4)
                database.adopt(dataclasses.replace(config, epoch=3))
                await call
            assert 0.35 < scope.gate_s < 5
            assert scope.database_s > 0
            assert stats().write_duration_s.sum_s - before == pytest.approx(scope.database_s)
            database.adopt(dataclasses.replace(config, epoch=4, held=True, hold_s=0.05))
            with request() as scope, pytest.raises(Unavailable):
                await open_account("bob")
            assert scope.gate_s >= 0.05
            assert counts()[1:] == (writes + 2, failed + 1)
        finally:
            await database.stop()

    run(work())


def test_connections_are_told_where_there_are_some(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            has_some = kit.capabilities.parallel_writers
            assert (stats().pool > 0, stats().pool_busy, stats().pool_waiting) == (has_some, 0, 0)
            async with database.read(key="ann", snapshot=True) as db:
                await db.one_or_none(FIND, owner="ann")
                assert stats().pool_busy == int(has_some)
        assert database.stats() is None

    run(work())
