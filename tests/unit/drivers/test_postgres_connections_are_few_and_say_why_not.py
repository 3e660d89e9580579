"""Pool and errors of PostgreSQL: bounded, in order, renewed; each failure is a sentence with a hint and no secret."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import postgres
import pytest

from tenfold.core.errors import Conflict, StaleMap, StorageDamaged, StorageFull, TenfoldError, Unavailable
from tenfold.drivers.postgres import Link, Lost, Pool, Settings, is_lost, is_serialization, translated

needs = postgres.needs_postgres
WHERE = "The PostgreSQL database shop at db:5432"


def settings(**given: Any) -> Settings:
    server = postgres.server()
    base = Settings(server.host, server.port, "postgres", postgres.SUPERUSER, server.password)
    return dataclasses.replace(base, **given)


def run(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, 30))


@contextlib.asynccontextmanager
async def pool_of(size: int, **given: Any) -> AsyncIterator[Pool]:
    pool = Pool(settings(), size, **given)
    try:
        yield pool
    finally:
        await pool.close()


@needs
def test_connections_are_bounded_and_handed_over_in_the_order_of_arrival() -> None:
    order: list[int] = []

    async def work(pool: Pool, number: int) -> None:
        link = await pool.take(5)
        assert pool.used <= 2
        await link.fetch("SELECT 1", ())
        order.append(number)
        pool.give(link)

    async def whole() -> None:
        async with pool_of(2) as pool:
            held = [await pool.take(5), await pool.take(5)]
            tasks = [asyncio.create_task(work(pool, at)) for at in range(20)]
            await asyncio.sleep(0)
            pool.give(held[0])
            await asyncio.gather(*tasks)
            assert order == list(range(20))
            pool.give(held[1])
            assert pool.used == 0

    run(whole())


@needs
def test_waiting_ends_and_the_queue_is_bounded() -> None:
    async def whole() -> None:
        async with pool_of(1, what="test", queue=1) as pool:
            link = await pool.take(5)
            first = asyncio.create_task(pool.take(0.05))
            await asyncio.sleep(0)
            with pytest.raises(Unavailable, match="TF-QUEUE-FULL: All 1 test connections are in use"):
                await pool.take(5)
            with pytest.raises(Unavailable, match="TF-HELD-TOO-LONG: All 1 test connections are in use"):
                await first
            cancelled = asyncio.create_task(pool.take(5))
            await asyncio.sleep(0)
            pool.give(link)  # handed to somebody who leaves in the same moment
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            assert await pool.take(0.05) is link
            waiting = asyncio.create_task(pool.take(5))
            await asyncio.sleep(0)
            pool.end()
            with pytest.raises(Unavailable, match="TF-CLOSING"):
                await waiting

    run(whole())


@needs
def test_an_older_generation_is_closed_when_nobody_uses_it() -> None:
    async def whole() -> None:
        async with pool_of(2) as pool:
            idle, used = await pool.take(5), await pool.take(5)
            pool.give(idle)
            pool.renew(settings(name="tenfold new"))
            fresh = await pool.take(5)
            assert fresh not in (idle, used)
            assert [row[0] for row in await fresh.fetch("SHOW application_name", ())] == ["tenfold new"]
            await used.fetch("SELECT 1", ())
            pool.give(used)
            pool.give(fresh)
            async with asyncio.timeout(2):
                while not (idle.closed and used.closed):
                    await asyncio.sleep(0.01)
            assert not fresh.closed

    run(whole())


@needs
def test_what_is_left_in_a_transaction_or_broken_is_not_used_again() -> None:
    async def whole() -> None:
        async with pool_of(1) as pool:
            link = await pool.take(5)
            await link.execute("BEGIN")
            pool.give(link)
            second = await pool.take(5)
            assert second is not link
            pool.discard(second)
            assert second.closed
            assert await pool.take(5) is not second

    run(whole())


@needs
def test_sessions_are_set_up_for_us() -> None:
    async def whole() -> None:
        link = await Link.open(settings(statement_s=7, lock_s=3, read_only=True, name="tenfold shop 1"))
        shown = {}
        for name in ("search_path", "timezone", "jit", "statement_timeout", "lock_timeout", "application_name"):
            shown[name] = (await link.fetch(f"SHOW {name}", ()))[0][0]
        assert shown == {
            "search_path": "public, tf",
            "timezone": "UTC",
            "jit": "off",
            "statement_timeout": "7s",
            "lock_timeout": "3s",
            "application_name": "tenfold shop 1",
        }
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await link.execute("CREATE TABLE t (id int)")
        await link.close()

    run(whole())


@needs
@pytest.mark.parametrize(
    ("given", "code", "said", "hint"),
    [
        ({"password": "wrong"}, "TF-DB-LOGIN", "refuses the password of this process", "secret"),
        ({"user": "nobody_knows"}, "TF-DB-LOGIN", "refuses the password", "secret"),
        ({"database": "gone"}, "TF-DB-LOGIN", 'does not exist (database "gone" does not exist)', "tenfold climb"),
        ({"port": 1}, "TF-DB-AWAY", "does not answer", "goes on by itself"),
    ],
)
def test_a_connection_that_cannot_be_made_says_why(given: dict[str, Any], code: str, said: str, hint: str) -> None:
    wanted = settings(**given)
    with pytest.raises(Unavailable) as caught:
        run(Link.open(wanted))
    error = caught.value
    assert (error.code, error.status) == (code, 503)
    assert said in error.message
    assert hint in error.hint
    assert wanted.password not in str(error)
    assert wanted.password not in repr(wanted)
    assert is_lost(error) is (code == "TF-DB-AWAY")


def error_of(state: str, message: str = "it said so", **more: Any) -> asyncpg.PostgresError:
    fields = {"C": state, "M": message, "S": "ERROR", **more}
    return asyncpg.PostgresError.new(fields)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "kind", "code", "said"),
    [
        (
            error_of("23505", D="Key (owner, number, tf_bucket)=(secret, 1, 7) already exists.", t="entries"),
            Conflict, "TF-CONFLICT", "A row with the same entries.owner, entries.number exists already.",
        ),
        (error_of("23505", n="odd", t="entries"), Conflict, "TF-CONFLICT", "the same entries (odd) exists"),
        (error_of("23514", t="things", n="ck_word", D="Failing row contains (secret)."), Conflict, "TF-CONFLICT",
         "breaks a constraint of the table: things, ck_word."),
        (error_of("23502", t="things", c="text"), Conflict, "TF-CONFLICT", "things, text"),
        (error_of("TF001", "epoch=7"), StaleMap, "TF001", "epoch=7"),
        (error_of("53100"), StorageFull, "TF-DISK-FULL", "no room left on"),
        (error_of("XX001"), StorageDamaged, "TF-DAMAGED", "found damaged data"),
        (error_of("28000", "no pg_hba.conf entry"), Unavailable, "TF-DB-LOGIN", "no pg_hba.conf entry"),
        (error_of("42501", "permission denied for table x"), TenfoldError, "TF-DB-RIGHTS", "permission denied"),
        (error_of("55P03"), Unavailable, "TF-HELD-TOO-LONG", "held a lock for too long"),
        (error_of("57014"), TenfoldError, "TF-READ-3", "ran longer than"),
        (error_of("40001"), Unavailable, "TF-HELD-TOO-LONG", "in the way of others"),
        (error_of("42P01", "relation does not exist"), TenfoldError, "TF-SQL", "relation does not exist"),
        (error_of("57P01"), Lost, "TF-DB-AWAY", "does not answer"),
        (error_of("25006"), Lost, "TF-DB-AWAY", "does not answer"),
        (ConnectionRefusedError("refused"), Lost, "TF-DB-AWAY", "does not answer"),
        (TimeoutError(), Lost, "TF-DB-AWAY", "does not answer (TimeoutError)"),
        (asyncpg.InterfaceError("connection is closed"), Lost, "TF-DB-AWAY", "does not answer"),
        (asyncpg.DataError("invalid input for query argument $1"), TenfoldError, "TF-SQL", "invalid input"),
    ],
)  # fmt: skip
def test_each_error_is_a_sentence_without_values(error: BaseException, kind: type, code: str, said: str) -> None:
    found = translated(error, WHERE)
    assert type(found) is kind or (kind is not TenfoldError and isinstance(found, kind))
    assert (found.code, "secret" in str(found).replace("secret's", "")) == (code, False)
    assert said in found.message
    assert found.for_clients or not found.public
    assert not re.search(r"entries|things|constraint|PostgreSQL|db:5432|pg_hba", found.for_clients)
    assert found.hint or isinstance(found, Conflict | StaleMap) or code == "TF-SQL"


@pytest.mark.parametrize("state", ["08006", "57P01", "57P02", "57P03", "25006", "53300"])
def test_which_connections_are_lost(state: str) -> None:
    assert is_lost(error_of(state))
    assert not is_serialization(error_of(state))


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_which_transactions_collided(state: str) -> None:
    assert is_serialization(error_of(state))
    assert not is_lost(error_of(state))


@needs
def test_those_who_have_a_connection_may_finish() -> None:
    async def whole() -> None:
        async with pool_of(2) as pool:
            link = await pool.take(5)
            ending = asyncio.create_task(pool.drained(5))
            await asyncio.sleep(0)
            with pytest.raises(Unavailable, match="TF-CLOSING"):
                await pool.take(5)
            assert [tuple(row) for row in await link.fetch("SELECT 1", ())] == [(1,)]
            assert not ending.done()
            pool.give(link)
            await ending

    run(whole())


@needs
def test_who_keeps_a_connection_for_too_long_loses_it() -> None:
    async def whole() -> None:
        async with pool_of(1, limit_s=0.2) as pool:
            link = await pool.take(5)
            with pytest.raises((asyncpg.InterfaceError, asyncpg.PostgresError)) as caught:
                await link.fetch("SELECT pg_sleep(20)", ())
            assert is_lost(caught.value)
            pool.give(link)
            assert await pool.take(5) is not link

    run(whole())
