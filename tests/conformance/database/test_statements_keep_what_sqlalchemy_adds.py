from __future__ import annotations

import itertools
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bank import run
from databases import Kit, opened
from sqlalchemy import Column, MetaData, Sequence, bindparam, delete, func, insert, literal, select, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from tenfold.blocks.database import Database, Transaction, home, sharded_by
from tenfold.blocks.database.keys import bucket_of
from tenfold.blocks.database.types import Bool, Int64, Text, UtcDateTime, Uuid
from tenfold.core.errors import ContractError, InvalidRequest

counter = itertools.count(1)
database = Database(MetaData())
items = database.table(
    "items",
    Column("owner", Uuid(), primary_key=True),
    Column("number", Int64(), primary_key=True),
    Column("state", Text(10), nullable=False, default="new"),
    Column("made", UtcDateTime(), default=lambda: datetime(2026, 1, 2, tzinfo=UTC)),
    Column("version", Int64(), default=lambda: next(counter), onupdate=lambda: next(counter) + 1000),
    Column("open", Bool(), onupdate=False),
    home=sharded_by("owner"),
)
tags = database.table("tags", Column("name", Text(20), primary_key=True), Column("rank", Int64()), home=home())
OWNER = uuid.UUID("00000000-0000-4000-8000-000000000001")
ADD = insert(items)
MINE = items.c.owner == bindparam("owner")
ALL = select(items).where(MINE).order_by(items.c.number)


@database.transaction(key="owner")
async def keyed(tx: Transaction, owner: uuid.UUID, body: Any) -> object:
    return await body(tx)


@database.transaction()
async def at_home(tx: Transaction, body: Any) -> object:
    return await body(tx)


def within(kit: Kit, folder: Path, body: Any, transaction: Any = None) -> Any:
    """Runs a body in a transaction of OWNER on an empty database."""

    async def work() -> Any:
        async with opened(kit, folder, database):
            return await (at_home(body) if transaction is at_home else keyed(OWNER, body))

    return run(work())


async def three(tx: Transaction) -> None:
    await tx.run_many(ADD, [{"owner": OWNER, "number": at, "state": f"s{at}"} for at in (1, 2, 3)])


def test_defaults_are_filled_in_and_updated(kit: Kit, tmp_path: Path) -> None:
    async def body(tx: Transaction) -> None:
        await tx.run(ADD, owner=OWNER, number=1)
        await tx.run(ADD, owner=OWNER, number=2, state="set", version=7, open=True)
        first, second = await tx.all(ALL, owner=OWNER)
        assert (first.state, first.made, first.open) == ("new", datetime(2026, 1, 2, tzinfo=UTC), None)
        assert (second.state, second.version, second.open) == ("set", 7, True)
        assert await tx.run(update(items).where(MINE).values(state="upd"), owner=OWNER) == 2
        changed = await tx.all(ALL, owner=OWNER)
        assert [(row.state, row.open, row.made) for row in changed] == [("upd", False, first.made)] * 2
        assert changed[0].version > 1000

    within(kit, tmp_path, body)


def test_the_bucket_is_filled_from_the_key_and_not_shown(kit: Kit, tmp_path: Path) -> None:
    async def body(tx: Transaction) -> tuple[str, ...]:
        await three(tx)
        rows = await tx.all(ALL, owner=OWNER)
        return tuple(rows[0]._fields)

    assert within(kit, tmp_path, body) == ("owner", "number", "state", "made", "version", "open")
    assert kit.outside("SELECT DISTINCT tf_bucket FROM items") == [(bucket_of(OWNER),)]


@pytest.mark.parametrize("numbers", [[], [2], [1, 3], list(range(2000))])
def test_lists_in_in(kit: Kit, tmp_path: Path, numbers: list[int]) -> None:
    chosen = ALL.where(items.c.number.in_(bindparam("numbers", expanding=True)))

    async def body(tx: Transaction) -> list[int]:
        await three(tx)
        return [row.number for row in await tx.all(chosen, owner=OWNER, numbers=numbers)]

    assert within(kit, tmp_path, body) == [n for n in (1, 2, 3) if n in numbers]


def test_lists_of_several_types_are_converted_each_by_its_column(kit: Kit, tmp_path: Path) -> None:
    moments = bindparam("moments", expanding=True)
    states = bindparam("states", expanding=True)
    chosen = ALL.where(items.c.made.in_(moments), items.c.state.in_(states), items.c.number != bindparam("without"))

    async def body(tx: Transaction) -> None:
        await three(tx)
        moment = datetime(2026, 1, 2, tzinfo=UTC)
        for _ in range(2):
            rows = await tx.all(chosen, owner=OWNER, moments=[moment], states=["s1", "s2", "s3"], without=2)
            assert [row.number for row in rows] == [1, 3]
        assert await tx.all(chosen, owner=OWNER, moments=[], states=["s1"], without=2) == []
        with pytest.raises(InvalidRequest, match="TF-VALUE"):
            await tx.all(chosen, owner=OWNER, moments=["yesterday"], states=["s1"], without=2)
        written = await tx.run(
            update(items).where(MINE, items.c.state.in_(states)), owner=OWNER, states=["s1", "s3"], state="in"
        )
        assert written == 2

    within(kit, tmp_path, body)


