"""The probe's tables and what it does with them, through public blocks only.

Every table is sharded by its key, so each operation touches one key, as a service's would.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update

from tenfold import Column, Conflict, Int64, InvalidRequest, Tenfold, Text, Transaction, sharded_by
from tenfold.prove.probe.limits import ACCOUNTS, BALANCE, ELEMENTS, NAME


@dataclass(frozen=True, slots=True)
class Versioned:
    """A register: its value and how often it was written. Version 0 was never written."""

    value: str | None
    version: int


class Data:
    """The probe's operations on one service. Making it declares the tables."""

    def __init__(self, tf: Tenfold) -> None:
        self._tf = tf
        self.add = _set(tf)
        self.write, self.value, self.cached = _register(tf)
        self.increment, self.add_to_counter = _counter(tf)
        self.transfer = _bank(tf)
        tables = tf.metadata.tables
        sets, counters, accounts = (tables[name] for name in ("probe_set", "probe_counter", "probe_account"))
        self._elements = select(sets.c.element).where(sets.c.key == bindparam("key"))
        self._count = select(counters.c.count).where(counters.c.key == bindparam("key"))
        self._balances = (
            select(accounts.c.balance).where(accounts.c.key == bindparam("key")).order_by(accounts.c.account)
        )

    async def elements(self, key: str) -> list[str]:
        """All elements of a set, in no particular order."""
        async with self._tf.database.read(key=key) as db:
            return [row.element for row in await db.all(self._elements, key=key)]

    async def count(self, key: str) -> int:
        """What a counter says; 0 before its first increment."""
        async with self._tf.database.read(key=key) as db:
            return int(await db.scalar(self._count, key=key) or 0)

    async def balances(self, key: str) -> list[int]:
        """All accounts of a bank, as one statement sees them."""
        async with self._tf.database.read(key=key) as db:
            found = [row.balance for row in await db.all(self._balances, key=key)]
        return found or [BALANCE] * ACCOUNTS


def _set(tf: Tenfold) -> Callable[[str, str], Awaitable[None]]:
    sets = tf.table(
        "probe_set",
        Column("key", Text(NAME), primary_key=True),
        Column("element", Text(NAME), primary_key=True),
        home=sharded_by("key"),
    )
    size = select(func.count()).select_from(sets).where(sets.c.key == bindparam("key"))
    insertion = insert(sets)

    @tf.database.transaction(key="key")
    async def add(tx: Transaction, key: str, element: str) -> None:
        if await tx.scalar(size, key=key) >= ELEMENTS:
            raise Conflict(f"The set has {ELEMENTS} elements already.", hint="Begin a new one.")
        await tx.run(insertion, key=key, element=element)

    return add


def _register(tf: Tenfold) -> tuple[Callable[[str, str], Awaitable[int]], Callable[[str], Awaitable[Versioned]], Any]:
    registers = tf.table(
        "probe_register",
        Column("key", Text(NAME), primary_key=True),
        Column("value", Text(NAME), nullable=False),
        Column("version", Int64, nullable=False),
        home=sharded_by("key"),
    )
    find = select(registers.c.value, registers.c.version).where(registers.c.key == bindparam("key"))
    begin = insert(registers)
    change = (
        update(registers)
        .where(registers.c.key == bindparam("of"))
        .values(value=bindparam("to"), version=bindparam("next"))
    )

    async def value(key: str) -> Versioned:
        async with tf.database.read(key=key) as db:
            row = await db.one_or_none(find, key=key)
        return Versioned(None, 0) if row is None else Versioned(row.value, row.version)

    cached = tf.cache.read("probe:{key}", ttl="1h")(value)

    @tf.database.transaction(key="key")
    async def write(tx: Transaction, key: str, to: str) -> int:
        row = await tx.one_or_none(find, key=key)
        if row is None:
            await tx.run(begin, key=key, value=to, version=1)
        else:
            await tx.run(change, of=key, to=to, next=row.version + 1)
        tf.cache.invalidate(tx, cached, key)
        return 1 if row is None else int(row.version) + 1

    return write, value, cached


def _counter(
    tf: Tenfold,
) -> tuple[Callable[[str, int], Awaitable[int]], Callable[[Transaction, str, int], Awaitable[int]]]:
    counters = tf.table(
        "probe_counter",
        Column("key", Text(NAME), primary_key=True),
        Column("count", Int64, nullable=False),
        home=sharded_by("key"),
    )
    find = select(counters.c.count).where(counters.c.key == bindparam("key"))
    begin = insert(counters)
    change = update(counters).where(counters.c.key == bindparam("of")).values(count=bindparam("to"))

    async def add_to(tx: Transaction, key: str, by: int) -> int:
        before = await tx.scalar(find, key=key)
        if before is None:
            await tx.run(begin, key=key, count=by)
        else:
            await tx.run(change, of=key, to=before + by)
        return int(before or 0) + by

    @tf.database.transaction(key="key")
    async def increment(tx: Transaction, key: str, by: int) -> int:
        return await add_to(tx, key, by)

    return increment, add_to


def _bank(tf: Tenfold) -> Callable[[str, int, int, int], Awaitable[None]]:
    accounts = tf.table(
        "probe_account",
        Column("key", Text(NAME), primary_key=True),
        Column("account", Int64, primary_key=True),
        Column("balance", Int64, nullable=False),
        home=sharded_by("key"),
    )
    find = select(accounts.c.balance).where(accounts.c.key == bindparam("key")).order_by(accounts.c.account)
    opening = insert(accounts)
    change = (
        update(accounts)
        .where(accounts.c.key == bindparam("of"), accounts.c.account == bindparam("number"))
        .values(balance=bindparam("to"))
    )

    @tf.database.transaction(key="key")
    async def transfer(tx: Transaction, key: str, giver: int, taker: int, amount: int) -> None:
        balances = [row.balance for row in await tx.all(find, key=key)]
        if not balances:
            balances = [BALANCE] * ACCOUNTS
            rows = [{"key": key, "account": number, "balance": BALANCE} for number in range(ACCOUNTS)]
            await tx.run_many(opening, rows)
        if giver == taker or not 0 <= giver < ACCOUNTS or not 0 <= taker < ACCOUNTS:
            raise InvalidRequest(f"There are the accounts 0 to {ACCOUNTS - 1}; take two of them.")
        if balances[giver] < amount:
            raise Conflict("There is not enough in that account.", hint="Transfer less.")
        await tx.run(change, of=key, number=giver, to=balances[giver] - amount)
        await tx.run(change, of=key, number=taker, to=balances[taker] + amount)

    return transfer
