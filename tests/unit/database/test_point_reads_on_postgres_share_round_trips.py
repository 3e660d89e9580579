"""Reads that meet go together; what is wrong with one of them is its own."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import postgres
import pytest
from bank import ADD_NOTE, FIND, at_home, database, notes, open_account
from postgres_kit import PostgresKit
from sqlalchemy import Column, MetaData, bindparam, insert, select

from tenfold.blocks.database import Database, Transaction, home
from tenfold.blocks.database.postgres.points import together
from tenfold.blocks.database.types import Bool, Bytes, Decimal, Float, Int64, Text, UtcDateTime, Uuid
from tenfold.core.errors import ContractError, TenfoldError
from tenfold.drivers.postgres import Link


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that were sent."""
    told: list[str] = []
    real = Link.fetch

    async def fetch(self: Link, sql: str, values: Any) -> Any:
        told.append(sql)
        return await real(self, sql, values)

    monkeypatch.setattr(Link, "fetch", fetch)
    return told


def run(work: Any) -> Any:
    return asyncio.run(asyncio.wait_for(work, 30))


async def find(owner: str) -> Any:
    async with database.read(owner) as db:
        return await db.one_or_none(FIND, owner=owner)


@postgres.needs_postgres
def test_reads_of_one_plan_go_together_and_equal_ones_once(tmp_path: Path, sent: list[str]) -> None:
    async def work() -> None:
        await database.start(PostgresKit().create(tmp_path, database.metadata), print)
        for at in range(50):
            await open_account(f"u{at}", at)
        sent.clear()
        found = await asyncio.gather(*[find(f"u{at % 60}") for at in range(600)])
        assert [row and (row.owner, row.balance) for row in found] == [
            (f"u{at % 60}", at % 60) if at % 60 < 50 else None for at in range(600)
        ]
        assert len(sent) <= 3  # those that find nobody on the way go alone
        assert "LATERAL" in sent[-1]
        for _ in range(2):
            sent.clear()
            assert (await find("u7")).balance == 7
            assert len(sent) == 1
            assert "LATERAL" not in sent[0]
        await database.stop()

    run(work())


@postgres.needs_postgres
def test_each_of_them_keeps_its_own_outcome(tmp_path: Path) -> None:
    by_text = select(notes).where(notes.c.text == bindparam("text"))

    async def one(text: str) -> Any:
        async with database.read() as db:
            return await db.one_or_none(by_text, text=text)

    async def work() -> None:
        await database.start(PostgresKit().create(tmp_path, database.metadata), print)
        rows = [(1, "a"), (2, "b"), (3, "b"), (4, "c")]

        async def body(tx: Transaction) -> None:
            await tx.run_many(ADD_NOTE, [{"id": number, "text": text} for number, text in rows])

        await at_home(body)
        found = await asyncio.gather(*[one(text) for text in "abcd"], return_exceptions=True)
        assert [type(each) is ContractError for each in found] == [False, True, False, False]
        assert (found[0].id, found[2].id, found[3]) == (1, 4, None)  # type: ignore[union-attr]
        waiting = [asyncio.create_task(one("a")) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[2].cancel()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(found[2], asyncio.CancelledError)
        assert {each.id for at, each in enumerate(found) if at != 2} == {1}  # type: ignore[union-attr]
        await database.stop()

    run(work())


@postgres.needs_postgres
def test_one_that_the_server_refuses_does_not_fail_the_others(tmp_path: Path) -> None:
    divided = select((notes.c.id / bindparam("by")).label("part")).where(notes.c.id == bindparam("id"))

    async def part(by: int) -> Any:
        async with database.read() as db:
            return await db.scalar(divided, id=6, by=by)

    async def work() -> None:
        await database.start(PostgresKit().create(tmp_path, database.metadata), print)
        await at_home(lambda tx: tx.run(ADD_NOTE, id=6, text="x"))
        found = await asyncio.gather(*[part(by) for by in (1, 2, 0, 3)], return_exceptions=True)
        assert [found[0], found[1], found[3]] == [6, 3, 2]
        assert isinstance(found[2], TenfoldError)
        assert "division by zero" in found[2].message
        await database.stop()

    run(work())


own = Database(MetaData())
kinds = own.table(
    "kinds",
    Column("id", Int64(), primary_key=True),
    Column("text", Text(20)),
    Column("real", Float()),
    Column("yes", Bool()),
    Column("moment", UtcDateTime()),
    Column("exact", Decimal(12, 3)),
    Column("uid", Uuid()),
    Column("blob", Bytes(20)),
    home=home(),
)


@postgres.needs_postgres
def test_every_type_can_be_asked_for_together(tmp_path: Path, sent: list[str]) -> None:
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415
    from decimal import Decimal as Exact  # noqa: PLC0415

    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        {
            "id": at, "text": f"it's {at}", "real": at / 7, "yes": bool(at % 2),
            "moment": start + timedelta(seconds=at), "exact": Exact(at) / 8, "uid": uuid.UUID(int=at),
            "blob": bytes([at, 0]),
        }
        for at in range(8)
    ]  # fmt: skip

    @own.transaction()
    async def fill(tx: Transaction) -> int:
        return await tx.run_many(insert(kinds), rows)

    async def ask(column: str, value: Any) -> Any:
        asked = statements[column]
        async with own.read() as db:
            return await db.all(asked, v=value) if column == "yes" else await db.one(asked, v=value)

    statements = {
        column: select(kinds).where(kinds.c[column] == bindparam("v")).order_by(kinds.c.id) for column in rows[0]
    }

    async def work() -> None:
        await own.start(PostgresKit().create(tmp_path, own.metadata), print)
        assert await fill() == 8
        for column in rows[0]:
            if column == "yes":
                continue
            sent.clear()
            found = await asyncio.gather(*[ask(column, row[column]) for row in rows])
            assert [row._asdict() for row in found] == rows
            assert "LATERAL" in sent[-1], column
        await own.stop()

    run(work())


def test_parameters_are_found_outside_of_literals_only() -> None:
    made = together(
        'SELECT a, \'$1\', "$2" FROM t WHERE a = $1::TEXT COLLATE "C" AND b = $2 OR c = $1', ["text", "int8"]
    )
    assert made is not None
    assert "unnest($1::text[], $2::int8[])" in made
    assert 'SELECT a, \'$1\', "$2" FROM t WHERE a = tf_k.p1::TEXT COLLATE "C" AND b = tf_k.p2 OR c = tf_k.p1' in made
    for odd in (
        "SELECT $$x$$, $1",
        "SELECT E'\\'', $1",
        "SELECT $1 -- $1",
        "SELECT /* $1 */ $1",
        "SELECT $tag$ $1 $tag$",
    ):
        assert together(odd, ["text"]) is None
    assert together("SELECT 1", []) is None
