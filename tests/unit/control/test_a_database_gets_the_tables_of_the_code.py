"""A service without revisions: what is missing is created, whatever else differs is told, nothing is guessed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from migrating import Place, service

from tenfold.blocks.database.schema import OWN_MIGRATIONS
from tenfold.control.migrate import describe
from tenfold.control.migrations import store
from tenfold.control.migrations.revisions import MigrationNeeded
from tenfold.core.errors import StorageDamaged, Unavailable
from tenfold.drivers.sqlite import WriterLock

OWN = tuple(step.version for step in OWN_MIGRATIONS)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_an_empty_folder_gets_a_database_and_a_second_run_finds_nothing_to_do(place: Place) -> None:
    first = place.migrate(1)
    assert (first.own, first.created) == (OWN, ("table links",))
    assert first.backup == ""
    again = place.migrate(1)
    assert not again.changes
    assert describe(again) == ["The database is up to date."]
    assert place.path.stat().st_mode & 0o077 == 0 or place.path.parent.stat().st_mode & 0o077 == 0


def test_the_record_says_what_was_created(place: Place) -> None:
    place.migrate(1)
    ((revision, kind),) = place.applied()
    assert revision.startswith("tables-")
    assert kind == "expand"


def test_a_new_table_and_its_index_are_created_beside_the_rows_that_exist(place: Place) -> None:
    place.migrate(1)
    place.sql("INSERT INTO links VALUES ('c', 'https://example.com/', NULL, 7)")
    report = place.migrate(2)
    assert report.created == ("table users",)
    assert place.sql("SELECT code FROM links") == [("c",)]
    assert place.sql("SELECT name FROM sqlite_schema WHERE name = 'ix_users_email'") == [("ix_users_email",)]


def test_a_missing_index_is_created(place: Place) -> None:
    place.migrate(2)
    place.sql("DROP INDEX ix_users_email")
    assert place.migrate(2).created == ("index ix_users_email on users(email)",)
    assert not place.migrate(2).changes


def test_a_new_column_is_told_with_what_to_do_and_nothing_changes(place: Place) -> None:
    place.migrate(2)
    before = place.dump()
    with pytest.raises(MigrationNeeded, match=r"column links\.title is missing") as told:
        place.migrate(3)
    assert "tenfold migrate --new" in told.value.hint
    assert place.dump() == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("DROP TABLE users; CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL)", "not STRICT"),
        (
            "DROP TABLE users; CREATE TABLE users (id INTEGER, email TEXT NOT NULL, age INTEGER NOT NULL) STRICT",
            r"column users\.age is not in the code",
        ),
        (
            "DROP TABLE users; CREATE TABLE users (id INTEGER, email TEXT) STRICT",
            r"users\.email is TEXT, not TEXT NOT NULL",
        ),
        ("DROP TABLE users; CREATE TABLE users (id INTEGER, email TEXT NOT NULL) STRICT", "has the primary key"),
        ("CREATE UNIQUE INDEX stray ON users (email)", "index stray on users is not in the code"),
        ("DROP INDEX ix_users_email; CREATE UNIQUE INDEX ix_users_email ON users (email)", "is UNIQUE"),
    ],
)
def test_every_other_difference_is_told(place: Place, change: str, sentence: str) -> None:
    place.migrate(2)
    for statement in change.split("; "):
        place.sql(statement)
    with pytest.raises(MigrationNeeded, match=sentence):
        place.migrate(2)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("CREATE TABLE stray (id INTEGER PRIMARY KEY)", "table stray is not in the code; it stays."),
        ("ALTER TABLE users ADD COLUMN age INTEGER", "column users.age is not in the code; it stays."),
        (
            "ALTER TABLE users ADD COLUMN age INTEGER NOT NULL DEFAULT 1",
            "column users.age is not in the code; it stays.",
        ),
        ("CREATE INDEX stray ON users (id)", "index stray on users is not in the code; it stays."),
    ],
)
def test_what_the_code_can_live_with_stays_and_is_told(place: Place, change: str, sentence: str) -> None:
    place.migrate(2)
    place.sql(change)
    report = place.migrate(2)
    assert not report.changes
    assert describe(report) == ["The database is up to date.", sentence]


def test_code_from_before_a_table_was_added_starts_after_it(place: Place) -> None:
    place.migrate(2)
    assert place.migrate(1).notes == ("table users is not in the code; it stays.",)


def test_a_dry_run_says_it_and_does_nothing(place: Place) -> None:
    report = place.migrate(1, dry_run=True)
    assert describe(report) == [
        *(f"tenfold's own tables: version {version} would be applied" for version in OWN),
        "table links: would be created",
    ]
    assert not place.path.exists()
    place.migrate(1)
    before = place.path.read_bytes()
    assert place.migrate(2, dry_run=True).created == ("table users",)
    assert place.path.read_bytes() == before


def test_a_copy_from_before_is_kept_of_a_database_with_tables(place: Place) -> None:
    place.migrate(1)
    place.sql("INSERT INTO links VALUES ('c', 'https://example.com/', NULL, 7)")
    copy = Path(place.migrate(2).backup)
    assert copy == place.path.with_name("small.before-tables.db")
    assert copy.stat().st_mode & 0o777 == 0o600
    old = Place(place.root)
    place.path.rename(place.path.with_suffix(".new"))
    for left in place.path.parent.glob("small.db-*"):
        left.unlink()
    copy.rename(place.path)
    assert old.sql("SELECT code FROM links") == [("c",)]
    assert old.sql("SELECT name FROM sqlite_schema WHERE name = 'users'") == []


def test_no_copy_is_kept_when_none_is_wanted_or_none_fits(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.migrate(1)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    report = place.migrate(2)
    assert report.backup == ""
    assert "10 are free" in report.notes[0]
    place.sql("DROP TABLE users")
    assert place.migrate(2, backup=False).notes == ()


def test_another_writer_is_waited_for_within_a_limit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.migrate(1)
    lock = WriterLock(place.path)
    lock.acquire()
    try:
        monkeypatch.setattr("tenfold.control.migrate.LOCK_WAIT_S", 0.05)
        with pytest.raises(Unavailable, match="Another process has held"):
            place.migrate(2)
        monkeypatch.setattr("tenfold.control.migrate.LOCK_WAIT_S", 30.0)
        threading.Timer(0.1, lock.release).start()
        assert place.migrate(2).created == ("table users",)
    finally:
        lock.close()


def test_a_damaged_file_is_named(place: Place) -> None:
    place.path.parent.mkdir()
    place.path.write_bytes(b"this is no database" * 500)
    with pytest.raises(StorageDamaged, match=r"small\.db is damaged"):
        place.migrate(1)
    assert place.path.read_bytes().startswith(b"this is no database")


def test_the_tables_of_the_code_are_what_a_fresh_database_shows(place: Place) -> None:
    place.migrate(3)
    with store.open_store(place.path) as opened:
        assert opened.facts() == store.facts_of_code(service(3).metadata, 0)
