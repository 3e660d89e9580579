"""The rows of `tf_inval`: written with the commit, heard once, bounded; and what is done when some may be missing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from databases import SqliteKit
from sqlalchemy import MetaData

from tenfold.blocks.database.announced import EVERYTHING, Told, read, written
from tenfold.blocks.database.schema import OWN_MIGRATIONS, apply_own
from tenfold.blocks.database.sqlite.backend import SqliteBackend
from tenfold.blocks.database.sqlite.invalidations import KEPT, PRUNE_EVERY, TEXT, Invalidations, news
from tenfold.core.clock import SYSTEM_CLOCK
from tenfold.core.randomness import SeededRandomness
from tenfold.drivers.sqlite import open_reader, open_writer

Heard = list[list[str] | None]


class Process:
    """One process as far as `tf_inval` goes: its own connections, numbered batches."""

    def __init__(self, path: Path, seed: int) -> None:
        self.heard: Heard = []
        self.news = Invalidations(self.heard.append, SeededRandomness(seed))
        self.writer, self.reader = open_writer(path), open_reader(path)
        self.commits = 0

    def begin(self, *keys: str) -> int:
        """A batch up to just before its COMMIT."""
        self.writer.execute("BEGIN IMMEDIATE")
        self.news.told.add(keys)
        seq = self.writer.execute("UPDATE tf_clock SET seq = seq + 1 RETURNING seq").fetchone()[0]
        self.news.write(self.writer, seq, self.commits)
        return int(seq)

    def commit(self, *keys: str) -> int:
        """A whole batch."""
        seq = self.begin(*keys)
        self.writer.execute("COMMIT")
        self.commits += 1
        return seq

    def look(self) -> Heard:
        """What it hears now."""
        self.news.look(self.reader, self.commits)
        heard, self.heard[:] = list(self.heard), []
        return heard

    def rows(self) -> list[Any]:
        """The table."""
        return self.reader.execute("SELECT seq, keys FROM tf_inval ORDER BY seq").fetchall()

    def close(self) -> None:
        self.writer.close()
        self.reader.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.db"
    with closing(open_writer(path, create=True)) as connection:
        apply_own(connection, now_us=0)
    return path


@pytest.fixture
def pair(file: Path) -> Iterator[tuple[Process, Process]]:
    one, two = Process(file, 1), Process(file, 2)
    for process in (one, two):
        assert process.look() == [None], "what was remembered before the first look may be old"
    yield one, two
    one.close()
    two.close()


def test_the_other_hears_a_commit_once_and_the_writer_never(pair: tuple[Process, Process]) -> None:
    one, two = pair
    one.commit("a", "b")
    assert (two.look(), one.look()) == ([["a", "b"]], [])
    one.commit()
    one.commit("c")
    two.commit("d")
    assert two.heard == [["c"]], "its own commit is acknowledged with all before it heard"
    assert (two.look(), one.look()) == ([["c"]], [["d"]])
    assert (two.look(), one.look()) == ([], [])


def test_what_is_rolled_back_is_not_heard_and_its_number_is_heard_of_the_next(pair: tuple[Process, Process]) -> None:
    one, two = pair
    number = one.begin("a")
    one.writer.execute("ROLLBACK")
    assert (one.look(), two.look()) == ([], [])
    assert two.commit("b") == number, "the number that the failed batch would have had"
    assert one.look() == [["b"]]
    one.commit("c")
    assert two.look() == [["c", "a"]], "a key too many costs a load, a key too few a wrong answer"


def test_a_commit_that_is_not_yet_acknowledged_is_no_news_to_its_writer(pair: tuple[Process, Process]) -> None:
    one, two = pair
    one.begin("a")
    one.writer.execute("COMMIT")
    assert one.look() == []
    one.commits += 1
    two.commit("b")
    assert (one.look(), two.look()) == ([["b"]], [["a"]])


def test_who_is_too_far_behind_drops_everything(pair: tuple[Process, Process]) -> None:
    one, two = pair
    for _ in range(KEPT):
        one.commit("a")
    assert two.look() == [["a"]]
    for _ in range(KEPT + 1):
        one.commit("a")
    assert two.look() == [None]
    one.commit("b")
    assert two.look() == [["b"]]


def test_the_table_stays_small_whoever_writes(pair: tuple[Process, Process]) -> None:
    one, two = pair
    for number in range(2 * KEPT):
        (one if number % 3 else two).commit(f"key-{number}")
    rows = one.rows()
    assert KEPT <= len(rows) <= KEPT + PRUNE_EVERY
    assert rows[-1] == (2 * KEPT, written([f"key-{2 * KEPT - 1}"]))


def test_too_many_keys_become_one_word_for_all(pair: tuple[Process, Process]) -> None:
    one, two = pair
    one.commit(*(f"{number:040}" for number in range(TEXT // 40 + 1)))
    assert two.look() == [None]
    assert one.rows() == [(1, written([EVERYTHING]))]
    one.commit("a")
    assert two.look() == [["a"]]


def test_a_number_that_went_back_says_that_nothing_is_known(pair: tuple[Process, Process]) -> None:
    one, two = pair
    for _ in range(10):
        one.commit("a")
    two.look()
    one.writer.execute("UPDATE tf_clock SET seq = 3")  # a move brought its rows back
    assert (two.look(), one.look()) == ([None], [None])
    one.commit("b")
    assert two.look() == [["b"]]
    assert [seq for seq, _ in one.rows()][-1] == 4, "rows of the former count are gone"


def test_a_change_of_the_schema_is_seen(pair: tuple[Process, Process]) -> None:
    one, two = pair
    one.commit("a")
    assert not two.news.look(two.reader, two.commits)
    one.writer.execute("CREATE TRIGGER t BEFORE INSERT ON tf_commit BEGIN SELECT RAISE(ABORT, 'TF001'); END")
    assert two.news.look(two.reader, two.commits)
    assert not two.news.look(two.reader, two.commits)


def test_a_file_from_before_this_table_works_and_gets_it_under_way(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(open_writer(path, create=True)) as connection:
        for migration in OWN_MIGRATIONS[:2]:
            for statement in migration.sqlite:
                connection.execute(statement)
            connection.execute("INSERT INTO tf_schema VALUES (?, 'tenfold', ?, 'expand', 0)", (migration.version,) * 2)
        one, two = Process(path, 1), Process(path, 2)
        one.commit("a")
        assert two.look() == []
        assert 3 in apply_own(connection, now_us=1)
    assert two.look() == [None]
    one.commit("b")
    assert two.look() == [["a", "b"]], "what could not be told before is told now"
    one.close()
    two.close()


def test_news_are_judged_without_a_database() -> None:
    rows = [(8, written(["a", "b"])), (9, written(["b", "c"]))]
    assert news(rows, 7, 9) == ["a", "b", "c"]
    assert news([], 9, 9) == []
    assert news(rows, None, 9) is None
    assert news(rows, 10, 9) is None
    assert news(rows, 9 - KEPT, 9) is not None
    assert news(rows, 8 - KEPT, 9) is None
    assert news([(9, written([EVERYTHING]))], 8, 9) is None
    assert news([(9, "damaged")], 8, 9) is None


def test_told_keys_are_kept_once_and_within_bounds() -> None:
    told = Told(10)
    assert not told
    told.add(["aaaa", "bbbb", "aaaa"])
    assert told.keys() == ["aaaa", "bbbb"]
    told.add(["cccc"])
    told.add(["d"])
    assert told.keys() == [EVERYTHING]
    told.clear()
    told.add(["cccc"])
    assert read(written(told.keys())) == ["cccc"]
    assert read("{}") is None


def test_what_is_announced_while_a_batch_is_on_its_way_goes_with_the_next(tmp_path: Path) -> None:
    async def work() -> None:
        backend = SqliteBackend(SqliteKit().create(tmp_path, MetaData()), MetaData(), SYSTEM_CLOCK, print)
        await backend.start()
        told, hit = set(), 0
        async with asyncio.timeout(20):
            for number in range(20):
                backend.announce([f"{number}"])
                while backend.invalidations.told:
                    await asyncio.sleep(0)
                hit += backend._announcing is not None  # its COMMIT is not done yet
                backend.announce([f"{number} too"])
                while f"{number} too" not in told:
                    rows = backend.reader.execute("SELECT keys FROM tf_inval").fetchall()
                    told |= {key for (keys,) in rows for key in read(keys) or ()}
                    await asyncio.sleep(0)
        assert hit
        await backend.stop()

    asyncio.run(work())


def test_a_file_that_cannot_be_read_makes_a_process_forget(tmp_path: Path) -> None:
    async def work() -> None:
        backend = SqliteBackend(SqliteKit().create(tmp_path, MetaData()), MetaData(), SYSTEM_CLOCK, print)
        heard: Heard = []
        backend.heard = heard.append
        await backend.start()
        assert not backend.catch_up()
        assert heard == [None]
        reader, backend.reader = backend.reader, sqlite3.connect(tmp_path / "other.db")
        backend.reader.close()
        backend.catch_up()
        backend.reader = reader
        assert heard == [None, None]
        backend.catch_up()
        assert heard == [None, None, None], "what was remembered in between may have missed something"
        await backend.stop()
        backend.catch_up()
        assert len(heard) == 3

    asyncio.run(work())
