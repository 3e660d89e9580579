"""The router over two databases: holding, switching, what the fence refuses, what is opened and closed when."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from bank import COUNT_ACCOUNTS, FIND, OPEN, database, keyed, open_account, run
from two_databases import Pair, started, until

from tenfold.blocks.database import Transaction, router
from tenfold.blocks.database.scope import RequestScope, current_scope, enter_scope, leave_scope
from tenfold.core.errors import Conflict, TenfoldError, Unavailable


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    return Pair(tmp_path, monkeypatch)


async def balance(owner: str) -> int:
    async with database.read(key=owner) as db:
        return (await db.one(FIND, owner=owner)).balance


def test_held_writes_wait_and_reads_go_on(pair: Pair) -> None:
    async def work() -> None:
        async with started(pair.map(1, "sqlite")) as routes:
            await open_account("ann", 5)
            database.adopt(pair.map(2, "sqlite", held=True))
            waiting = asyncio.create_task(open_account("bob"))
            assert await balance("ann") == 5
            await until(lambda: database.holding.now == 1)
            assert pair.owners("sqlite") == ["ann"]
            assert database.ready() == (True, ""), "held is not down"
            assert database.holding.closed
            database.adopt(pair.map(3, "sqlite"))
            await waiting
            assert pair.owners("sqlite") == ["ann", "bob"]
            assert routes.refused == 0

    run(work())


def test_a_map_switches_at_once_and_what_began_ends_where_it_began(pair: Pair) -> None:
    async def work() -> None:
        async with started(pair.map(1, "sqlite", "postgres")):
            await database.prepared(10)
            await open_account("ann", 5)
            async with database.read(key="ann") as before:
                database.adopt(pair.map(2, "postgres"))
                await open_account("ann", 7)
                assert (await before.one(FIND, owner="ann")).balance == 5
            assert await balance("ann") == 7
            assert pair.owners("sqlite") == pair.owners("postgres") == ["ann"]
            assert database.holding.backend == "postgres"

    run(work())


def test_a_snapshot_and_a_fanout_end_on_the_database_before(pair: Pair) -> None:
    async def work() -> None:
        async with started(pair.map(1, "sqlite", "postgres")):
            await database.prepared(10)
            await open_account("ann", 5)
            async with database.read(key="ann", snapshot=True) as one, database.fanout() as two:
                database.adopt(pair.map(2, "postgres"))
                assert (await one.one(FIND, owner="ann")).balance == 5
                assert await two.scalar(COUNT_ACCOUNTS) == 1
            async with database.fanout() as after:
                assert await after.scalar(COUNT_ACCOUNTS) == 0

    run(work())


def test_a_process_that_slept_through_a_move_looks_for_its_map_before_it_answers_from_memory(pair: Pair) -> None:
    async def work() -> None:
        switched: list[str] = []
        async with started(pair.map(1, "sqlite", "postgres")):
            await database.prepared(10)
            database.catch_up()
            database.look = lambda: database.adopt(pair.map(2, "postgres"))
            database.on_switch = lambda: switched.append("everything is dropped")
            await open_account("ann", 5)
            database.catch_up()
            assert switched == [], "a commit is no move"
            pair.fence("sqlite")
            database.catch_up()
            assert switched == ["everything is dropped"]
            async with database.fanout() as db:
                assert await db.scalar(COUNT_ACCOUNTS) == 0, "it is on the other database"
            database.catch_up()
        database.catch_up()  # closed: nothing to hear
        database.on_switch = lambda: None

    run(work())


def test_what_the_fence_refuses_runs_once_more_where_the_newer_map_says(pair: Pair) -> None:
    async def work() -> None:
        ran: list[str] = []
        told: list[str] = []

        async def body(tx: Transaction) -> None:
            ran.append("body")
            tx.on_commit(lambda: told.append("committed"))
            await tx.run(OPEN, owner="ann", balance=1)

        async with started(pair.map(1, "sqlite", "postgres")) as routes:
            await database.prepared(10)
            pair.fence("sqlite")
            database.look = lambda: database.adopt(pair.map(2, "postgres"))
            await keyed("ann", body)
            assert ran == ["body", "body"]
            assert told == ["committed"]
            assert routes.refused == 1
            assert (pair.owners("sqlite"), pair.owners("postgres")) == ([], ["ann"])

    run(work())


def test_a_whole_batch_that_only_read_is_refused_by_the_clock_too(pair: Pair) -> None:
    async def work() -> None:
        async def look(tx: Transaction) -> int:
            return len(await tx.all(FIND, owner="ann"))

        async with started(pair.map(1, "sqlite", "postgres")):
            await database.prepared(10)
            await open_account("ann")
            pair.fence("sqlite", ("tf_clock",))
            database.look = lambda: database.adopt(pair.map(2, "postgres"))
            found = await asyncio.gather(*[keyed("ann", look) for _ in range(20)], open_account("ann", 3))
            assert set(found[:20]) <= {0, 1}, "each saw the new database, before or after the write"
            assert pair.sql("postgres", "SELECT balance FROM accounts") == [(3,)]
            assert pair.sql("sqlite", "SELECT balance FROM accounts") == [(0,)]

    run(work())


@pytest.mark.parametrize("then", ["returns", "raises"])
def test_a_body_cannot_swallow_the_fence(pair: Pair, then: str) -> None:
    async def work() -> None:
        async def body(tx: Transaction) -> str:
            try:
                await tx.run(OPEN, owner="ann", balance=1)
            except TenfoldError:
                if then == "raises":
                    raise Conflict("what the body makes of it") from None
            return "done"

        async with started(pair.map(1, "sqlite", "postgres")):
            await database.prepared(10)
            pair.fence("sqlite", ("accounts",))
            database.look = lambda: database.adopt(pair.map(2, "postgres"))
            assert await keyed("ann", body) == "done"
            assert pair.owners("postgres") == ["ann"]

    run(work())


def test_without_a_newer_map_it_waits_for_one(pair: Pair) -> None:
    async def work() -> None:
        async with started(pair.map(1, "sqlite", "postgres")) as routes:
            await database.prepared(10)
            pair.fence("sqlite")
            looks: list[int] = []
            database.look = lambda: looks.append(1)
            calls = [asyncio.create_task(open_account(f"u{n}")) for n in range(5)]
            await until(lambda: len(looks) > 5 and database.holding.now == 5)
            newcomer = asyncio.create_task(open_account("v"))
            await until(lambda: database.holding.now == 6)
            assert routes.refused == 5, "a newcomer is not sent against a fence that is known"
            database.adopt(pair.map(2, "postgres"))
            await asyncio.gather(*calls, newcomer)
            assert pair.owners("postgres") == ["u0", "u1", "u2", "u3", "u4", "v"]
            assert routes._looking is None, "nobody looks for what is there"

    run(work())


def test_a_fence_that_is_lifted_without_a_map_is_tried_again(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "TRY_AGAIN_S", 0.02)

    async def work() -> None:
        async with started(pair.map(1, "sqlite")) as routes:
            pair.fence("sqlite")
            call = asyncio.create_task(open_account("ann"))
            await until(lambda: routes.refused >= 2)
            pair.lift("sqlite")
            await call
            assert pair.owners("sqlite") == ["ann"]

    run(work())


def test_a_fence_without_a_newer_map_ends_in_unavailable(pair: Pair) -> None:
    async def work() -> None:
        async with started(pair.map(1, "sqlite", hold_s=0.1)):
            pair.fence("sqlite")
            with pytest.raises(Unavailable) as refused:
                await open_account("ann")
            assert refused.value.code == "TF-HELD-TOO-LONG"
            pair.lift("sqlite")
            database.adopt(pair.map(2, "sqlite"))
            await open_account("bob")
            assert pair.owners("sqlite") == ["bob"]

    run(work())


def test_a_keyed_call_draws_the_same_in_each_attempt_and_nothing_of_it_leaks(pair: Pair) -> None:
    async def work() -> None:
        drawn: list[tuple[Any, int]] = []

        async def body(tx: Transaction) -> int:
            scope = current_scope()
            assert scope is not None
            drawn.append((scope.idempotency_key, scope.next_ordinal("uuid7")))
            await tx.run(OPEN, owner="ann", balance=1)
            return 1

        async with started(pair.map(1, "sqlite", "postgres")):
            await database.prepared(10)
            pair.fence("sqlite")
            database.look = lambda: database.adopt(pair.map(2, "postgres"))
            request = RequestScope(idempotency_key="key", fingerprint=b"f")
            entered = enter_scope(request)
            assert await keyed("ann", body) == 1
            assert drawn[0] == drawn[1]
            assert request.next_ordinal("uuid7") == 0, "draws of a body do not shift those outside"
            assert request.token.epoch == 2
            again = RequestScope(idempotency_key="key", fingerprint=b"f")
            enter_scope(again)
            assert await keyed("ann", body) == 1
            leave_scope(entered)
            assert len(drawn) == 2, "the repeated request finds its result"

    run(work())


def test_a_process_that_missed_the_standby_holds_reads_and_writes_until_it_is_open(pair: Pair) -> None:
    async def work() -> None:
        door = asyncio.Event()
        pair.opens = door.wait
        async with started(pair.map(1, "sqlite")):
            await open_account("ann", 5)
            database.adopt(pair.map(7, "postgres"))
            assert database.ready()[0] is False
            write = asyncio.create_task(open_account("ann", 7))
            read = asyncio.create_task(_count())
            await until(lambda: database.holding.now == 1)
            assert not read.done(), "the old database may be behind by now"
            door.set()
            await write
            assert await read in (0, 1)
            assert await balance("ann") == 7
            assert database.ready() == (True, "")

    run(work())


async def _count() -> int:
    async with database.fanout() as db:
        return int(await db.scalar(COUNT_ACCOUNTS))


def test_the_standby_is_opened_again_and_again_and_prepared_says_why_not(pair: Pair) -> None:
    async def work() -> None:
        refuses = True

        async def opens() -> None:
            if refuses:
                raise OSError("connection refused")

        pair.opens = opens
        async with started(pair.map(1, "sqlite")):
            await database.prepared(0)
            database.adopt(pair.map(2, "sqlite", "postgres"))
            with pytest.raises(Unavailable, match="connection refused"):
                await database.prepared(0.05)
            database.adopt(pair.map(3, "sqlite", "postgres", held=True))
            await database.prepared(0)  # while the map holds, the acknowledgement does not wait
            database.adopt(pair.map(4, "sqlite", "postgres"))
            refuses = False
            await database.prepared(20)

    run(work())


def test_a_standby_with_another_schema_is_not_prepared(pair: Pair) -> None:
    async def work() -> None:
        pair.sql("postgres", "ALTER TABLE accounts RENAME COLUMN balance TO money")
        async with started(pair.map(1, "sqlite", "postgres")):
            with pytest.raises(Unavailable, match="balance"):
                await database.prepared(0.2)

    run(work())


def test_what_is_no_longer_named_is_closed_after_a_while_and_may_come_back_before(pair: Pair) -> None:
    async def work() -> None:
        async with started(pair.map(1, "sqlite", "postgres", hold_s=0.5)):
            await database.prepared(10)
            database.adopt(pair.map(2, "sqlite", hold_s=0.5))
            database.adopt(pair.map(3, "postgres", "sqlite", hold_s=0.5))
            await open_account("ann")
            assert len(pair.made) == 1, "it was still open"
            database.adopt(pair.map(4, "sqlite", hold_s=0.5))
            await until(lambda: pair.made[0].stopped)  # type: ignore[attr-defined]
            database.adopt(pair.map(5, "sqlite", "postgres", hold_s=0.5))
            await database.prepared(10)
            assert len(pair.made) == 2

    run(work())


def test_closing_refuses_what_is_held_and_closes_both(pair: Pair) -> None:
    async def work() -> None:
        async with started(pair.map(1, "sqlite", "postgres")):
            await database.prepared(10)
            database.adopt(pair.map(2, "sqlite", "postgres", held=True))
            call = asyncio.create_task(open_account("ann"))
            await until(lambda: database.holding.now == 1)
            await database.stop()
            with pytest.raises(Unavailable) as refused:
                await call
            assert refused.value.code == "TF-CLOSING"
            assert pair.made[0].stopped  # type: ignore[attr-defined]

    run(work())


def test_pruning_goes_where_the_map_says(pair: Pair) -> None:
    async def work() -> None:
        async with started(pair.map(1, "sqlite", "postgres")):
            await database.prepared(10)
            add = "INSERT INTO tf_commit (id, bucket, fingerprint, result, at_us) VALUES (x'01', 0, x'00', 'null', 1)"
            pair.sql("sqlite", add)
            pair.sql("postgres", add)
            database.adopt(pair.map(2, "postgres"))
            assert await database.prune_commits() == 1
            assert pair.sql("sqlite", "SELECT count(*) FROM tf_commit") == [(1,)]

    run(work())


def test_a_switch_is_told_before_anything_begins_there(pair: Pair) -> None:
    async def work() -> None:
        told: list[list[str]] = []
        database.on_switch = lambda: told.append(pair.owners("postgres"))
        try:
            async with started(pair.map(1, "sqlite", "postgres")):
                await database.prepared(10)
                database.adopt(pair.map(2, "sqlite", "postgres", held=True))
                call = asyncio.create_task(open_account("ann"))
                await until(lambda: database.holding.now == 1)
                database.adopt(dataclasses.replace(pair.map(3, "postgres"), held=False))
                await call
            assert told == [[]]
        finally:
            database.on_switch = lambda: None

    run(work())
