"""Lost answers, killed servers, colliding transactions: what was acknowledged is there once, and nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import postgres
import pytest
from bank import FIND, accounts, database, keyed, open_account
from pg_proxy import Fate, Proxy, proxied
from postgres_kit import PostgresKit
from sqlalchemy import bindparam, func, select, update

from tenfold.blocks.database import DatabaseConfig, Transaction
from tenfold.blocks.database.postgres.backend import PostgresBackend
from tenfold.blocks.database.scope import RequestScope, enter_scope, leave_scope
from tenfold.core.errors import Unavailable, UnknownOutcome

pytestmark = postgres.needs_postgres
BUMP = (
    update(accounts).where(accounts.c.owner == bindparam("of")).values(balance=accounts.c.balance + bindparam("by", 1))
)
TOTAL = select(func.sum(accounts.c.balance)).where(accounts.c.owner == bindparam("owner"))
runs: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    runs.clear()


@pytest.fixture
def own_server() -> Iterator[postgres.PostgresServer]:
    """A server that this test may break."""
    server = postgres.PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@database.transaction(key="owner")
async def bump(tx: Transaction, owner: str, by: int = 1) -> int:
    runs.append(owner)
    await tx.run(BUMP, of=owner, by=by)
    return int((await tx.one(FIND, owner=owner)).balance)


def run(work: Any, limit_s: float = 60) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(limit_s):
            return await work

    return asyncio.run(bounded())


@contextlib.asynccontextmanager
async def opened(config: DatabaseConfig) -> AsyncIterator[PostgresBackend]:
    await database.start(config, print)
    try:
        assert database._router is not None
        active = database._router.active
        assert isinstance(active, PostgresBackend)
        yield active
    finally:
        await database.stop()


@contextlib.asynccontextmanager
async def through_proxy(kit: PostgresKit, folder: Path, **settings: Any) -> AsyncIterator[Proxy]:
    config = kit.create(folder, database.metadata, **settings)
    assert config.server is not None
    async with (
        proxied(config.server.host, config.server.port) as (proxy, port),
        opened(dataclasses.replace(config, server=dataclasses.replace(config.server, port=port))),
    ):
        yield proxy


async def in_request(key: str, call: Callable[[], Any]) -> Any:
    entered = enter_scope(RequestScope(idempotency_key=key, fingerprint=b"same"))
    try:
        return await call()
    finally:
        leave_scope(entered)


@pytest.mark.parametrize("fate", [Fate.NOT_SENT, Fate.NOT_ANSWERED, Fate.LATE])
@pytest.mark.parametrize("key", [None, "k1"])
def test_a_commit_whose_answer_was_lost_is_looked_up(tmp_path: Path, fate: Fate, key: str | None) -> None:
    kit = PostgresKit()

    async def work() -> None:
        async with through_proxy(kit, tmp_path) as proxy:
            await open_account("anna", 0)
            proxy.fates = [fate]
            result = await (bump("anna", 5) if key is None else in_request(key, lambda: bump("anna", 5)))
            assert result == 5
            assert proxy.fates == []
            assert await bump("anna", 1) == 6
        # What reached the server before the connection broke was found; the rest ran again.
        assert len(runs) == (2 if fate is Fate.NOT_ANSWERED else 3)
        assert kit.outside("SELECT balance FROM accounts") == [(6,)]

    run(work())


def test_many_lost_answers_in_a_row(tmp_path: Path) -> None:
    kit = PostgresKit()

    async def work() -> None:
        async with through_proxy(kit, tmp_path) as proxy:
            await open_account("anna", 0)
            for round_ in range(12):
                proxy.fates = [Fate.NOT_SENT, Fate.NOT_ANSWERED] if round_ % 2 else [Fate.NOT_ANSWERED]
                assert await bump("anna") == round_ + 1
        assert kit.outside("SELECT balance FROM accounts") == [(12,)]

    run(work())


def test_a_killed_server_is_a_wait_and_nothing_is_lost_or_doubled(
    tmp_path: Path, own_server: postgres.PostgresServer
) -> None:
    kit = PostgresKit(own_server)
    acknowledged = dict.fromkeys([f"u{at}" for at in range(8)], 0)

    async def writer(owner: str, ended: asyncio.Event) -> None:
        while not ended.is_set():
            acknowledged[owner] = await bump(owner)

    async def reader(owner: str, ended: asyncio.Event) -> None:
        while not ended.is_set():
            before = acknowledged[owner]
            async with database.read(owner) as db:
                assert (await db.one(FIND, owner=owner)).balance >= before

    async def more(count: int) -> None:
        reached = {owner: value + count for owner, value in acknowledged.items()}
        while any(acknowledged[owner] < reached[owner] for owner in reached):
            await asyncio.sleep(0.01)

    async def work() -> None:
        async with opened(kit.create(tmp_path, database.metadata)):
            await asyncio.gather(*map(open_account, acknowledged))
            ended = asyncio.Event()
            tasks = [asyncio.create_task(do(owner, ended)) for owner in acknowledged for do in (writer, reader)]
            for _ in range(3):
                await more(5)
                await asyncio.to_thread(own_server.kill)
                await asyncio.to_thread(own_server.start)
            await more(5)
            ended.set()
            await asyncio.gather(*tasks)
        found = dict(kit.outside("SELECT owner, balance FROM accounts"))
        assert found == acknowledged

    run(work(), 120)


def test_transactions_that_collide_are_replayed_and_serializable(tmp_path: Path) -> None:
    kit = PostgresKit()

    @database.transaction(key=("one", "two"))
    async def spend(tx: Transaction, one: str, two: str) -> bool:
        """Write skew: each may spend while both together have enough."""
        both = [int(await tx.scalar(TOTAL, owner=owner)) for owner in sorted((one, two))]
        if sum(both) < 10:
            return False
        await tx.run(BUMP, of=one, by=-10)
        return True

    async def work() -> None:
        async with opened(kit.create(tmp_path, database.metadata)) as backend:
            for pair in range(6):
                await open_account(f"a{pair}", 5)
                await open_account(f"b{pair}", 5)
            calls = [spend(f"{x}{pair}", f"{y}{pair}") for pair in range(6) for x, y in ("ab", "ba")]
            spent = await asyncio.gather(*calls)
            assert [sum(spent[at : at + 2]) for at in range(0, 12, 2)] == [1] * 6
            results = await asyncio.gather(*[bump("a0") for _ in range(20)])
            assert sorted(results) == list(range(min(results), min(results) + 20))
            assert backend.writes.replays > 0

    run(work())


def test_each_attempt_has_a_fresh_body_and_context(tmp_path: Path) -> None:
    kit = PostgresKit()
    attempts: list[int] = []

    async def collides_twice(tx: Transaction) -> int:
        attempts.append(len(attempts))
        row = await tx.one(FIND, owner="anna")
        if len(attempts) < 3:
            kit.outside("UPDATE accounts SET balance = balance + 100")
        await tx.run(BUMP, of="anna", by=1)
        return int(row.balance)

    async def work() -> None:
        async with opened(kit.create(tmp_path, database.metadata)) as backend:
            await open_account("anna", 1)
            assert await keyed("anna", collides_twice) == 201
            assert (attempts, backend.writes.replays) == ([0, 1, 2], 2)
        assert kit.outside("SELECT balance FROM accounts") == [(202,)]

    run(work())


def test_a_body_cannot_swallow_a_collision(tmp_path: Path) -> None:
    kit = PostgresKit()
    attempts: list[int] = []

    async def swallows(tx: Transaction) -> str:
        attempts.append(1)
        await tx.one(FIND, owner="anna")
        if len(attempts) == 1:
            kit.outside("UPDATE accounts SET balance = balance + 100")
        with contextlib.suppress(Exception):
            await tx.run(BUMP, of="anna", by=1)
        return "fine"

    async def work() -> None:
        async with opened(kit.create(tmp_path, database.metadata)):
            await open_account("anna", 1)
            assert await keyed("anna", swallows) == "fine"
        assert kit.outside("SELECT balance FROM accounts") == [(102,)]
        assert len(attempts) == 2

    run(work())


def test_what_collides_for_ever_ends_after_hold_s_and_left_nothing(tmp_path: Path) -> None:
    kit = PostgresKit()

    async def always(tx: Transaction) -> None:
        await tx.one(FIND, owner="anna")
        kit.outside("UPDATE accounts SET balance = balance + 100")
        await tx.run(BUMP, of="anna", by=1)

    async def work() -> None:
        async with opened(kit.create(tmp_path, database.metadata, hold_s=0.5)):
            await open_account("anna", 0)
            with pytest.raises(Unavailable, match="TF-HELD-TOO-LONG: The transaction was in the way of others"):
                await keyed("anna", always)
        assert kit.outside("SELECT balance % 100 FROM accounts") == [(0,)]

    run(work())


async def _until(holds: Callable[[], Any]) -> Any:
    while not (found := await asyncio.to_thread(holds)):
        await asyncio.sleep(0.02)
    return found


@contextlib.contextmanager
def standby_missing(server: postgres.PostgresServer) -> Iterator[None]:
    """Every commit waits for a standby that does not exist."""
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    server.sql("SELECT pg_reload_conf()")
    try:
        _until_commits_wait(server)
        yield
    finally:
        server.sql("ALTER SYSTEM RESET synchronous_standby_names")
        server.sql("SELECT pg_reload_conf()")


WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


def _until_commits_wait(server: postgres.PostgresServer) -> None:
    """Returns when a commit has waited: a server that was told to read its settings does so when it gets to it."""
    with ThreadPoolExecutor(1) as somebody:
        while True:
            commit = somebody.submit(server.sql, "SELECT pg_logical_emit_message(true, 'nothing', 'to see')")
            while not wait([commit], timeout=0.02).done:
                if server.sql(WAITING):
                    server.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
                    commit.result()  # cancelled is: no longer waited for
                    return


def test_a_commit_that_may_not_have_reached_a_standby_is_unknown(
    tmp_path: Path, own_server: postgres.PostgresServer
) -> None:
    kit = PostgresKit(own_server)

    async def work() -> None:
        async with opened(kit.create(tmp_path, database.metadata)):
            await open_account("anna", 0)
            with standby_missing(own_server):
                task = asyncio.create_task(bump("anna"))
                await _until(lambda: own_server.sql(WAITING))
                own_server.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
                with pytest.raises(UnknownOutcome, match="not known to have reached a standby"):
                    await task

    run(work())


def test_a_commit_is_never_cancelled(tmp_path: Path, own_server: postgres.PostgresServer) -> None:
    kit = PostgresKit(own_server)
    called: list[int] = []

    async def body(tx: Transaction) -> None:
        await tx.run(BUMP, of="anna", by=1)
        tx.on_commit(lambda: called.append(1))

    async def work() -> None:
        async with opened(kit.create(tmp_path, database.metadata)):
            await open_account("anna", 0)
            with standby_missing(own_server):
                task = asyncio.create_task(keyed("anna", body))
                (pid,) = (await _until(lambda: own_server.sql(WAITING)))[0]
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert own_server.sql(WAITING) == [(pid,)]
                assert called == []
            await database.stop()  # lets it finish
            assert called == [1]
        assert kit.outside("SELECT balance FROM accounts") == [(1,)]

    run(work())


def test_a_commit_without_an_answer_is_unknown_after_hold_s(
    tmp_path: Path, own_server: postgres.PostgresServer
) -> None:
    kit = PostgresKit(own_server)

    async def work() -> None:
        async with opened(kit.create(tmp_path, database.metadata, hold_s=1.0)):
            await open_account("anna", 0)
            with standby_missing(own_server), pytest.raises(UnknownOutcome, match="TF-UNKNOWN"):
                await bump("anna")

    run(work())


async def bumps_until_held(backend: PostgresBackend) -> int:
    """How often it bumped, the held one too: a session takes a new setting up when it gets to it."""
    for number in itertools.count(1):
        assert await bump("anna") == number
        if backend.writes.replays:
            return number
    raise AssertionError("never")


def test_a_read_only_server_holds_writes_until_it_is_not(tmp_path: Path, own_server: postgres.PostgresServer) -> None:
    kit = PostgresKit(own_server)

    async def work() -> None:
        async with opened(kit.create(tmp_path, database.metadata)) as backend:
            await open_account("anna", 0)
            own_server.sql("ALTER SYSTEM SET default_transaction_read_only = on")
            own_server.sql("SELECT pg_reload_conf()")
            task = asyncio.create_task(bumps_until_held(backend))
            while backend.writes.replays < 2:
                await asyncio.sleep(0.02)
            assert not task.done()
            own_server.sql("ALTER SYSTEM RESET default_transaction_read_only")
            own_server.sql("SELECT pg_reload_conf()")
            assert await task == kit.outside("SELECT balance FROM accounts")[0][0]

    run(work())


def test_only_what_wrote_leaves_a_row(tmp_path: Path) -> None:
    kit = PostgresKit()

    async def reads(tx: Transaction) -> Any:
        return await tx.one_or_none(FIND, owner="anna")

    async def work() -> None:
        async with opened(kit.create(tmp_path, database.metadata)):
            await keyed("anna", reads)
            assert kit.outside("SELECT count(*) FROM tf_commit") == [(0,)]
            await open_account("anna", 1)
            assert kit.outside("SELECT result, length(fingerprint) FROM tf_commit") == [("", 0)]
            old = 16 * 60 * 1_000_000
            kit.outside(f"UPDATE tf_commit SET at_us = at_us - {old}")
            assert await database.prune_commits() == 1

    run(work())


def test_results_with_quotes_and_backslashes_are_stored_as_they_are(tmp_path: Path) -> None:
    kit = PostgresKit()
    text = 'it\'s \\ a "test"; COMMIT; $1 -- é \U0001f600 \x00'

    @database.transaction(key="owner")
    async def says(tx: Transaction, owner: str) -> str:
        return text

    async def work() -> None:
        async with opened(kit.create(tmp_path, database.metadata)):
            for _ in range(2):
                assert await in_request("k", lambda: says("anna")) == text

    run(work())


def test_a_schema_that_changes_under_prepared_statements_is_no_error(tmp_path: Path) -> None:
    kit = PostgresKit()

    async def work() -> None:
        async with opened(kit.create(tmp_path, database.metadata)):
            await open_account("anna", 0)
            for number in range(3):
                assert await bump("anna") == number + 1
                async with database.read("anna") as db:
                    assert (await db.one(FIND, owner="anna")).balance == number + 1
                kit.outside("ALTER TABLE accounts ALTER COLUMN balance TYPE numeric")
                kit.outside("ALTER TABLE accounts ALTER COLUMN balance TYPE bigint")
                kit.outside("DROP INDEX IF EXISTS more")
                kit.outside("CREATE INDEX more ON accounts (balance)")

    run(work())
