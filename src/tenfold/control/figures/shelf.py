"""The file behind the history of figures: rows in, rows out, thinned and bounded. It raises what SQLite raises.

The journal is a rollback journal and nothing is synced: a write is two small transactions in the page cache, and what a
crash of the machine damages is thrown away by who opens it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from tenfold.control.figures.model import Figures
from tenfold.control.figures.tiers import Row, merged

EVERY_S, LATER_S = 5, 60
"""Seconds that one row is about: at first, and once it is older than `FINE_S`."""
FINE_S, KEPT_S, RECENT_S = 3600, 6 * 3600, 600
AHEAD_S = 60
"""What lies further ahead was written before somebody set the clock back; it is dropped."""
VERSION = 1
"""Of what the file holds."""
MOST_BYTES = 64 << 20
_PAGE = 4096
_BUSY_MS = 50
_THINNED_AT_ONCE = 64
"""Minutes (of a tier) that are thinned in one go: a file that was not looked after for hours delays nobody."""

_TABLES = (
    """CREATE TABLE point (tier TEXT NOT NULL, at_s INTEGER NOT NULL, point BLOB NOT NULL,
  PRIMARY KEY (tier, at_s)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX point_at ON point (at_s)",
    "CREATE TABLE whole (at_s INTEGER PRIMARY KEY, figures BLOB NOT NULL) STRICT",
    f"PRAGMA user_version = {VERSION}",
)


class Point(msgspec.Struct, frozen=True, array_like=True):
    """One tier over `span_s` seconds: its row, and the cores of each of its nodes."""

    span_s: float
    row: Row
    cores: Row = {}


def together(points: list[Point]) -> Point:
    """Several points of one tier as one."""
    rows = merged([(point.span_s, point.row) for point in points])
    cores = merged([(point.span_s, point.cores) for point in points])
    return Point(sum(point.span_s for point in points), rows, cores)


_point = msgspec.msgpack.Decoder(Point)
_figures = msgspec.msgpack.Decoder(Figures)
_encode = msgspec.msgpack.Encoder().encode

REPLACED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""SQLite's codes of a file that is worth nothing any more."""


class OtherVersionError(Exception):
    """The file was written by another version."""


class Shelf:
    """One open file. Use it from one thread at a time."""

    def __init__(self, path: Path, *, writes: bool) -> None:
        if writes:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        mode = "rw" if writes else "ro"
        self._db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(writes)
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, writes: bool) -> None:
        self._db.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        empty = self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
        if version != VERSION and not (writes and empty):
            raise OtherVersionError
        if not writes:
            return
        self._db.execute("PRAGMA journal_mode = TRUNCATE")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute(f"PRAGMA max_page_count = {MOST_BYTES // _PAGE}")
        if empty:
            with self._transaction():
                for statement in _TABLES:
                    self._db.execute(statement)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    def put(self, at_s: int, points: Mapping[str, Point], whole: Figures) -> None:
        """Keeps the points of all tiers of one slot; what was there of the same slot is joined with them."""
        with self._transaction():
            for tier, point in points.items():
                there = [found for _at_s, found in self.points(tier, at_s, at_s + 1)]
                self._write(tier, at_s, together([*there, point]) if there else point)
            self._db.execute("INSERT OR REPLACE INTO whole VALUES (?, ?)", (at_s, _encode(whole)))

    def tidy(self, now_s: int) -> None:
        """Drops what is too old or lies ahead, and thins what is older than `FINE_S`."""
        with self._transaction():
            self._db.execute("DELETE FROM point WHERE at_s < ? OR at_s > ?", (now_s - KEPT_S, now_s + AHEAD_S))
            self._db.execute("DELETE FROM whole WHERE at_s < ? OR at_s > ?", (now_s - RECENT_S, now_s + AHEAD_S))
            end = (now_s - FINE_S) // LATER_S * LATER_S
            many = self._db.execute(
                "SELECT DISTINCT tier, at_s / ? FROM point WHERE at_s < ? AND at_s % ? <> 0 LIMIT ?",
                (LATER_S, end, LATER_S, _THINNED_AT_ONCE),
            ).fetchall()
            for tier, minute in many:
                self._thin(tier, minute * LATER_S)

    def _thin(self, tier: str, begin: int) -> None:
        points = [point for _at_s, point in self.points(tier, begin, begin + LATER_S)]
        self._db.execute("DELETE FROM point WHERE tier = ? AND at_s > ? AND at_s < ?", (tier, begin, begin + LATER_S))
        self._write(tier, begin, together(points))

    def _write(self, tier: str, at_s: int, point: Point) -> None:
        self._db.execute("INSERT OR REPLACE INTO point VALUES (?, ?, ?)", (tier, at_s, _encode(point)))

    def points(self, tier: str, begin: int, end: int = 1 << 60) -> list[tuple[int, Point]]:
        """The points of a tier from `begin` on in order of time, each with the second at which it begins."""
        found = self._db.execute(
            "SELECT at_s, point FROM point WHERE tier = ? AND at_s >= ? AND at_s < ? ORDER BY at_s", (tier, begin, end)
        )
        return [(at_s, _point.decode(point)) for at_s, point in found]

    def wholes(self, begin: int) -> Iterator[Figures]:
        """The whole figures from that second on, oldest first."""
        for (figures,) in self._db.execute("SELECT figures FROM whole WHERE at_s >= ? ORDER BY at_s", (begin,)):
            yield _figures.decode(figures)
