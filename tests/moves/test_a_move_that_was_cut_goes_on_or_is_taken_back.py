"""The mover ends at every point where it touches a database or the map; the next one goes on, or takes it all back.

A point lies before and after each call into SQLite, each statement on PostgreSQL and each publish. The cut is an
exception that no code of ours catches, and afterwards nothing of the mover is used again: connections are dropped as
the death of a process drops them. The driver here is the least one: what `next_act` would do with the same outcome.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import asyncpg
import pytest
import sqlalchemy as sa
from moving_rows import Cell, Said, carry_out, run, same_everywhere

from tenfold.blocks.database.tables import define, home
from tenfold.blocks.database.types import Int64, Text
from tenfold.core.journal import Fenced
from tenfold.moves.base import Move
from tenfold.moves.copy_to_postgres import build
from tenfold.moves.drop_way_back import build as build_finalize
from tenfold.moves.return_to_sqlite import build as build_return
from tenfold.moves.rows import copying, replay, verify
from tenfold.moves.rows.file import File
from tenfold.moves.rows.tables import moved_tables
from tenfold.moves.rows.work import Work

MakeCell = Callable[[sa.MetaData], Cell]
Builder = Callable[[Cell], Any]


class Cut(BaseException):
    """The mover is gone, as by SIGKILL."""


class Points:
    """Counts points and cuts at one of them."""

    def __init__(self, at: int = 0) -> None:
        self.at, self.seen = at, 0

    def __call__(self, what: str = "") -> None:
        self.seen += 1
        if self.seen == self.at:
            raise Cut(what)


@contextlib.contextmanager
def points(cell: Cell, at: int = 0) -> Iterator[Points]:
    """Every call that touches something passes a point before and after it."""
    seen = Points(at)
    call = File._call

    async def file_call(self: File, function: Callable[[], Any]) -> Any:
        seen("before the file")
        result = await call(self, function)
        seen("after the file")
        return result

    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.object(File, "_call", file_call))
        for name in ("execute", "fetch", "fetchval", "fetchrow", "copy_records_to_table"):
            patches.enter_context(mock.patch.object(asyncpg.Connection, name, _pointed(name, seen)))
        cell.cut = seen
        try:
            yield seen
        finally:
            cell.cut = lambda what: None


def _pointed(name: str, seen: Points) -> Any:
    real = getattr(asyncpg.Connection, name)

    async def pointed(self: Any, *args: Any, **named: Any) -> Any:
        seen(f"before {name}")
        result = await real(self, *args, **named)
        seen(f"after {name}")
        return result

    return pointed


async def _die(works: list[Work]) -> None:
    """What the death of a process does to its connections."""
    for work in works:
        server, file = work.__dict__.pop("server", None), work.__dict__.pop("file", None)
        if server is not None and server._session is not None:
            server._session.terminate()
        if file is not None:
            await file.close()
    works.clear()


async def forward(cell: Cell, builder: Builder, at: int, *, written: bool = False) -> int:
    """Does a move that is cut at one point, by a second mover after the first; the points that were passed."""
    works: list[Work] = []
    init = Work.__init__

    def remembered(self: Work, *args: Any, **named: Any) -> None:
        init(self, *args, **named)
        works.append(self)

    with mock.patch.object(Work, "__init__", remembered):
        move: Move = await builder(cell)
        stage, begun = 0, ""
        with points(cell, at) as seen:
            try:
                for stage in range(len(move.stages)):
                    begun = move.stages[stage].name
                    if written:
                        change(cell, stage + at)
                    await move.stages[stage].do(Said())
            except Cut:
                await _die(works)
            else:
                await _die(works)
                return seen.seen
        cell.term += 1
        move = await builder(cell)
        assert move.stages[stage].name == begun
        if not await move.stages[stage].check():
            await move.stages[stage].do(Said())
        for later, each in enumerate(move.stages[stage + 1 :]):
            if written:
                change(cell, later + 100)
            await each.do(Said())
        await _die(works)
        return seen.seen


async def backward(cell: Cell, at: int) -> bool:
    """The climb, cut at one point and taken back by a second mover; False when it had decided already."""
    works: list[Work] = []
    init = Work.__init__

    def remembered(self: Work, *args: Any, **named: Any) -> None:
        init(self, *args, **named)
        works.append(self)

    with mock.patch.object(Work, "__init__", remembered):
        move = await build(cell)
        stage = 0
        with points(cell, at):
            try:
                for stage in range(len(move.stages)):
                    await move.stages[stage].do(Said())
            except Cut:
                pass
            await _die(works)
        cell.term += 1
        move = await build(cell)
        no_return = move.index(move.no_return)
        if stage > no_return or (stage == no_return and await move.stages[stage].check()):
            await _die(works)
            return False
        for each in reversed(move.stages[: stage + 1]):
            await each.undo(Said())
        await _die(works)
        return True


def two_tables() -> sa.MetaData:
    """Small, but with everything: a unique value, a reference, an index."""
    metadata = sa.MetaData()
    code = (sa.Column("code", Text(20), primary_key=True), sa.Column("slot", Int64(), unique=True))
    define(metadata, "links", code, home())
    visit = (
        sa.Column("id", Int64(), primary_key=True),
        sa.Column("code", Text(20), sa.ForeignKey("links.code"), index=True),
    )
    define(metadata, "visits", visit, home())
    return metadata


def fill(cell: Cell) -> None:
    """A few rows."""
    with cell.open_file() as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO links VALUES (?, ?)", ((f"c{n}", n) for n in range(7)))
        connection.executemany("INSERT INTO visits VALUES (?, ?)", ((n, f"c{n}") for n in range(7)))
        connection.execute("COMMIT")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks, so that there is a cut between two of them."""
    monkeypatch.setattr(copying, "CHUNK", 3)
    monkeypatch.setattr(verify, "RANGE", 3)
    monkeypatch.setattr(replay, "GROUP", 3)