def test_values_that_stand_in_the_statement(kit: Kit, tmp_path: Path) -> None:
    fixed = select(items.c.number, literal("x").label("word")).where(items.c.owner == OWNER, items.c.number.in_([1, 3]))

    async def body(tx: Transaction) -> list[tuple[int, str]]:
        await tx.run(insert(items).values(owner=OWNER, number=1))
        await tx.run(insert(items).values(owner=bindparam("who"), number=3), who=OWNER)
        return [tuple(row) for row in await tx.all(fixed.order_by(items.c.number))]

    assert within(kit, tmp_path, body) == [(1, "x"), (3, "x")]


def test_named_parameters_with_defaults(kit: Kit, tmp_path: Path) -> None:
    least = ALL.where(items.c.number >= bindparam("least", 2))

    async def body(tx: Transaction) -> list[list[int]]:
        await three(tx)
        return [
            [row.number for row in await tx.all(least, owner=OWNER)],
            [row.number for row in await tx.all(least, owner=OWNER, least=3)],
        ]

    assert within(kit, tmp_path, body) == [[2, 3], [3]]


def test_returning_and_row_counts(kit: Kit, tmp_path: Path) -> None:
    async def body(tx: Transaction) -> None:
        await tx.run(ADD, owner=OWNER, number=0)
        made = await tx.one(ADD.returning(items.c.number, items.c.state), owner=OWNER, number=1)
        assert tuple(made) == (1, "new")
        assert await tx.run(ADD.returning(items.c.number), owner=OWNER, number=2) == 1
        assert await tx.run_many(ADD, [{"owner": OWNER, "number": n} for n in range(3, 8)]) == 5
        assert await tx.run_many(ADD, []) == 0
        gone = await tx.all(delete(items).where(MINE, items.c.number > 2).returning(items.c.number), owner=OWNER)
        assert sorted(row.number for row in gone) == [3, 4, 5, 6, 7]
        assert await tx.run(delete(items).where(MINE), owner=OWNER) == 3
        assert await tx.run(delete(items).where(MINE), owner=OWNER) == 0

    within(kit, tmp_path, body)


def test_columns_without_a_name_or_with_the_same_name(kit: Kit, tmp_path: Path) -> None:
    other = items.alias()
    twice = (
        select(items.c.number, other.c.number, func.count().label("class"), items.c.number + 1)
        .join(other, other.c.owner == items.c.owner)
        .where(MINE)
        .group_by(items.c.number, other.c.number)
        .order_by(items.c.number, other.c.number)
    )

    async def body(tx: Transaction) -> None:
        await tx.run(ADD, owner=OWNER, number=5)
        row = await tx.one(twice, owner=OWNER)
        assert tuple(row) == (5, 5, 1, 6)
        assert row._fields == ("number", "_1", "_2", "_3")

    within(kit, tmp_path, body)


def test_a_query_through_a_cte_a_subquery_and_an_alias(kit: Kit, tmp_path: Path) -> None:
    newest = (
        select(func.max(items.c.number).label("top"), items.c.owner).where(MINE).group_by(items.c.owner).cte("newest")
    )
    alias = items.alias("i")
    chosen = (
        select(alias.c.number, newest.c.top)
        .join(newest, newest.c.owner == alias.c.owner)
        .where(alias.c.owner == bindparam("owner"), alias.c.number == newest.c.top)
    )

    async def body(tx: Transaction) -> tuple[int, int]:
        await three(tx)
        return tuple(await tx.one(chosen, owner=OWNER))

    assert within(kit, tmp_path, body) == (3, 3)


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (ALL, {}, r"TF-STMT-1: .*parameters do not fit \(missing: owner\)"),
    (ALL, {"owner": OWNER, "extra": 1}, r"TF-STMT-1: .*not known: extra"),
    (ADD, {"owner": OWNER, "number": 1, "colour": 1}, r"TF-STMT-1: .*not known: colour"),
    (
        ALL.where(items.c.number == bindparam("n", 1), items.c.version == bindparam("n", 2)),
        {"owner": OWNER},
        "TF-STMT-1: .*bindparam 'n' has two defaults",
    ),
    (insert(items).values([{"owner": OWNER, "number": 1}]), {}, r"TF-STMT-2: .*several rows.*run_many"),
    (insert(items).from_select(["owner"], select(items.c.owner).where(MINE)), {"owner": OWNER}, "TF-STMT-2"),
    (ALL.where(items.c.number == bindparam("n", callable_=lambda: 1)), {"owner": OWNER}, "TF-STMT-3: .*callable"),
    (ADD.prefix_with("OR REPLACE"), {"owner": OWNER, "number": 1}, "TF-STMT-3: .*prefix or suffix"),
    (
        sqlite_insert(items).on_conflict_do_update(index_elements=["owner"], set_={"state": "x"}),
        {"owner": OWNER, "number": 1},
        "TF-STMT-3: .*ON CONFLICT is not portable",
    ),
    (
        update(items).where(MINE, items.c.state == bindparam("state")).values(state="x"),
        {"owner": OWNER, "state": "x"},
        "TF-STMT-3: .*SQLAlchemy cannot compile it",
    ),
    (ADD, {"owner": OWNER}, r"TF-TABLE-2: .*gives no 'number'.*tf\.ids"),
    (ADD, {"number": 1}, r"TF-TABLE-2: .*gives no 'owner'"),
    (insert(items).values(owner=func.lower("x")), {"number": 1}, "TF-KEY-1: .*does not give its key 'owner'"),
    (ADD, {"owner": OWNER, "number": 1, "tf_bucket": 7}, "TF-KEY-6: .*gives 'tf_bucket'.*computed from the key"),
    (insert(items).values(tf_bucket=7), {"owner": OWNER, "number": 1}, "TF-KEY-6"),
    (update(items).where(MINE).values(owner=uuid.uuid4()), {"owner": OWNER}, "TF-KEY-6: .*changes the key 'owner'"),
    (update(items).where(MINE).ordered_values(("owner", OWNER)), {"owner": OWNER}, "TF-KEY-6"),
    (update(items).where(items.c.owner == bindparam("o")), {"o": OWNER, "owner": OWNER}, "TF-KEY-6"),
    (update(items).where(MINE).values(tf_bucket=1), {"owner": OWNER}, "TF-KEY-6"),
    (update(items).where(MINE, items.c.state == tags.c.name).values(state="x"), {"owner": OWNER}, "TF-KEY-5"),
    (update(items.alias()).values(state="x"), {}, "TF-KEY-5: .*a write to a Alias"),
]


