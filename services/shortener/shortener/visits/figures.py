"""The figures of a link: its visits by day, by the host they came from, by kind of device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from shortener.model import now, tf
from shortener.visits.table import DEVICE, FIND_DAYS, FIND_TOTAL, REFERRER, TOTAL

DAYS = 30
LONGEST = 365
TOP = 10
"""Hosts that are named; the others are one line."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Visits of a link. `days` has every day of the span, the quiet ones too; `referrers` and `devices` are of the
    span, the most frequent first; `total` and `last` are of all times."""

    total: int
    last: datetime | None
    days: tuple[tuple[date, int], ...]
    referrers: tuple[tuple[str, int], ...]
    devices: tuple[tuple[str, int], ...]

    @property
    def in_span(self) -> int:
        """Visits in the days that are shown."""
        return sum(count for _, count in self.days)


async def read_figures(code: str, days: int = DAYS) -> Figures:
    """The figures of the last `days` days (UTC), today included."""
    assert 0 < days <= LONGEST, days
    today = now().date()
    first = today - timedelta(days=days - 1)
    async with tf.database.read(key=code, snapshot=True) as db:
        rows = await db.all(FIND_DAYS, code=code, first=first.isoformat(), last=today.isoformat())
        total = await db.one_or_none(FIND_TOTAL, code=code)
    return figures_of(rows, first, days, 0 if total is None else total.count, None if total is None else total.last)


def figures_of(rows: Iterable[Any], first: date, days: int, total: int, last: datetime | None) -> Figures:
    """Puts rows (day, kind, value, count) together. Pure."""
    by_day: Counter[str] = Counter()
    referrers: Counter[str] = Counter()
    devices: Counter[str] = Counter()
    for row in rows:
        if row.kind == TOTAL:
            by_day[row.day] += row.count
        elif row.kind in (REFERRER, DEVICE):
            (referrers if row.kind == REFERRER else devices)[row.value] += row.count
    span = (first + timedelta(days=number) for number in range(days))
    return Figures(
        total, last, tuple((day, by_day[day.isoformat()]) for day in span), _ranked(referrers), _ranked(devices)
    )


def _ranked(counts: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


async def total_of(code: str) -> int:
    """All visits of a link that were counted so far."""
    async with tf.database.read(key=code) as db:
        row = await db.one_or_none(FIND_TOTAL, code=code)
    return 0 if row is None else int(row.count)