def change(cell: Cell, turn: int) -> None:
    """A service that writes between two stages, as long as the file lets it."""
    if not cell.sqlite_path.exists():
        return
    with cell.open_file() as connection, contextlib.suppress(sqlite3.IntegrityError):
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("INSERT OR REPLACE INTO links VALUES (?, ?)", (f"c{turn % 9}", turn % 7))
        connection.execute("DELETE FROM visits WHERE code NOT IN (SELECT code FROM links)")
        connection.execute("INSERT OR REPLACE INTO visits VALUES (?, ?)", (turn, f"c{turn % 9}"))


def _cuts(everything: bool, total: int, step: int) -> list[int]:
    """Every so many points, and some of the last, where it is decided.

    `everything`: each run takes another sixth of all points; TENFOLD_CUTS=all takes all of them (an hour).
    """
    if everything and os.environ.get("TENFOLD_CUTS") == "all":
        return list(range(1, total + 1))
    if everything:
        offset = random.SystemRandom().randrange(SHARE)
        print(f"points {1 + offset}, {1 + offset + SHARE} ... of {total}")
        return list(range(1 + offset, total + 1, SHARE))
    return sorted({*range(1, total + 1, step), *range(total - 60, total + 1, 12)})


SHARE = 6
EVERY = pytest.mark.parametrize("everything", [False, pytest.param(True, marks=pytest.mark.long)])


@EVERY
def test_a_climb_that_was_cut_anywhere_goes_on(make_cell: MakeCell, everything: bool) -> None:
    async def main() -> None:
        cell = make_cell(two_tables())
        fill(cell)
        total = await forward(cell, build, 0)
        await same_everywhere(cell)
        assert total > 300
        for at in _cuts(everything, total, 61):
            cell = await _fresh(cell)
            fill(cell)
            await forward(cell, build, at, written=True)
            await same_everywhere(cell)
            assert cell.current().database.backend == "postgres"
            await _is_settled(cell)

    asyncio.run(main())


async def _fresh(cell: Cell) -> Cell:
    for path in cell.sqlite_path.parent.glob("*"):
        os.unlink(path)
    connection = await asyncpg.connect(**cell.postgres.login(cell.database))
    await connection.execute("DROP SCHEMA IF EXISTS public, tf CASCADE")
    await connection.execute("CREATE SCHEMA public AUTHORIZATION owner")
    await connection.close()
    made = Cell(cell.root, cell.postgres, cell.metadata, database=cell.database)
    made.make_file()
    return made


