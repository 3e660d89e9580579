"""The metrics block: what a service counts for its business.

    created = tf.metrics.count("links_created")
    created.add()
    for day in await tf.metrics.read("links_created", days=30): ...

Counting is synchronous and does no I/O. Each process writes what it counted within a second, to rows that no other
process writes; reading merges them. Days are UTC days by the process's clock at the time of writing. A process that is
killed loses its last second; one that stops in order loses nothing; what must never be lost is counted with `add_in`,
as part of a transaction.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

from tenfold.blocks.database import Database, Transaction
from tenfold.blocks.metrics.instruments import Count, Sum, Unique, Visits
from tenfold.blocks.metrics.policy import (
    DAYS_MAX,
    METRICS_MAX,
    Kind,
    check_labels,
    check_name,
    date_of,
    day_of,
    labels_of,
    merged,
    until_midnight_s,
)
from tenfold.blocks.metrics.series import Entry, Series, UniqueSeries
from tenfold.blocks.metrics.store import FOLD_BATCH, GROUPS, Store
from tenfold.core.clock import Clock
from tenfold.core.errors import ContractError, TenfoldError, Unavailable
from tenfold.core.lifecycle import Background
from tenfold.core.randomness import Randomness
from tenfold.topology.map import Map

__all__ = ["Count", "Day", "Metrics", "MetricsStats", "Number", "Sum", "Unique", "Visits"]

FLUSH_EVERY_S = 1.0
LAST_LIMIT_S = 5.0
"""What the last write may take when the process stops; writes that a move holds wait longer otherwise."""
TIDY_EVERY_S = 3600.0
"""How often parts of past days are merged and old days dropped, give or take a quarter."""

log = logging.getLogger("tenfold.metrics")

AnyInstrument = Count | Sum | Unique | Visits
Declared = TypeVar("Declared", Count, Sum, Unique, Visits)


@dataclass(frozen=True, slots=True)
class Day:
    """One day's number."""

    day: date
    value: int | Decimal


@dataclass(frozen=True, slots=True)
class Number:
    """A number of this process, for `/metrics`."""

    name: str
    kind: Kind
    unit: str
    text: str
    labels: tuple[tuple[str, str], ...]
    value: int | Decimal


@dataclass(frozen=True, slots=True)
class MetricsStats:
    """What the block itself is doing."""

    flushes: int = field(metadata={"kind": "counter"})
    flushes_failed: int = field(metadata={"kind": "counter"})
    """Times that the database did not take what was counted; it is written later."""
    label_sets_folded: int = field(metadata={"kind": "counter"})
    """Times that something was counted under `other`."""
    visitors_dropped: int = field(metadata={"kind": "counter"})
    """Visits that were not looked at, because too many waited for the database."""


