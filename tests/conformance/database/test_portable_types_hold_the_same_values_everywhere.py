from __future__ import annotations

import asyncio
import contextlib
import decimal
import enum
import math
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from bank import run
from databases import Kit, opened
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, MetaData, bindparam, insert, select

from tenfold.blocks.database import Database, Transaction, home
from tenfold.blocks.database.types import (
    Bool,
    Bytes,
    Choice,
    Decimal,
    Float,
    Int64,
    Json,
    Text,
    UtcDateTime,
    Uuid,
)
from tenfold.core.errors import InvalidRequest


class Colour(enum.Enum):
    RED = "red"
    BLUE = "it's blue"


database = Database(MetaData())
things = database.table(
    "things",
    Column("id", Int64(), primary_key=True),
    Column("text", Text(20)),
    Column("whole", Int64()),
    Column("real", Float()),
    Column("yes", Bool()),
    Column("moment", UtcDateTime()),
    Column("exact", Decimal(12, 3)),
    Column("uid", Uuid()),
    Column("blob", Bytes(20)),
    Column("json", Json(200)),
    Column("word", Choice("a", "b")),
    Column("colour", Choice(Colour)),
    home=home(),
)

valid_text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | valid_text
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(valid_text, inner, max_size=3),
    max_leaves=4,
)
STRATEGIES: dict[str, Any] = {
    "text": valid_text,
    "whole": st.integers(-(2**63), 2**63 - 1),
    "real": finite,
    "yes": st.booleans(),
    "moment": st.datetimes(
        min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29),
        timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    ),
    "exact": st.decimals(min_value=-999_999_999, max_value=999_999_999, places=3),
    "uid": st.uuids(),
    "blob": st.binary(max_size=20),
    "word": st.sampled_from(["a", "b"]),
    "colour": st.sampled_from(Colour),
}  # fmt: skip


@database.transaction()
async def store(tx: Transaction, number: int, column: str, value: Any) -> Any:
    await tx.run(insert(things), id=number, **{column: value})
    return next(iter(await tx.one(select(things.c[column]).where(things.c.id == bindparam("id")), id=number)))


@pytest.fixture
def stored(kit: Kit, tmp_path: Path) -> Iterator[Any]:
    """A function that writes a value to a column, and gives what is read back."""

    with asyncio.Runner() as runner, contextlib.ExitStack() as stack:
        numbers = iter(range(10**9))
        context = opened(kit, tmp_path, database)
        runner.run(context.__aenter__())
        stack.callback(lambda: runner.run(context.__aexit__(None, None, None)))
        yield lambda column, value: runner.run(store(next(numbers), column, value))


fast = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.mark.parametrize("column", STRATEGIES)
def test_what_is_written_is_read_back(stored: Any, column: str) -> None:
    @fast
    @given(STRATEGIES[column])
    def check(value: Any) -> None:
        found = stored(column, value)
        assert found == value
        assert type(found) is type(value)
        if isinstance(value, datetime):
            assert found.tzinfo is UTC

    check()
    assert stored(column, None) is None


def test_json_is_read_back(stored: Any) -> None:
    @fast
    @given(json_values)
    def check(value: Any) -> None:
        try:
            found = stored("json", value)
        except InvalidRequest as error:
            assert "at most 200" in str(error)  # noqa: PT017
        else:
            assert found == value

    check()
    assert stored("json", "a \\u0000 that is only text \\") == "a \\u0000 that is only text \\"


def test_whole_numbers_are_taken_for_reals_and_decimals(stored: Any) -> None:
    assert stored("real", 3) == 3.0
    assert stored("exact", 3) == decimal.Decimal("3.000")
    assert str(stored("exact", decimal.Decimal("1.5"))) == "1.500"
    assert math.copysign(1, stored("real", -0.0)) == 1.0


def test_the_services_decimal_context_does_not_round_what_is_stored(stored: Any) -> None:
    value = decimal.Decimal("123456789.125")
    with decimal.localcontext(prec=4):
        assert str(stored("exact", value)) == "123456789.125"


deep: Any = []
for _ in range(100_000):
    deep = [deep]

REFUSED: list[tuple[str, Any]] = [
    ("text", 7), ("text", b"x"), ("text", "x" * 21), ("text", "a\x00b"), ("text", "\ud800"), ("text", "é\x00"),
    ("whole", 1.0), ("whole", True), ("whole", "1"), ("whole", 2**63), ("whole", -(2**63) - 1),
    ("real", math.nan), ("real", math.inf), ("real", "1"), ("real", True), ("real", 10**400),
    ("real", decimal.Decimal(1)),
    ("yes", 1), ("yes", "true"),
    ("moment", datetime(2026, 1, 1)),
    ("moment", "2026-01-01"), ("moment", 5),
    ("moment", datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))),
    ("moment", datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5)))),
    ("exact", 1.5), ("exact", True), ("exact", "1"), ("exact", decimal.Decimal("0.0001")), ("exact", 10**9),
    ("exact", decimal.Decimal("NaN")), ("exact", decimal.Decimal("sNaN")), ("exact", decimal.Decimal("Infinity")),
    ("exact", decimal.Decimal("1." + "0" * 40 + "1")), ("exact", decimal.Decimal("1E+999999")),
    ("exact", decimal.Decimal("1E-999999")), ("exact", 10**5000),
    ("uid", "00000000-0000-4000-8000-000000000001"), ("uid", b"x" * 16),
    ("blob", "x"), ("blob", bytearray(b"x")), ("blob", b"x" * 21),
    ("json", math.nan), ("json", {1: 2}), ("json", (1, 2)), ("json", {1, 2}),
    ("json", datetime(2026, 1, 1, tzinfo=UTC)),
    ("json", "\x00"), ("json", {"\x00": 1}), ("json", "\ud800"), ("json", object()), ("json", "x" * 199),
    ("json", deep),
    ("json", "é" * 100), ("json", uuid.uuid4()),
    ("word", "c"), ("word", 1), ("word", []), ("colour", "green"), ("colour", "RED"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value"), REFUSED, ids=[f"{name}-{at}" for at, (name, _) in enumerate(REFUSED)])
def test_what_another_database_would_refuse_or_change_is_refused(stored: Any, column: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match="TF-VALUE") as caught:
        stored(column, value)
    assert caught.value.status == 422
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("column", "value"),
    [("text", "'" + "x" * 21 + "'"), ("blob", 21), ("word", "'c'"), ("colour", "'green'"),
     ("whole", "'text'"), ("real", "'text'"), ("uid", "'text'"), ("moment", "'text'") ],
)  # fmt: skip
def test_the_database_itself_keeps_the_rules_against_raw_sql(
    kit: Kit, tmp_path: Path, column: str, value: str | int
) -> None:
    if isinstance(value, int):
        value = kit.zeros(value)
    kit.create(tmp_path, database.metadata)
    with pytest.raises(Exception, match=r"constraint|cannot store|invalid input syntax|is of type"):
        kit.outside(f"INSERT INTO things (id, {column}) VALUES (1, {value})")
    assert kit.outside("SELECT count(*) FROM things") == [(0,)]


def test_ready_made_rows_survive_a_restart(kit: Kit, tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(kit, tmp_path, database):
            assert await store(1, "colour", Colour.BLUE) is Colour.BLUE
            assert await store(2, "colour", "red") is Colour.RED

    run(work())