async def _is_settled(cell: Cell) -> None:
    with cell.open_file() as connection:
        names = {
            row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'trigger')")
        }
    assert "tf_log" not in names
    assert not [name for name in names if name.startswith("tf_capture_")]
    fences = [name for name in names if name.startswith("tf_fence_")]
    assert len(fences) == 3 * len(moved_tables(cell.metadata)), "one for each way to change each table"
    rows = await cell.server_rows("SELECT tablename FROM pg_tables WHERE schemaname = 'tf' ORDER BY 1")
    assert {"tf_copied", "tf_note"}.isdisjoint({row[0] for row in rows})
    await cell.server_rows("INSERT INTO links VALUES ('after', 999)")


@EVERY
def test_a_climb_that_was_cut_anywhere_is_taken_back(make_cell: MakeCell, everything: bool) -> None:
    async def main() -> None:
        cell = make_cell(two_tables())
        fill(cell)
        total = await forward(cell, build, 0)
        decided = 0
        for at in _cuts(everything, total, 53):
            cell = await _fresh(cell)
            fill(cell)
            if not await backward(cell, at):
                decided += 1
                continue
            with cell.open_file() as connection:
                connection.execute("INSERT INTO links VALUES ('after', 999)")
            database = cell.current().database
            assert (database.backend, database.standby, database.gate) == ("sqlite", "", "open")
            cell.term, cell.move_id = cell.term + 1, "again"
            await forward(cell, build, 0)
            await same_everywhere(cell)
        assert 0 < decided < total / 4

    asyncio.run(main())


@EVERY
def test_a_return_that_was_cut_anywhere_goes_on(make_cell: MakeCell, everything: bool) -> None:
    async def climbed(cell: Cell) -> Cell:
        fill(cell)
        await forward(cell, build, 0)
        cell.term, cell.move_id = cell.term + 1, "back"
        await cell.server_rows("INSERT INTO links VALUES ('pg', 100)")
        await cell.server_rows("DELETE FROM visits WHERE id = 3")
        await cell.server_rows("UPDATE links SET code = 'renamed' WHERE code = 'c3'")
        await cell.server_rows("UPDATE links SET slot = -2 WHERE slot = 1")
        await cell.server_rows("UPDATE links SET slot = 1 WHERE slot = 2")
        return cell

    async def main() -> None:
        cell = await climbed(make_cell(two_tables()))
        total = await forward(cell, build_return, 0)
        for at in _cuts(everything, total, 31):
            cell = await climbed(await _fresh(cell))
            await forward(cell, build_return, at)
            with cell.open_file() as connection:
                rows = connection.execute("SELECT code, slot FROM links ORDER BY slot").fetchall()
                connection.execute("INSERT INTO links VALUES ('after', 999)")
            assert {("renamed", 3), ("pg", 100), ("c1", -2), ("c2", 1)} <= set(rows)
            assert len(rows) == 8
            assert cell.current().database.backend == "sqlite"
            assert await cell.server_rows("SELECT tablename FROM pg_tables WHERE schemaname IN ('public', 'tf')") == []

    asyncio.run(main())


def test_a_finalize_that_was_cut_anywhere_goes_on(make_cell: MakeCell) -> None:
    async def main() -> None:
        cell = make_cell(two_tables())
        total = 1
        at = 0
        while at < total:
            fill(cell)
            await forward(cell, build, 0)
            cell.term, cell.move_id = cell.term + 1, "finalize"
            total = max(total, await forward(cell, build_finalize, at))
            assert not cell.current().database.way_back
            assert not cell.sqlite_path.exists()
            assert await cell.server_rows("SELECT to_regclass('tf.tf_log')::text") == [(None,)]
            assert len(list(cell.sqlite_path.parent.glob("*.before-postgres*.db"))) == 1
            at += 13
            cell = await _fresh(cell)

    asyncio.run(main())


def test_a_mover_that_wakes_after_its_successor_began_is_refused(make_cell: MakeCell) -> None:
    cell = make_cell(two_tables())
    fill(cell)

    async def main() -> None:
        old = await build(cell)
        await carry_out(old, until="open")
        cell.term += 1
        new = await build(cell)
        assert not await new.stages[new.index("open")].check()  # it looks, and has taken over by that
        with pytest.raises(Fenced):
            await old.stages[old.index("open")].do(Said())
        await new.stages[new.index("fence")].undo(Said())
        with pytest.raises(Fenced):
            await old.stages[old.index("fence")].do(Said())
        await new.stages[new.index("fence")].do(Said())
        for stage in new.stages[new.index("open") :]:
            await stage.do(Said())
        await same_everywhere(cell)

    run(main())