class _Flusher(Background):
    """Writes down what was counted, about once a second, and when a day ends."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        super().__init__()
        self._metrics = metrics
        self._clock = clock
        self._said = ""

    async def run(self) -> None:
        while True:
            await asyncio.sleep(min(FLUSH_EVERY_S, until_midnight_s(self._clock.wall_us())))
            await self._once()

    async def _once(self) -> None:
        """Whatever fails, what waits is written another time; what is said of it is said once."""
        try:
            await self._metrics.flush()
            await self._metrics.tidy_when_due()
        except TenfoldError:
            return  # the database is away, and says so itself
        except Exception as error:
            if repr(error) != self._said:
                log.exception("What was counted could not be written down; it is tried again.")
            self._said = repr(error)


class Metrics:
    """Numbers of one service. Declare them once, at import time."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._randomness = randomness
        self._process = randomness.bytes(8).hex()
        self._shards = 0
        self._store = Store(database, randomness, self._process)
        self._of: dict[str, AnyInstrument] = {}
        self._flushing = asyncio.Lock()
        self._flusher = _Flusher(self, clock)
        self._entered = True  # another process may have left entries
        self._tidy_at = 0.0
        self._flushes = self._failed = 0

    # -- declaring ----------------------------------------------------------------------------------------------------

    def count(self, name: str, *, labels: Sequence[str] = (), text: str = "") -> Count:
        """How often something happens. `ContractError` when the name is taken by another kind of metric."""
        checked = check_name(name), check_labels(labels)
        return self._declared(Count(*checked, lambda key: Series("count", key), enter=self._enter, text=text))

    def sum(self, name: str, *, unit: str = "", labels: Sequence[str] = (), text: str = "") -> Sum:
        """An exact total, such as revenue in `eur`."""
        checked = check_name(name), check_labels(labels)
        return self._declared(Sum(*checked, lambda key: Series("sum", key), enter=self._enter, unit=unit, text=text))

    def unique(self, name: str, *, labels: Sequence[str] = (), text: str = "") -> Unique:
        """How many different users (or other things) there are in a day."""
        checked = check_name(name), check_labels(labels)
        return self._declared(Unique(*checked, UniqueSeries, enter=self._enter, text=text))

    def visits(self, name: str, *, within: int = 30, text: str = "") -> Visits:
        """How many of a day's users had been there before, at most `within` days ago (1 to 366)."""
        if isinstance(within, bool) or not isinstance(within, int) or not 1 <= within <= 366:
            raise ContractError(f"within={within!r}: days from 1 to 366 are allowed.", code="TF-METRICS-VALUE")
        return self._declared(Visits(check_name(name), within, text, self._clock))

    def _declared(self, made: Declared) -> Declared:
        found = self._of.get(made.name)
        if found is None:
            if len(self._of) >= METRICS_MAX:
                raise ContractError(
                    f"There are {METRICS_MAX} metrics already.",
                    hint="Declare metrics at import time; what differs from user to user is a label or an event.",
                    code="TF-METRICS-NAME",
                )
            self._of[made.name] = made
            return made
        if type(found) is not type(made) or getattr(found, "labels", ()) != getattr(made, "labels", ()):
            raise ContractError(
                f"{made.name} is declared twice: as a {found.kind}, and as a {made.kind} or with other labels.",
                hint="Declare it once and import it where it is counted.",
                code="TF-METRICS-NAME",
            )
        return found

    # -- lifecycle ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begins to write down what was counted."""
        await self._flusher.start()

    async def stop(self) -> None:
        """Writes down the rest; `Unavailable` when the database does not take it within some seconds: it is lost."""
        if self._flusher.running:
            await self._flusher.stop()
            try:
                async with asyncio.timeout(LAST_LIMIT_S):
                    await self.flush()
            except TimeoutError:
                raise Unavailable("What was counted last could not be written down.") from None

    def adopt(self, new: Map) -> None:
        """Goes by a newer map."""

    # -- writing ------------------------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Writes down everything that was counted until now; a `TenfoldError` when the database does not take it.

        Cancelling the caller does not stop it: a transaction that has begun goes on, and the next flush has to wait for
        it, or both would write one part.
        """
        await asyncio.shield(self._flush_in_turn())

    async def _flush_in_turn(self) -> None:
        async with self._flushing:
            try:
                await self._flush(day_of(self._clock.wall_us()))
            except BaseException:
                self._failed += 1
                raise
            self._flushes += 1

    async def _flush(self, day: int) -> None:
        writes = [(series, write) for series, name in self._series() for write in series.writes(name, day, self._new())]
        if writes:
            made = await self._store.write([write for _, write in writes])
            for (series, write), anew in zip(writes, made, strict=True):
                series.written(write, anew=anew)
        for series, _ in self._series():
            series.forget(day)
        for each in self._of.values():
            if isinstance(each, Visits):
                await self._note_visits(each)
        while self._entered:
            self._entered = await self._store.fold() >= FOLD_BATCH

    async def _note_visits(self, visits: Visits) -> None:
        day, taken = visits.visitors.take(FOLD_BATCH)
        while taken:
            try:
                visits.returns += await self._store.visit(visits.name, taken, day, visits.within)
            except BaseException:
                visits.visitors.untake(day, taken)
                raise
            day, taken = visits.visitors.take(FOLD_BATCH)

    def _series(self) -> Iterator[tuple[Series | UniqueSeries, str]]:
        for each in list(self._of.values()):
            if not isinstance(each, Visits):
                for series in each.series:
                    yield series, each.name

    def _new(self) -> str:
        self._shards += 1
        return f"{self._process}.{self._shards}"

    async def _enter(self, tx: Transaction, entry: Entry) -> None:
        await self._store.enter(tx, entry, day_of(self._clock.wall_us()))
        tx.on_commit(self._has_entered)

    def _has_entered(self) -> None:
        self._entered = True

    async def tidy_when_due(self) -> None:
        """Tidies, about once an hour."""
        now = self._clock.monotonic()
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_EVERY_S * (0.75 + 0.5 * self._randomness.uniform())
            await self.tidy()

    async def tidy(self) -> None:
        """Adds up entries that nobody added, merges the parts of days that are over, drops days that nobody reads."""
        self._entered = True
        day = day_of(self._clock.wall_us())
        while await self._store.join(day - 1) >= GROUPS:
            pass
        visitors = {each.name: day - each.within for each in self._of.values() if isinstance(each, Visits)}
        await self._store.drop_old(day - DAYS_MAX, visitors)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def read(self, name: str, *, days: int = 30, **labels: object) -> list[Day]:
        """One number for each of the last `days` UTC days, the oldest first, today last; 0 where nothing was counted.

        Over all processes and label sets, or over those that have the given labels. What this process counted is in it;
        what others counted is, up to a second ago. `ContractError` for a metric that was not declared.
        """
        instrument = self._of.get(name)
        if instrument is None:
            raise ContractError(
                f"There is no metric {str(name)[:80]!r}.",
                hint=f"There are: {', '.join(sorted(self._of)) or 'none'}.",
                code="TF-METRICS-NAME",
            )
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= DAYS_MAX:
            raise ContractError(f"days={days!r}: 1 to {DAYS_MAX} are allowed.", code="TF-METRICS-VALUE")
        await self.flush()
        last = day_of(self._clock.wall_us())
        parts = await self._store.parts(name, last - days + 1, last)
        wanted = {key: str(value) for key, value in labels.items()}.items()
        by_day: dict[int, list[Any]] = {day: [] for day in range(last - days + 1, last + 1)}
        for part in parts:
            if wanted <= labels_of(part.labels).items():
                by_day[part.day].append(part)
        return [Day(date_of(day), merged(instrument.kind, found)) for day, found in by_day.items()]

    # -- for /metrics -------------------------------------------------------------------------------------------------

    def numbers(self) -> list[Number]:
        """What this process has counted since it began; of unique counts what it has seen today."""
        numbers = []
        for each in self._of.values():
            about = (each.name, each.kind, each.unit, each.text)
            if isinstance(each, Visits):
                numbers.append(Number(*about, (), each.returns))
            else:
                counted = [series for series in each.series if series.total or not each.labels]
                numbers += [Number(*about, tuple(labels_of(of.labels).items()), of.total) for of in counted]
        return numbers

    def stats(self) -> MetricsStats:
        """What the block itself is doing."""
        found = list(self._of.values())
        folded = sum(each.folded for each in found if not isinstance(each, Visits))
        dropped = sum(each.visitors.dropped for each in found if isinstance(each, Visits))
        return MetricsStats(self._flushes, self._failed, folded, dropped)