@pytest.mark.parametrize(("statement", "params", "message"), REFUSED)
def test_what_cannot_be_kept_is_refused_by_name(
    kit: Kit, tmp_path: Path, statement: Any, params: dict[str, Any], message: str
) -> None:
    async def body(tx: Transaction) -> None:
        with pytest.raises(ContractError, match=message) as caught:
            await tx.run(statement, **params)
        assert caught.value.hint

    within(kit, tmp_path, body)
    assert kit.outside("SELECT count(*) FROM items") == [(0,)]


def test_a_default_that_wants_sqlalchemys_context_is_refused(kit: Kit, tmp_path: Path) -> None:
    own = Database(MetaData())
    asking = own.table(
        "asking",
        Column("id", Int64(), primary_key=True),
        Column("twice", Int64(), default=lambda context: context.get_current_parameters()["id"]),
        home=home(),
    )
    counted = own.table(
        "counted", Column("id", Int64(), primary_key=True), Column("n", Int64(), Sequence("s")), home=home()
    )
    computed = own.table(
        "computed", Column("id", Int64(), primary_key=True), Column("n", Int64(), default=func.abs(-1)), home=home()
    )

    @own.transaction()
    async def add(tx: Transaction, table: Any) -> None:
        await tx.run(insert(table), id=1)

    async def work() -> None:
        async with opened(kit, tmp_path, own):
            with pytest.raises(ContractError, match=r"TF-STMT-3: .*asked for the execution context"):
                await add(asking)
            await add(computed)
            assert kit.outside("SELECT n FROM computed") == [(1,)]
            with pytest.raises(ContractError, match=r"TF-STMT-3: .*counts with a sequence of the database"):
                await add(counted)

    run(work())


def test_rows_are_asked_only_of_statements_that_return_some(kit: Kit, tmp_path: Path) -> None:
    async def body(tx: Transaction) -> None:
        with pytest.raises(ContractError, match=r"TF-STMT-6: This statement returns no rows.*RETURNING"):
            await tx.all(ADD, owner=OWNER, number=1)

    within(kit, tmp_path, body)
    assert kit.outside("SELECT count(*) FROM items") == [(0,)]


def test_a_statement_that_the_database_refuses_is_named(kit: Kit, tmp_path: Path) -> None:
    async def body(tx: Transaction) -> None:
        await tx.all(select(func.no_such_function(tags.c.name)))

    with pytest.raises(Exception, match=r"TF-SQL: The database refused the statement: (no such )?function"):
        within(kit, tmp_path, body, at_home)


def test_run_counts_the_rows_of_a_statement_that_begins_with_with(kit: Kit, tmp_path: Path) -> None:
    chosen = select(items.c.number).where(MINE, items.c.number < 3).cte("chosen")
    change = update(items).where(MINE, items.c.number.in_(select(chosen.c.number))).values(state="seen")
    remove = delete(items).where(MINE, items.c.number.in_(select(chosen.c.number)))

    async def body(tx: Transaction) -> list[int]:
        await three(tx)
        statements = (change, change.returning(items.c.number), ALL, remove, change, remove)
        return [await tx.run(statement, owner=OWNER) for statement in statements]

    assert within(kit, tmp_path, body) == [2, 2, 3, 2, 0, 0]
