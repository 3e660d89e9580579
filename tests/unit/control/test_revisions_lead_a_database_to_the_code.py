"""A service with revisions: each is one transaction with its record, and what was written is what the code declares."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from migrating import Place

from tenfold.control.migrations.revisions import MigrationFailed, MigrationNeeded
from tenfold.core.errors import StorageFull, UsageError

TESTS = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_first_revision_of_an_existing_database_builds_it_as_it_is_and_is_only_recorded(place: Place) -> None:
    place.migrate(2)
    place.sql("INSERT INTO links VALUES ('c', 'https://example.com/', 'a', 7)")
    assert place.write(3, "titles") == ["0001_tables_as_they_were.py", "0002_titles.py"]
    report = place.migrate(3)
    assert report.recorded == ("0001 (tables as they were)",)
    assert report.applied == ("0002 (titles)",)
    assert place.sql("SELECT code, title FROM links") == [("c", None)]
    assert [revision for revision, _ in place.applied()][-2:] == ["0001", "0002"]
    assert not place.migrate(3).changes


def test_rows_columns_checks_and_strictness_survive_a_rebuilt_table(place: Place) -> None:
    place.write(3, "first")
    place.migrate(3)
    place.sql("INSERT INTO links (code, url, kind, title, tf_bucket) VALUES ('c', 'https://example.com/', 'a', 't', 7)")
    (name,) = place.write(4, "no kinds, longer codes")
    assert 'kind = "contract"' in (place.root / "migrations" / "versions" / name).read_text()
    place.migrate(4)
    assert place.sql("SELECT code, url, title, tf_bucket FROM links") == [("c", "https://example.com/", "t", 7)]
    assert place.applied()[-1] == ("0002", "contract")
    ((sql,),) = place.sql("SELECT sql FROM sqlite_schema WHERE name = 'links'")
    assert sql.rstrip().endswith("STRICT")
    assert "<= 32" in sql
    assert "<= 16" not in sql


def test_a_fresh_database_and_one_that_went_through_all_versions_are_the_same(tmp_path: Path) -> None:
    old, fresh = Place(tmp_path / "old"), Place(tmp_path / "fresh")
    old.root.mkdir()
    old.migrate(1)
    old.migrate(2)
    for version in (3, 4):
        old.write(version, f"version {version}")
        old.migrate(version)
    fresh.root.mkdir()
    (old.root / "migrations").rename(fresh.root / "migrations")
    fresh.migrate(4)
    assert fresh.facts() == old.facts()
    assert fresh.facts()["links"].strict


def test_code_that_the_revisions_do_not_build_is_refused_before_the_database_is_touched(place: Place) -> None:
    place.write(2, "first")
    with pytest.raises(MigrationNeeded, match=r"do not build the tables of the code: .*title"):
        place.migrate(3)
    assert not place.path.exists()


def test_a_column_goes_out_of_use_in_one_deploy_and_is_dropped_in_the_next(place: Place) -> None:
    place.write(3, "first")
    place.migrate(3)
    report = place.migrate(2)
    assert not report.changes
    assert report.notes[0] == "column links.title is not in the code; it stays."
    place.write(2, "no titles")
    assert place.migrate(2).applied == ("0002 (no titles)",)
    assert place.applied()[-1] == ("0002", "contract")
    assert place.migrate(2).notes == ()


def test_a_failing_revision_is_named_with_its_reason_and_leaves_what_was_there(place: Place) -> None:
    place.write(2, "first")
    place.migrate(2)
    place.sql("INSERT INTO users VALUES (1, 'a@example.com')")
    before = place.dump()
    bad = place.revision(2, "op.execute('UPDATE users SET email = NULL')")
    with pytest.raises(MigrationFailed, match=r"Revision 0002 \(by hand\) failed and was rolled back: .*NOT NULL"):
        place.migrate(2)
    assert place.dump() == before
    assert place.applied()[-1] == ("0001", "expand")
    bad.unlink()
    place.revision(2, "op.execute(\"UPDATE users SET email = 'b@example.com'\")")
    assert place.migrate(2).applied == ("0002 (by hand)",)
    assert place.sql("SELECT email FROM users") == [("b@example.com",)]


def test_revisions_before_the_failing_one_stay(place: Place) -> None:
    place.write(2, "first")
    place.migrate(2)
    place.sql("INSERT INTO users VALUES (1, 'a@example.com')")
    place.revision(2, "op.execute(\"UPDATE users SET email = 'b@example.com'\")")
    place.revision(3, "op.execute('UPDATE users SET id = id + 1'); op.execute('UPDATE users SET email = NULL')")
    with pytest.raises(MigrationFailed, match=r"Revision 0003 .* 1 before it stay applied"):
        place.migrate(2)
    assert place.sql("SELECT * FROM users") == [(1, "b@example.com")]
    assert place.applied()[-1] == ("0002", "expand")


def test_a_rebuild_that_loses_strict_is_refused(place: Place) -> None:
    place.write(2, "first")
    place.revision(2, "op.execute('DROP TABLE users'); op.execute('CREATE TABLE users (id INTEGER)')")
    with pytest.raises(MigrationFailed, match="rebuilds users without STRICT"):
        place.migrate(2)


@pytest.mark.parametrize(
    "body",
    [
        "op.execute('COMMIT')",
        "op.execute('-- done\\n  rollback')",
        "op.execute('/* now */ Begin Immediate')",
        "with op.get_context().autocommit_block(): op.execute('SELECT 1')",
    ],
)
def test_a_revision_that_leaves_its_transaction_is_refused(place: Place, body: str) -> None:
    place.write(2, "first")
    place.migrate(2)
    before = place.dump()
    place.revision(2, body)
    with pytest.raises(MigrationFailed, match="A revision is one transaction"):
        place.migrate(2)
    assert place.dump() == before


def test_a_revision_may_use_savepoints(place: Place) -> None:
    place.write(2, "first")
    undone = "op.execute('SAVEPOINT a'); op.execute('DROP TABLE users'); op.execute('ROLLBACK TO a')"
    place.revision(2, f"{undone}; op.execute('RELEASE a')")
    assert len(place.migrate(2).applied) == 2


def test_a_full_disk_is_told_as_such(place: Place) -> None:
    place.write(2, "first")
    place.migrate(2)
    fill = "op.get_bind().dialect.name == 'sqlite' and op.execute('PRAGMA max_page_count = 40')"
    insert = "op.execute(\"INSERT INTO links SELECT 'x' || value, hex(zeroblob(45)), NULL, 1 FROM r\")"
    rows = "WITH RECURSIVE r(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM r WHERE value < 5000) "
    place.revision(2, f"{fill}\n    {insert.replace('INSERT', rows + 'INSERT')}")
    before = place.dump()
    with pytest.raises((StorageFull, MigrationFailed)) as told:
        place.migrate(2)
    assert isinstance(told.value, StorageFull), told.value
    assert "Revision 0002 (by hand) was rolled back" in told.value.message
    assert place.dump() == before


def test_a_file_that_does_not_load_and_a_fork_are_named(place: Place) -> None:
    place.write(2, "first")
    bad = place.revision(2, "pass", more="import nothing_of_that_name")
    with pytest.raises(UsageError, match="nothing_of_that_name"):
        place.migrate(2)
    bad.unlink()
    place.revision(2, "pass")
    other = place.revision(3, "pass")
    other.write_text(
        other.read_text().replace('"0002"', '"0001"').replace("down_revision = '0002'", 'down_revision = "0001"')
    )
    with pytest.raises(UsageError, match=r"end in 2 places: 0002, 0003"):
        place.migrate(2)


def test_a_kind_that_is_none_is_refused(place: Place) -> None:
    place.write(2, "first")
    place.revision(2, "pass", more='kind = "shrink"')
    with pytest.raises(UsageError, match=r"found kind = 'shrink'; allowed: 'expand' or 'contract'"):
        place.migrate(2)


def test_older_code_lives_with_a_database_that_only_expanded_and_not_with_one_that_contracted(place: Place) -> None:
    place.write(2, "first")
    newer = place.revision(2, "op.execute('SELECT 1')")
    place.migrate(2)
    newer.unlink()
    assert not place.migrate(2).changes
    newest = place.revision(2, "op.execute('SELECT 1')", more='kind = "contract"')
    newest.write_text(newest.read_text().replace('revision = "0002"', 'revision = "0002b"'))
    place.sql("UPDATE alembic_version SET version_num = '0001'")
    place.migrate(2)
    newest.unlink()
    with pytest.raises(UsageError, match="Revision 0002b of newer code has taken away what this code needs"):
        place.migrate(2)


def test_a_database_that_no_revision_builds_is_refused(place: Place) -> None:
    place.migrate(1)
    place.sql("ALTER TABLE links ADD COLUMN stray INTEGER")
    other = Place(place.root / "elsewhere")
    other.root.mkdir()
    other.write(1, "first")
    (other.root / "migrations").rename(place.root / "migrations")
    with pytest.raises(MigrationNeeded, match=r"no record of revisions.*column links\.stray is not in the code"):
        place.migrate(1)


def test_a_revision_needs_a_message_and_a_difference(place: Place) -> None:
    with pytest.raises(UsageError, match="needs a message"):
        place.write(1, " ")
    place.write(1, "first")
    with pytest.raises(UsageError, match="nothing to write"):
        place.write(1, "second")


def test_two_copies_are_kept(place: Place) -> None:
    place.write(2, "first")
    place.migrate(2)
    for number in (2, 3, 4):
        place.revision(number, "op.execute('SELECT 1')")
        place.migrate(2)
    assert sorted(path.name for path in place.path.parent.glob("*.before-*")) == [
        "small.before-0003.db",
        "small.before-0004.db",
    ]


CHILD = """
import sys
sys.path[:0] = [{support!r}]
from pathlib import Path
from migrating import Place
Place(Path({root!r})).migrate(2)
"""


def test_a_run_that_is_killed_inside_a_revision_is_run_again_as_if_nothing_had_been(place: Place) -> None:
    place.write(2, "first")
    place.migrate(2)
    place.sql("INSERT INTO users VALUES (1, 'a@example.com')")
    before = place.dump()
    (place.root / "kill").touch()
    place.revision(
        2,
        "op.execute(\"UPDATE users SET email = 'b@example.com'\")\n"
        f"    op.get_bind().engine.url.database is None and os.path.exists({str(place.root / 'kill')!r}) and "
        "len(op.get_bind().exec_driver_sql('SELECT * FROM users').fetchall()) and os.kill(os.getpid(), 9)",
        more="import os",
    )
    code = CHILD.format(support=str(TESTS / "support"), root=str(place.root))
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL, killed
    assert place.dump() == before
    os.unlink(place.root / "kill")
    assert place.migrate(2).applied == ("0002 (by hand)",)
    assert place.sql("SELECT email FROM users") == [("b@example.com",)]
