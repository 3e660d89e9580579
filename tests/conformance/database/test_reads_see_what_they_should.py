from __future__ import annotations

import asyncio
import contextlib
import uuid
from pathlib import Path
from typing import Any

import pytest
from bank import (
    ADD_ENTRY,
    ALL_NOTES,
    COUNT_ACCOUNTS,
    FIND,
    OPEN,
    SET,
    accounts,
    at_home,
    database,
    entries,
    keyed,
    note,
    notes,
    open_account,
    rates,
    run,
)
from databases import Kit, opened
from sqlalchemy import bindparam, func, insert, literal_column, select, text, true, union_all, update

from tenfold.blocks.database import Transaction
from tenfold.core.errors import ContractError, NotFound, TenfoldError, Unavailable


def test_reads_never_see_what_is_not_committed(kit: Kit, tmp_path: Path) -> None:
    seen: list[object] = []

    async def body(tx: Transaction) -> None:
        await tx.run(SET, of="anna", balance=2)
        seen.append(kit.outside("SELECT balance FROM accounts")[0][0])

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await open_account("anna", 1)
            await keyed("anna", body)
            async with database.read("anna") as db:
                seen.append((await db.one(FIND, owner="anna")).balance)

    run(work())
    assert seen == [1, 2]


def test_a_client_reads_its_own_writes_and_never_goes_back(kit: Kit, tmp_path: Path) -> None:
    async def client(name: str) -> None:
        await open_account(name, 0)
        last = 0
        for value in range(1, 30):
            await keyed(name, lambda tx, value=value: tx.run(SET, of=name, balance=value))
            async with database.read(name) as db:
                found = (await db.one(FIND, owner=name)).balance
                assert found == value
                again = await db.scalar(FIND.with_only_columns(accounts.c.balance), owner=name)
                assert again >= found >= last
            last = found

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await asyncio.gather(*[client(f"u{at}") for at in range(10)])

    run(work())


def test_statements_of_a_plain_scope_follow_the_writes_and_those_of_a_snapshot_do_not(kit: Kit, tmp_path: Path) -> None:
    async def balance(db: Any) -> int:
        return int((await db.one(FIND, owner="anna")).balance)

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await open_account("anna", 1)
            async with database.read("anna") as plain, database.read("anna", snapshot=True) as snapshot:
                assert (await balance(plain), await balance(snapshot)) == (1, 1)
                await keyed("anna", lambda tx: tx.run(SET, of="anna", balance=2))
                assert (await balance(plain), await balance(snapshot)) == (2, 1)
                await keyed("anna", lambda tx: tx.run(SET, of="anna", balance=3))
                assert (await balance(plain), await balance(snapshot)) == (3, 1)
            async with database.read("anna", snapshot=True) as fresh:
                assert await balance(fresh) == 3

    run(work())


def test_a_snapshot_sees_one_state_while_others_write(kit: Kit, tmp_path: Path) -> None:
    async def move(tx: Transaction, amount: int) -> None:
        row = await tx.one(FIND, owner="anna")
        await tx.run(SET, of="anna", balance=row.balance - amount)
        await tx.run(ADD_ENTRY, owner="anna", number=await next_number(tx), amount=amount)

    async def next_number(tx: Transaction) -> int:
        found = await tx.scalar(COUNT_ENTRIES, owner="anna")
        return int(found)

    async def writer() -> None:
        for amount in range(60):
            await keyed("anna", lambda tx, amount=amount: move(tx, amount))

    async def reader() -> None:
        for _ in range(25):
            async with database.read("anna", snapshot=True) as db:
                balance = (await db.one(FIND, owner="anna")).balance
                moved = await db.scalar(SUM_ENTRIES, owner="anna")
                assert balance + (moved or 0) == 10_000

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await open_account("anna", 10_000)
            await asyncio.gather(writer(), reader(), reader(), reader())

    run(work())


COUNT_ENTRIES = select(func.count()).select_from(entries).where(entries.c.owner == bindparam("owner"))
SUM_ENTRIES = select(func.sum(entries.c.amount)).where(entries.c.owner == bindparam("owner"))


def test_snapshots_are_few_and_waiting_for_one_ends(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database, hold_s=1.0), contextlib.AsyncExitStack() as held:
            for _ in range(8):
                await held.enter_async_context(database.read("anna", snapshot=True))
            with pytest.raises(Unavailable, match=r"TF-HELD-TOO-LONG: All 8 snapshot connections are in use"):
                await held.enter_async_context(database.read("anna", snapshot=True))
            await open_account("anna")
            await held.aclose()
            async with database.read("anna", snapshot=True) as db:
                assert (await db.one(FIND, owner="anna")).balance == 0

    run(work())


