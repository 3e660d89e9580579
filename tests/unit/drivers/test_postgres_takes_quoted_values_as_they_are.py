"""Values that travel inside a statement's text arrive as the same values, whatever characters they have."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import postgres
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenfold.drivers.postgres import Link, Settings
from tenfold.drivers.postgres.literals import LONG, literals

text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30)
rows = st.tuples(
    text | st.sampled_from(["'; DROP TABLE kinds; --", "\\'", "E'\\x'", "$1", "''", "%s"]),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.binary(max_size=30),
    st.uuids(),
    st.decimals(min_value=1 - 10**9, max_value=10**9 - 1, places=3),
    st.datetimes(
        min_value=datetime(1, 1, 3),
        max_value=datetime(9999, 12, 29),
        timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    ),
    st.none(),
)
MAKE = (
    "CREATE TEMP TABLE kinds (a text, b bigint, c boolean, d double precision, e bytea, f uuid, "
    "g numeric(12, 3), h timestamptz, i text)"
)


@postgres.needs_postgres
def test_what_is_quoted_arrives_as_it_was() -> None:
    server = postgres.server()
    where = Settings(server.host, server.port, "postgres", postgres.SUPERUSER, server.password)
    with asyncio.Runner() as runner:
        link = runner.run(Link.open(where))
        runner.run(link.execute(MAKE))

        async def back(row: tuple[Any, ...]) -> tuple[Any, ...]:
            add = "INSERT INTO kinds VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
            try:
                assert await link.touch_first("BEGIN", add, row) == 1
                assert link.connection.is_in_transaction()
                return tuple((await link.fetch("SELECT * FROM kinds", ()))[0])
            finally:
                await link.execute("ROLLBACK")

        @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(rows)
        def check(row: tuple[Any, ...]) -> None:
            assert literals(row) is not None
            assert runner.run(back(row)) == row

        check()
        long = (
            "x" * (LONG + 1),
            1,
            True,
            1.0,
            b"",
            uuid.UUID(int=1),
            Decimal("1.000"),
            datetime(2026, 1, 1, tzinfo=UTC),
        )
        assert literals(long) is None
        assert runner.run(back((*long, None))) == (*long, None)
        runner.run(link.close())


def test_what_is_not_known_is_not_quoted() -> None:
    assert literals(("a", object())) is None
    assert literals(("a\x00",)) is None
    assert literals(([1],)) is None
    assert literals(()) == ""
