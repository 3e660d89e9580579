"""A small service for the tests of the database block: tables of each home, statements, transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import Column, MetaData, bindparam, func, insert, select, update

from tenfold.blocks.database import Database, Transaction, home, replicated, sharded_by
from tenfold.blocks.database.types import Int64, Text

database = Database(MetaData())

accounts = database.table(
    "accounts",
    Column("owner", Text(40), primary_key=True),
    Column("balance", Int64(), nullable=False, default=0),
    home=sharded_by("owner"),
)
entries = database.table(
    "entries",
    Column("owner", Text(40), primary_key=True),
    Column("number", Int64(), primary_key=True),
    Column("amount", Int64(), nullable=False),
    home=sharded_by("owner"),
)
notes = database.table("notes", Column("id", Int64(), primary_key=True), Column("text", Text(200)), home=home())
rates = database.table("rates", Column("code", Text(3), primary_key=True), Column("rate", Int64()), home=replicated())

OPEN = insert(accounts)
FIND = select(accounts).where(accounts.c.owner == bindparam("owner"))
SET = update(accounts).where(accounts.c.owner == bindparam("of"))
ADD_ENTRY = insert(entries)
COUNT_ACCOUNTS = select(func.count()).select_from(accounts)
ADD_NOTE = insert(notes)
ALL_NOTES = select(notes).order_by(notes.c.id)

Body = Callable[[Transaction], Awaitable[Any]]


@database.transaction(key="owner")
async def open_account(tx: Transaction, owner: str, balance: int | None = 0) -> None:
    """Adds an account; Conflict when it exists, or has no balance (None)."""
    await tx.run(OPEN, owner=owner, balance=balance)


@database.transaction(key="owner")
async def keyed(tx: Transaction, owner: str, body: Body) -> object:
    """Any body, in a transaction of one key."""
    return await body(tx)


@database.transaction()
async def at_home(tx: Transaction, body: Body) -> object:
    """Any body, in a home transaction."""
    return await body(tx)


@database.transaction()
async def note(tx: Transaction, number: int, text: str = "") -> None:
    """Adds a note."""
    await tx.run(ADD_NOTE, id=number, text=text)


def run(work: Awaitable[Any]) -> Any:
    """Runs one test's work on a loop of its own, within half a minute."""

    async def bounded() -> Any:
        return await asyncio.wait_for(work, 30)

    return asyncio.run(bounded())
