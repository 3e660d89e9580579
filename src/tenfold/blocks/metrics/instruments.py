"""What a service holds in its hand: counts, sums, unique counts and visits.

`add` is synchronous, from any thread, and does no I/O: it may stand in any handler, also in a transaction's body, where
it counts each attempt. `add_in(tx, ...)` is part of the transaction: counted exactly when it commits, never lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, Generic, TypeVar

from tenfold.blocks.database import Transaction
from tenfold.blocks.metrics.policy import (
    LABEL_SETS,
    OTHER,
    Kind,
    check_amount,
    check_count,
    day_of,
    label_key,
)
from tenfold.blocks.metrics.series import Entry, Series, UniqueSeries, Visitors
from tenfold.blocks.metrics.sketch import hash_of
from tenfold.core.clock import Clock
from tenfold.core.errors import ContractError

Enter = Callable[[Transaction, Entry], Awaitable[None]]
"""Writes an entry in a transaction."""

S = TypeVar("S", bound=Series | UniqueSeries)


class Instrument(Generic[S]):
    """One metric: its name, its labels, and the numbers of each label set."""

    kind: Kind

    def __init__(
        self, name: str, labels: tuple[str, ...], make: Callable[[str], S], *, enter: Enter, unit: str = "", text: str
    ) -> None:
        self.name = name
        self.labels = labels
        self.unit = unit
        self.text = text
        self.folded = 0
        """Times that something was counted under `other`, because there were too many label sets."""
        self._enter = enter
        self._make = make
        self._plain = make(label_key(labels, [""] * len(labels)))
        self._known: dict[tuple[object, ...], S] = {}
        self._by_key: dict[str, S] = {self._plain.labels: self._plain}

    @property
    def series(self) -> list[S]:
        """The numbers of each label set."""
        return list(self._by_key.values())

    def _of(self, labels: dict[str, object]) -> S:
        values = tuple([labels.get(name, "") for name in self.labels])
        try:
            found = self._known.get(values)
        except TypeError:  # a value that is no text and cannot be a key
            found = None
        return found if found is not None and len(labels) <= len(self.labels) else self._meet(values, labels)

    def _meet(self, values: tuple[object, ...], labels: dict[str, object]) -> S:
        unknown = labels.keys() - set(self.labels)
        if unknown:
            raise ContractError(
                f"The metric {self.name} has no label {sorted(unknown)[0]!r}.",
                hint=f"It has: {', '.join(self.labels) or 'none'}; name them where the metric is declared.",
                code="TF-METRICS-LABELS",
            )
        key = label_key(self.labels, values)
        series = self._by_key.get(key)
        if series is None:
            if len(self._by_key) > LABEL_SETS:
                self.folded += 1
                key = label_key(self.labels, [OTHER] * len(self.labels))
            series = self._by_key.setdefault(key, self._make(key))
        if all(type(value) is str for value in values) and len(self._known) <= LABEL_SETS:
            self._known[values] = series
        return series


class Count(Instrument[Series]):
    """How often something happened: `links.add()`, `links.add(3, plan="free")`."""

    kind: Kind = "count"

    def add(self, n: int = 1, /, **labels: object) -> None:
        """Counts n more (a whole number, not below 0). Written within a second; lost when the process is killed before.

        `ContractError` (TF-METRICS-VALUE, TF-METRICS-LABELS) for another value and for labels that it does not have.
        """
        if n.__class__ is not int or not 0 <= n <= 1_000_000:
            n = check_count(n)
        series = self._of(labels) if labels else self._plain
        with series.lock:  # in place: a call more would cost as much as the rest
            series.pending += n

    async def add_in(self, tx: Transaction, n: int = 1, /, **labels: object) -> None:
        """Counts as part of a transaction: exactly when it commits, whatever happens to the process afterwards."""
        await self._enter(tx, Entry(self.name, self._of(labels).labels, self.kind, str(check_count(n))))


class Sum(Instrument[Series]):
    """An exact total, such as revenue: `revenue.add(Decimal("9.90"))`. It may shrink: a refund is below 0."""

    kind: Kind = "sum"

    def add(self, amount: Decimal | int | str, /, **labels: object) -> None:
        """Adds an amount: an int, a Decimal or its text, never a float. Written within a second; lost when the process
        is killed before: what must not be lost is added with `add_in`.

        `ContractError` (TF-METRICS-VALUE, TF-METRICS-LABELS) for anything that is no exact amount.
        """
        exact = check_amount(amount)
        series = self._of(labels) if labels else self._plain
        series.add(exact)

    async def add_in(self, tx: Transaction, amount: Decimal | int | str, /, **labels: object) -> None:
        """Adds as part of a transaction: exactly when it commits. A row of its own, so that no row is waited for."""
        await self._enter(tx, Entry(self.name, self._of(labels).labels, self.kind, str(check_amount(amount))))


class Unique(Instrument[UniqueSeries]):
    """How many different things there were in a day: `active.add(user)`.

    Exact up to 2048 a day and process, then an estimate whose standard error is 0.81 %.
    """

    kind: Kind = "unique"

    def add(self, who: str | int | bytes, /, **labels: object) -> None:
        """Takes one of the things (only a hash of it is kept). Any text and length; `ContractError` for other types."""
        number = hash_of(_bytes_of(who), self.name.encode())
        series = self._of(labels) if labels else self._plain
        series.add(number)


class Visits:
    """How many of a day's visitors had been there before, within so many days: `returning.add(user)`.

    Exact, over all processes: a row for each visitor holds the day of the last visit (and only a hash of who it was).
    """

    kind: Kind = "visits"

    def __init__(self, name: str, within: int, text: str, clock: Clock) -> None:
        self._clock = clock
        self.name = name
        self.within = within
        self.text = text
        self.unit = ""
        self.visitors = Visitors()
        self.returns = 0
        """Returns that this process has noted; for `/metrics`."""

    def add(self, who: str | int | bytes, /) -> None:
        """Takes a visitor; again on the same day changes nothing. `ContractError` for what is no text, int or bytes."""
        self.visitors.add(hash_of(_bytes_of(who), self.name.encode()), day_of(self._clock.wall_us()))


def _bytes_of(who: Any) -> bytes:
    if type(who) is str:
        return who.encode("utf-8", "surrogatepass")
    if isinstance(who, str | int) and not isinstance(who, bool):
        return (str(who) if not isinstance(who, int) or who.bit_length() < 4096 else hex(who)).encode()
    if isinstance(who, bytes):
        return who
    raise ContractError(
        f"What is counted once is named by a text, an int or bytes, not by a {type(who).__name__}.",
        hint="Give the user's id; leave out visitors that have none.",
        code="TF-METRICS-VALUE",
    )
