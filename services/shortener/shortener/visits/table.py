"""The tables of the visits: one row for a link, a day and a thing that is counted; the days of a link live with it."""

from __future__ import annotations

from sqlalchemy import and_, bindparam, delete, insert, select, update

from shortener.model import tf
from tenfold import Column, Int64, Text, UtcDateTime, sharded_by

TOTAL, REFERRER, DEVICE = "all", "from", "with"
"""What `kind` says: all visits of the day (`value` is empty), those from a host, those with a kind of device."""
VALUE = 100
"""Characters of a value at most."""

visit_days = tf.table(
    "visit_days",
    Column("code", Text(32), primary_key=True),
    Column("day", Text(10), primary_key=True),
    Column("kind", Text(4), primary_key=True),
    Column("value", Text(VALUE), primary_key=True),
    Column("count", Int64, nullable=False),
    home=sharded_by("code"),
)
visit_totals = tf.table(
    "visit_totals",
    Column("code", Text(32), primary_key=True),
    Column("count", Int64, nullable=False),
    Column("last", UtcDateTime, nullable=False),
    home=sharded_by("code"),
)

FIND_TOTAL = select(visit_totals.c.count, visit_totals.c.last).where(visit_totals.c.code == bindparam("code"))
BEGIN_TOTAL = insert(visit_totals)
CHANGE_TOTAL = (
    update(visit_totals)
    .where(visit_totals.c.code == bindparam("of"))
    .values(count=bindparam("to_count"), last=bindparam("at"))
)
DELETE_TOTAL = delete(visit_totals).where(visit_totals.c.code == bindparam("code"))

_days = visit_days.c
FIND_DAYS = (
    select(_days.day, _days.kind, _days.value, _days.count)
    .where(_days.code == bindparam("code"), _days.day >= bindparam("first"), _days.day <= bindparam("last"))
    .order_by(_days.day)
)
BEGIN_DAY = insert(visit_days)
CHANGE_DAY = (
    update(visit_days)
    .where(
        and_(
            _days.code == bindparam("of"),
            _days.day == bindparam("on"),
            _days.kind == bindparam("what"),
            _days.value == bindparam("which"),
        )
    )
    .values(count=bindparam("to_count"))
)
DELETE_DAYS = delete(visit_days).where(_days.code == bindparam("code"))
