"""The figures of the last hours in a small SQLite file, for the plots of the page.

One row for each tier and `EVERY_S`, of `LATER_S` once it is older than `FINE_S`, gone after `KEPT_S`; and the whole
figures of the last `RECENT_S`, one in `EVERY_S`, for who reasons about them.

History is worth nothing beside the page that shows it: a full disk, a damaged file or one of another version costs
history only, and `problem` says so. The file is never synced. Everything can be asked from any thread.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tenfold.control.figures.model import Figures
from tenfold.control.figures.shelf import EVERY_S, KEPT_S, REPLACED, OtherVersionError, Point, Shelf, together
from tenfold.control.figures.tiers import cores_of, rows_of
from tenfold.core.clock import SYSTEM_CLOCK, Clock

MOST_TIERS, MOST_NODES, MOST_LOOKS = 32, 32, 64
"""What is kept of one slot at most: tiers, nodes of each whose cores are kept, and figures that it is made of."""
MOST_HOURS = KEPT_S / 3600
_GAP = 2.5
"""After so many times its span without another point a line is broken off."""


class FigureStore:
    """The history in one file. `writes=False` only reads what another process writes there, and makes no file. `clock`
    says what the last hours are.

    `problem` is empty, or the sentence for people that says what became of the history.
    """

    def __init__(self, path: Path, *, writes: bool = True, clock: Clock = SYSTEM_CLOCK) -> None:
        self._path = path
        self._clock = clock
        self._writes = writes
        self._lock = threading.Lock()
        self._shelf: Shelf | None = None
        self._slot = 0
        self._waiting: list[Figures] = []
        self._failure = self._loss = ""
        with self._lock, self._guarded():
            self._open()

    @property
    def problem(self) -> str:
        """Why there is less history than there should be; empty when all is well."""
        return self._failure or self._loss

    def close(self) -> None:
        """Writes what waits, and closes the file."""
        with self._lock:
            self._flush()
            if self._shelf is not None:
                self._shelf.close()
            self._shelf = None

    def add(self, figures: Figures) -> None:
        """Takes figures in; those of a slot are written together, when the next one begins. Never raises for a disk."""
        slot = figures.at_us // 1_000_000 // EVERY_S * EVERY_S
        with self._lock:
            if slot != self._slot:
                self._flush()
                self._slot = slot
            if figures.window_s > 0 and len(self._waiting) < MOST_LOOKS:
                self._waiting.append(figures)

    def series(self, tier: str, hours: float = 1.0) -> dict[str, Any]:
        """The plots of one tier: `at_us`, and as many values (or None) for each name in `series`, and in `nodes` for
        the cores of each node. Where nothing is known for a while, one point has no values at all."""
        with self._lock:
            points = self._points(tier, min(max(hours, 0.0), MOST_HOURS))
        return _columns(points)

    def recent(self, seconds: float) -> list[Figures]:
        """Whole figures of the last seconds (at most `RECENT_S`), one for each slot, oldest first."""
        found: list[Figures] = []
        with self._lock:
            since = self._since(seconds)
            with self._guarded():
                if self._shelf is not None:
                    found = [*self._shelf.wholes(since)]
            return found + (self._waiting[-1:] if self._slot >= since else [])

    # Inside

    def _open(self) -> None:
        """Opens the file; one that is damaged or of another version is replaced, when it is ours to write."""
        try:
            self._shelf = Shelf(self._path, writes=self._writes)
        except OtherVersionError:
            self._shelf = self._anew()

    def _anew(self) -> Shelf | None:
        if self._shelf is not None:
            self._shelf.close()
            self._shelf = None
        if not self._writes:
            return None
        for suffix in ("", "-journal", "-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        return Shelf(self._path, writes=True)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """History may be lost by what fails inside, and nothing else."""
        try:
            yield
            self._failure = ""
        except (sqlite3.Error, OSError, msgspec.MsgspecError) as error:
            self._failure = f"The history of figures is not kept: {error}."
            if _is_damage(error):
                self._replace()

    def _replace(self) -> None:
        try:
            self._shelf = self._anew()
        except (sqlite3.Error, OSError, OtherVersionError):
            return
        self._failure, self._loss = "", "The history of figures was damaged, and begins anew."

    def _flush(self) -> None:
        these, self._waiting = self._waiting, []
        if not these or not self._writes:
            return
        with self._guarded():
            if self._shelf is None:
                self._open()
            if self._shelf is not None:
                self._shelf.tidy(self._slot)
                self._shelf.put(self._slot, points_of(these), these[-1])

    def _since(self, seconds: float) -> int:
        """The second since 1970 that lies so far back."""
        return int(self._clock.wall_us() / 1e6 - seconds)

    def _points(self, tier: str, hours: float) -> list[tuple[int, Point]]:
        found: list[tuple[int, Point]] = []
        since = self._since(hours * 3600)
        with self._guarded():
            if self._shelf is not None:
                found = self._shelf.points(tier, since)
        last = points_of(self._waiting).get(tier) if self._slot >= since else None
        return [*found, (self._slot, last)] if last is not None else found


def points_of(figures: Sequence[Figures]) -> dict[str, Point]:
    """One point for each tier from the figures of one slot."""
    points: dict[str, list[Point]] = {}
    for each in figures:
        for tier, row in list(rows_of(each).items())[:MOST_TIERS]:
            points.setdefault(tier, []).append(Point(each.window_s, row, cores_of(each, tier, MOST_NODES)))
    return {tier: _short(together(these)) for tier, these in points.items()}


def _short(point: Point) -> Point:
    """Five digits are more than a plot shows, and half of what a page would load."""
    row, cores = (
        {name: None if value is None else float(f"{value:.5g}") for name, value in values.items()}
        for values in (point.row, point.cores)
    )
    return Point(point.span_s, row, cores)


def _columns(points: Sequence[tuple[int, Point]]) -> dict[str, Any]:
    rows = list(_with_gaps(points))
    names = dict.fromkeys(name for _at_s, point in rows for name in point.row)
    nodes = dict.fromkeys(name for _at_s, point in rows for name in point.cores)
    return {
        "at_us": [at_s * 1_000_000 for at_s, _point in rows],
        "series": {name: [point.row.get(name) for _at_s, point in rows] for name in names},
        "nodes": {name: [point.cores.get(name) for _at_s, point in rows] for name in nodes},
    }


def _with_gaps(points: Sequence[tuple[int, Point]]) -> Iterator[tuple[int, Point]]:
    for number, (at_s, point) in enumerate(points):
        if number:
            before_s, before = points[number - 1]
            span = max(before.span_s, EVERY_S)
            if at_s - before_s > _GAP * span:
                yield before_s + round(span), Point(0.0, {})
        yield at_s, point


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, msgspec.MsgspecError) or code in REPLACED
