"""What one process has counted of one label set: what came since the last look, and the parts of each day to write."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from tenfold.blocks.metrics.policy import Kind, plus
from tenfold.blocks.metrics.sketch import Sketch


class Place(NamedTuple):
    """Which row: a metric's label set on a day, and the part of it. Only one process ever writes a `shard`."""

    name: str
    day: int
    labels: str
    shard: str


class Write(NamedTuple):
    """One row to write. `value` and `sketch` are the whole part; `more` is what its row does not have yet."""

    place: Place
    kind: Kind
    value: str
    more: str
    sketch: bytes | None


class Entry(NamedTuple):
    """What is counted inside of a transaction."""

    name: str
    labels: str
    kind: Kind
    value: str


@dataclass(slots=True)
class _Part:
    """A day's part. `written` is in its row; `waiting` is not yet."""

    shard: str
    written: Any
    waiting: Any


class Series:
    """Numbers of one label set. `pending` changes under `lock`, from any thread; the rest on the loop's thread."""

    __slots__ = ("_parts", "kind", "labels", "lock", "pending", "total")

    def __init__(self, kind: Kind, labels: str) -> None:
        self.kind: Kind = kind
        self.labels = labels
        self.pending: Any = self.zero
        self.total: Any = self.zero
        """Since the process began; for `/metrics`."""
        self.lock = threading.Lock()
        self._parts: dict[int, _Part] = {}

    @property
    def zero(self) -> Any:
        """Nothing, in this kind's numbers."""
        return Decimal(0) if self.kind == "sum" else 0

    def add(self, amount: Decimal) -> None:
        """Adds exactly."""
        with self.lock:
            self.pending = plus(self.pending, amount)

    def writes(self, name: str, day: int, shard: str) -> list[Write]:
        """Gives what came since the last look to `day`, and returns what is to be written now.

        `shard` names a part that has begun now; nobody else ever writes under that name.
        """
        with self.lock:
            taken, self.pending = self.pending, self.zero
        if taken:
            self.total = self._sum(self.total, taken)
            part = self._parts.get(day)
            if part is None:
                part = self._parts[day] = _Part(shard, self.zero, self.zero)
            part.waiting = self._sum(part.waiting, taken)
        return [self._write(name, at, part) for at, part in self._parts.items() if part.waiting]

    def _write(self, name: str, day: int, part: _Part) -> Write:
        whole = self._sum(part.written, part.waiting)
        return Write(Place(name, day, self.labels, part.shard), self.kind, str(whole), str(part.waiting), None)

    def written(self, write: Write, *, anew: bool) -> None:
        """The row is committed; `anew` when it was not there any more (it was merged) and holds only what is new."""
        part = self._parts[write.place.day]
        part.written = type(self.zero)(write.more if anew else write.value)
        part.waiting = self.zero

    def forget(self, day: int) -> None:
        """Days before and after `day` that are written need no memory."""
        self._parts = {at: part for at, part in self._parts.items() if at == day or part.waiting}

    def _sum(self, one: Any, other: Any) -> Any:
        return plus(one, other) if self.kind == "sum" else one + other


@dataclass(slots=True)
class _Sketched:
    """A day's sketch, and whether its row lacks something of it."""

    shard: str
    sketch: Sketch
    changed: bool = False


class UniqueSeries:
    """Different things of one label set. `add` from any thread; everything else on the loop's thread."""

    __slots__ = ("_day", "_fresh", "_lock", "_parts", "labels")

    kind: Kind = "unique"

    def __init__(self, labels: str) -> None:
        self.labels = labels
        self._lock = threading.Lock()
        self._fresh = Sketch()
        self._day = 0
        self._parts: dict[int, _Sketched] = {}

    @property
    def total(self) -> int:
        """Different things today, as far as this process has seen them, up to the last look."""
        part = self._parts.get(self._day)
        return 0 if part is None else part.sketch.count()

    def add(self, number: int) -> None:
        """Takes a hash."""
        with self._lock:
            self._fresh.add(number)

    def writes(self, name: str, day: int, shard: str) -> list[Write]:
        """As `Series.writes`; a sketch is always written whole, and only when it says something new."""
        self._day = day
        with self._lock:
            fresh, self._fresh = self._fresh, Sketch()
        if fresh:
            part = self._parts.get(day)
            if part is None:
                part = self._parts[day] = _Sketched(shard, Sketch())
            part.changed |= part.sketch.merge(fresh)
        return [
            Write(Place(name, at, self.labels, part.shard), self.kind, "0", "0", part.sketch.dump())
            for at, part in self._parts.items()
            if part.changed
        ]

    def written(self, write: Write, *, anew: bool) -> None:
        """The row is committed."""
        self._parts[write.place.day].changed = False

    def forget(self, day: int) -> None:
        """As `Series.forget`."""
        self._parts = {at: part for at, part in self._parts.items() if at == day or part.changed}


class Visitors:
    """Who has come on a day and is not noted yet. `add` from any thread."""

    __slots__ = ("_lock", "_new", "_seen", "_today", "dropped")

    SEEN_MAX = 200_000
    """Visitors of today that are remembered, so that they are not looked up again."""
    WAITING_MAX = 100_000
    """Visitors of a day that may wait for the database; more are not counted, and `dropped` says how many."""

    def __init__(self) -> None:
        self.dropped = 0
        self._lock = threading.Lock()
        self._today = 0
        self._seen: set[int] = set()
        self._new: dict[int, set[int]] = {}

    def add(self, number: int, day: int) -> None:
        """Takes a visitor's hash."""
        with self._lock:
            if day != self._today or len(self._seen) >= self.SEEN_MAX:
                self._today = day
                self._seen.clear()
            if number in self._seen:
                return
            new = self._new.setdefault(day, set())
            if len(new) >= self.WAITING_MAX:
                self.dropped += 1
                return
            self._seen.add(number)
            new.add(number)

    def take(self, limit: int) -> tuple[int, list[int]]:
        """A day and at most `limit` of its visitors to look up, none when there are none; give back with `untake` what
        could not be noted."""
        with self._lock:
            self._new = {day: new for day, new in self._new.items() if new}
            day = min(self._new, default=0)
            new = self._new.get(day, set())
            taken = [new.pop() for _ in range(min(limit, len(new)))]
        return day, sorted(taken)

    def untake(self, day: int, numbers: list[int]) -> None:
        """They are looked up another time."""
        with self._lock:
            self._new.setdefault(day, set()).update(numbers)