def test_a_cancelled_snapshot_gives_its_place_back(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database, hold_s=5):
            await fill_notes(2000)
            for _ in range(3):
                tasks = [asyncio.create_task(slow_snapshot()) for _ in range(8)]
                await asyncio.sleep(0.02)
                for task in tasks:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                assert {type(result) for result in results} == {asyncio.CancelledError}
            async with database.read(snapshot=True) as db:
                assert len(await db.all(ALL_NOTES)) == 2000

    run(work())


async def slow_snapshot() -> None:
    async with database.read(snapshot=True) as db:
        await db.all(slow_statement())


async def fill_notes(count: int) -> None:
    await at_home(lambda tx: tx.run_many(insert(notes), [{"id": at, "text": "x"} for at in range(count)]))


def slow_statement() -> Any:
    two, three = notes.alias(), notes.alias()
    return (
        select(func.count()).select_from(notes.join(two, true()).join(three, true())).where(notes.c.text == two.c.text)
    )


def test_a_slow_read_on_the_loop_is_ended(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await fill_notes(3000)
            async with database.read() as db:
                with pytest.raises(TenfoldError, match=r"TF-READ-3: A statement ran longer than .*fanout") as caught:
                    await db.all(slow_statement())
                assert caught.value.code == "TF-READ-3"
                assert len(await db.all(ALL_NOTES)) == 3000

    run(work())


def test_a_read_scope_cannot_write(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            for scope in (database.read("anna"), database.read("anna", snapshot=True), database.fanout()):
                async with scope as db:
                    with pytest.raises(ContractError, match=r"TF-READ-1: A write \(accounts\) was given to a"):
                        await db.all(OPEN, owner="anna", balance=1)
                    with pytest.raises(ContractError, match="TF-READ-1"):
                        await db.all(insert(accounts).returning(accounts.c.owner), owner="anna", balance=1)
        assert kit.outside("SELECT count(*) FROM accounts") == [(0,)]

    run(work())


def test_one_means_one(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            for number in (1, 2):
                await note(number, "x")
            for scope in (database.read(), database.read(snapshot=True)):
                async with scope as db:
                    assert len(await db.all(ALL_NOTES)) == 2
                    for method in (db.one, db.one_or_none, db.scalar):
                        with pytest.raises(ContractError, match="TF-STMT-4: Several rows came"):
                            await method(ALL_NOTES)
                    none = ALL_NOTES.where(notes.c.id == 99)
                    assert (await db.one_or_none(none), await db.scalar(none), await db.all(none)) == (None, None, [])
                    with pytest.raises(NotFound, match="TF-NO-ROW"):
                        await db.one(none)

    run(work())


def test_a_forgotten_where_cannot_fill_the_memory(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await fill_notes(400)
            many = select(notes.c.id).select_from(notes.join(notes.alias(), true()))
            async with database.read() as db:
                with pytest.raises(ContractError, match=r"TF-STMT-5: More than 100,000 rows came"):
                    await db.all(many)

    run(work())


def test_scopes_refuse_statements_of_other_keys(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            async with database.read("anna") as db:
                with pytest.raises(ContractError, match=r"TF-KEY-2: .* for key 'bert', the scope for 'anna'"):
                    await db.one(FIND, owner="bert")
                with pytest.raises(ContractError, match="TF-KEY-1: A statement without its key"):
                    await db.all(select(accounts))
                with pytest.raises(ContractError, match="TF-KEY-4"):
                    await db.all(ALL_NOTES)
                with pytest.raises(ContractError, match=r"TF-KEY-3: .*text"):
                    await db.all(text("SELECT 1"))
                with pytest.raises(ContractError, match=r"TF-KEY-3: .*raw SQL"):
                    await db.all(FIND.where(literal_column("1 = 1")), owner="anna")
                assert await db.all(select(rates)) == []
            async with database.read() as db:
                with pytest.raises(ContractError, match=r"TF-KEY-1: A statement on sharded tables \(accounts\)"):
                    await db.one(FIND, owner="anna")
            for wrong in (1.5, True, b"x"):
                with pytest.raises(TenfoldError, match="TF-VALUE"):
                    database.read(wrong)

    run(work())


def test_fanout_reads_rows_of_all_keys(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            for at in range(20):
                await open_account(f"u{at:02}", at)
            async with database.fanout() as db:
                assert await db.scalar(COUNT_ACCOUNTS) == 20
                rows = await db.all(select(accounts).order_by(accounts.c.owner).limit(3))
                assert [tuple(row) for row in rows] == [("u00", 0), ("u01", 1), ("u02", 2)]
                assert tuple(await db.one(select(func.sum(accounts.c.balance), func.max(accounts.c.owner)))) == (
                    190,
                    "u19",
                )
                assert await db.one_or_none(FIND, owner="nobody") is None

    run(work())


BY_OWNER = accounts.join(entries, accounts.c.owner == entries.c.owner)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (select(notes), "home tables"),
        (union_all(select(accounts.c.owner), select(entries.c.owner)), "a compound SELECT"),
        (select(accounts.c.owner).group_by(accounts.c.owner), "GROUP BY or DISTINCT"),
        (select(accounts.c.owner).distinct(), "GROUP BY or DISTINCT"),
        (select(accounts.c.owner).offset(5), "OFFSET over shards"),
        (select(func.avg(accounts.c.balance)), r"avg\(\) over shards"),
        (select(func.count(), accounts.c.owner), "columns beside aggregates"),
        (select(accounts.c.owner).order_by(accounts.c.balance), "ORDER BY accounts.balance, which it does not select"),
        (
            select(accounts.c.owner).join(entries, entries.c.amount == accounts.c.balance),
            "a join of rows of different keys",
        ),
        (select(accounts.c.owner).where(accounts.c.balance.in_(select(entries.c.amount))), "entries.owner"),
        (select(rates).where(rates.c.rate.in_(select(accounts.c.balance))), "a join of rows of different keys"),
        (select(rates.c.code).join(accounts, accounts.c.owner == rates.c.code, isouter=True), "different keys"),
    ],
)
def test_what_several_shards_could_not_answer_is_refused(kit: Kit, tmp_path: Path, statement: Any, why: str) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database), database.fanout() as db:
            with pytest.raises(ContractError, match=rf"TF-FANOUT-1: A fanout cannot run .*{why}"):
                await db.all(statement)

    run(work())


def test_fanout_joins_on_the_key(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await open_account("anna", 1)
            await keyed("anna", lambda tx: tx.run(ADD_ENTRY, owner="anna", number=1, amount=5))
            async with database.fanout() as db:
                rows = await db.all(select(accounts.c.owner, entries.c.amount).select_from(BY_OWNER))
                assert [tuple(row) for row in rows] == [("anna", 5)]

    run(work())


def test_rows_of_two_keys_need_two_statements(kit: Kit, tmp_path: Path) -> None:
    @database.transaction(key=("one", "two"))
    async def transfer(tx: Transaction, one: str, two: str, amount: int) -> None:
        for owner, change in ((one, -amount), (two, amount)):
            row = await tx.one(FIND, owner=owner)
            await tx.run(SET, of=owner, balance=row.balance + change)

    @database.transaction(key=("one", "two"))
    async def joins(tx: Transaction, one: str, two: str) -> None:
        other = accounts.alias()
        both = select(accounts.c.owner).where(accounts.c.owner == bindparam("one"), other.c.owner == bindparam("two"))
        await tx.all(both, one=one, two=two)

    async def work() -> None:
        async with opened(kit, tmp_path, database):
            await open_account("anna", 10)
            await open_account("bert", 0)
            await transfer("anna", "bert", 4)
            with pytest.raises(ContractError, match="TF-KEY-2: One statement joins rows of two keys, 'anna'"):
                await joins("anna", "bert")
            with pytest.raises(ContractError, match="TF-KEY-2"):
                await keyed("anna", lambda tx: tx.one(FIND, owner=uuid.uuid4()))
        assert kit.outside("SELECT balance FROM accounts ORDER BY owner") == [(6,), (4,)]

    run(work())


def test_a_scope_is_over_at_its_end(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            async with database.read("anna", snapshot=True) as db:
                pass
            with pytest.raises(ContractError, match="TF-TX-5: A read scope was used after its end"):
                await db.all(FIND, owner="anna")

    run(work())


def test_the_update_of_one_key_leaves_the_others(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            for owner in ("anna", "bert"):
                await open_account(owner, 1)
            with pytest.raises(ContractError, match=r"TF-KEY-1: .*nothing pins accounts\.owner"):
                await keyed("anna", lambda tx: tx.run(update(accounts).values(balance=0)))
            assert await keyed("anna", lambda tx: tx.run(SET, of="anna", balance=7)) == 1
        assert kit.outside("SELECT balance FROM accounts ORDER BY owner") == [(7,), (1,)]

    run(work())
