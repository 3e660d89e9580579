"""The subscriber that counts visits: a batch becomes one transaction for each link in it, however many its visits."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime

from shortener.links.finding import find_link
from shortener.links.table import FIND_LINK, SPEND_LINK
from shortener.model import now, tf
from shortener.visits.kinds import OTHER
from shortener.visits.record import VISITED
from shortener.visits.table import (
    BEGIN_DAY,
    BEGIN_TOTAL,
    CHANGE_DAY,
    CHANGE_TOTAL,
    DEVICE,
    FIND_DAYS,
    FIND_TOTAL,
    REFERRER,
    TOTAL,
    VALUE,
)
from tenfold import Event, Transaction

REFERRERS = 100
"""Hosts that a link's day names; visits from further ones are `OTHER`, so that nobody fills the table."""
AT_ONCE = 8
"""Links that are counted at a time."""

Tally = dict[tuple[str, str, str], int]
"""(day, kind, value) -> visits."""


@tf.events.subscriber(VISITED, name="visits", batch=2000, wait="100ms", start="beginning")
async def count_visits(batch: list[Event]) -> None:
    """Adds a batch of visits to the days of their links. Each transaction commits once, however often a batch comes."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def count(code: str, tally: Tally) -> None:
        async with slots:
            await add_visits(code, [(*key, count) for key, count in sorted(tally.items())], now())

    async with asyncio.TaskGroup() as group:
        for code, tally in tallies(batch).items():
            group.create_task(count(code, tally))


def tallies(batch: Iterable[Event]) -> dict[str, Tally]:
    """The visits of a batch by link: how many on which day, from which host, with which kind of device."""
    found: dict[str, Counter[tuple[str, str, str]]] = defaultdict(Counter)
    for event in batch:
        data = event.data
        day = event.at.date().isoformat()
        of_link = found[data["code"]]
        of_link[day, TOTAL, ""] += 1
        of_link[day, REFERRER, data["from"][:VALUE]] += 1
        of_link[day, DEVICE, data["with"][:VALUE]] += 1
    return {code: dict(counter) for code, counter in found.items()}


@tf.database.transaction(key="code")
async def add_visits(tx: Transaction, code: str, counts: list[tuple[str, str, str, int]], at: datetime) -> None:
    """Adds counts (day, kind, value, visits) to a link that is there. Ends a link whose visits are made."""
    link = await tx.one_or_none(FIND_LINK, code=code)
    if link is None or link.deleted is not None:
        return
    days = [day for day, *_ in counts]
    rows = await tx.all(FIND_DAYS, code=code, first=min(days), last=max(days))
    stored = {(row.day, row.kind, row.value): row.count for row in rows}
    for key, count in bounded(counts, stored).items():
        await _add_to_day(tx, code, key, count, stored.get(key))
    total = sum(count for _, kind, _, count in counts if kind == TOTAL)
    before = await tx.one_or_none(FIND_TOTAL, code=code)
    if before is None:
        await tx.run(BEGIN_TOTAL, code=code, count=total, last=at)
    else:
        total += before.count
        await tx.run(CHANGE_TOTAL, of=code, to_count=total, at=at)
    if link.max_visits is not None and total >= link.max_visits and link.spent is None:
        await tx.run(SPEND_LINK, of=code, at=at)
        tf.cache.invalidate(tx, find_link, code)


def bounded(counts: Iterable[tuple[str, str, str, int]], stored: Tally) -> Tally:
    """The counts with at most `REFERRERS` hosts a day; what a host beyond them sent goes to `OTHER`. Pure."""
    hosts = Counter(day for day, kind, _ in stored if kind == REFERRER)
    kept: Counter[tuple[str, str, str]] = Counter()
    for day, kind, value, count in counts:
        key = (day, kind, value)
        if kind == REFERRER and key not in stored and key not in kept:
            if hosts[day] >= REFERRERS:
                key = (day, REFERRER, OTHER)
            else:
                hosts[day] += 1
        kept[key] += count
    return dict(kept)


async def _add_to_day(tx: Transaction, code: str, key: tuple[str, str, str], count: int, before: int | None) -> None:
    day, kind, value = key
    if before is None:
        await tx.run(BEGIN_DAY, code=code, day=day, kind=kind, value=value, count=count)
    else:
        await tx.run(CHANGE_DAY, of=code, on=day, what=kind, which=value, to_count=before + count)
