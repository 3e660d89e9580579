from __future__ import annotations

import collections
import contextlib
import sqlite3
from collections.abc import Iterable
from typing import Any

import pytest
from random_statements import KEYS, PARAMS, ROWS, TABLES, Generator
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import SQLAlchemyError

from tenfold.blocks.database.policy import Scope, check_keys, refusal
from tenfold.blocks.database.statement import Plan, compile_plan, parameters_of
from tenfold.core.errors import ContractError, InvalidRequest

DIALECT = SQLiteDialect_pysqlite(paramstyle="qmark")
Bag = collections.Counter[Any]


def store(keys: Iterable[str]) -> sqlite3.Connection:
    """The test's rows as a shard that holds only `keys` would have them."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for table in TABLES:
        connection.execute(f"CREATE TABLE {table.name} (k TEXT, id INTEGER, v INTEGER, ref TEXT)")
        rows = [row for row in ROWS[table.name] if table.name == "r" or row[0] in keys]
        connection.executemany(f"INSERT INTO {table.name} VALUES (?, ?, ?, ?)", rows)
    return connection


def outcome(connection: sqlite3.Connection, plan: Plan) -> Bag | None:
    """What the statement returns there, and for a write what it leaves; None when SQLite cannot run it."""
    try:
        sql, values = (plan.sql, plan.bind(PARAMS)) if plan.expand is None else plan.expand(PARAMS)
        found: Bag = collections.Counter(connection.execute(sql, values).fetchall())
    except (sqlite3.OperationalError, InvalidRequest):
        return None
    if plan.writes:
        for name in ("a", "b"):
            found.update((name, *row) for row in connection.execute(f"SELECT * FROM {name}"))
    return found


def plan_of(statement: Any, scope: Scope, keys: tuple[str, ...] | None) -> Plan | None:
    """The plan when the statement is accepted in that scope, otherwise None."""
    try:
        plan = compile_plan(statement, tuple(parameters_of(statement)), DIALECT)
        if refusal(statement, plan, scope) is not None:
            return None
        if keys is not None:
            check_keys(plan, PARAMS, keys)
    except (ContractError, InvalidRequest):
        return None
    return plan


def generated(seed: int) -> Any:
    try:
        return Generator(seed).statement()
    except SQLAlchemyError:
        return None


@pytest.mark.parametrize("part", range(4))
def test_an_accepted_statement_gives_the_same_where_only_its_key_lives(part: int) -> None:
    accepted = 0
    for seed in range(part * 1500, (part + 1) * 1500):
        statement = generated(seed)
        scope = Scope.KEYED_READ if hasattr(statement, "selected_columns") else Scope.KEYED_WRITE
        plan = plan_of(statement, scope, ("x",)) if statement is not None else None
        if plan is None or not plan.footprint.sharded:
            continue
        with contextlib.closing(store(KEYS)) as whole, contextlib.closing(store("x")) as alone:
            everything, own = outcome(whole, plan), outcome(alone, plan)
            if everything is None or own is None:
                continue
            if plan.writes:
                foreign: Bag = collections.Counter(
                    (name, *row) for name in ("a", "b") for row in ROWS[name] if row[0] != "x"
                )
                own.update(foreign)
            assert everything == own, f"seed {seed}:\n{statement}\n{everything - own}\n{own - everything}"
            accepted += 1
    assert accepted >= 80, "too few statements were accepted to say anything"


@pytest.mark.parametrize("part", range(2))
def test_an_accepted_fanout_gives_the_same_from_all_shards_together(part: int) -> None:
    accepted = 0
    for seed in range(part * 1500, (part + 1) * 1500):
        statement = generated(seed)
        plan = plan_of(statement, Scope.FANOUT, None) if statement is not None else None
        if plan is None or not plan.footprint.sharded:
            continue
        with (
            contextlib.closing(store(KEYS)) as whole,
            contextlib.closing(store("x")) as first,
            contextlib.closing(store("yz")) as second,
        ):
            everything, one, two = (outcome(shard, plan) for shard in (whole, first, second))
            if everything is None or one is None or two is None:
                continue
            assert everything == one + two, f"seed {seed}:\n{statement}\n{everything}\n{one + two}"
            accepted += 1
    assert accepted >= 25, "too few statements were accepted to say anything"
