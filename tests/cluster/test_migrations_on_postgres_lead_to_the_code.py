"""`tenfold migrate` on PostgreSQL: the same revision files as on SQLite, and the same promises."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from migrating import Place, service
from migrating_on_server import ServerPlace, fresh, quick_server, run
from pg_server import PgServer, needs_postgres

from tenfold import (
    Bool,
    Bytes,
    Choice,
    Column,
    Decimal,
    Float,
    Int64,
    Json,
    Tenfold,
    Text,
    UtcDateTime,
    Uuid,
    home,
)  # fmt: skip
from tenfold.blocks.database import Database, DatabaseConfig
from tenfold.blocks.database.backend import ServerConfig
from tenfold.blocks.database.schema import OWN_MIGRATIONS
from tenfold.control.migrate import describe, load_service, write_next
from tenfold.control.migrations.planning import MigrationRefused
from tenfold.control.migrations.revisions import MigrationFailed, MigrationNeeded
from tenfold.control.migrations.server import migrate_on_server
from tenfold.core.errors import TenfoldError, UsageError
from tenfold.topology.map import map_of
from tenfold.topology.spec import parse_spec

pytestmark = needs_postgres

OWN = tuple(step.version for step in OWN_MIGRATIONS)
SHORTENER = Path(__file__).parents[2] / "services" / "shortener"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PgServer]:
    with quick_server(tmp_path_factory.mktemp("pg") / "small") as made:
        yield made


@pytest.fixture
def place(server: PgServer, tmp_path: Path) -> ServerPlace:
    return fresh(tmp_path, server)


LINK = "INSERT INTO links (code, url, tf_bucket) VALUES ('c', 'https://example.com/', 7)"


def test_an_empty_database_gets_the_tables_and_a_second_run_finds_nothing_to_do(place: ServerPlace) -> None:
    first = place.migrate(2)
    assert (first.own, first.created, first.backup) == (OWN, ("table links", "table users"), "")
    assert place.server.owner.password not in repr(first)
    assert describe(place.migrate(2)) == ["The database is up to date."]


def test_the_web_role_can_work_on_every_table_and_change_none(place: ServerPlace) -> None:
    place.sql("ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM small_web")
    place.migrate(1)
    place.as_(place.web, LINK)
    assert place.as_(place.web, "SELECT code FROM links") == [("c",)]
    place.write(2, "users")
    place.migrate(2)
    place.as_(place.web, "INSERT INTO users VALUES (1, 'a@example.com')")
    for forbidden in ("DROP TABLE links", "TRUNCATE links", "CREATE TABLE mine (id int)"):
        with pytest.raises(Exception, match=r"permission denied|must be owner"):
            place.as_(place.web, forbidden)


def test_a_difference_is_told_in_the_same_words_as_on_sqlite_and_nothing_changes(place: ServerPlace) -> None:
    place.migrate(2)
    before = place.dump()
    with pytest.raises(MigrationNeeded, match=r"column links\.title is missing") as told:
        place.migrate(3)
    assert "tenfold migrate --new" in told.value.hint
    assert place.dump() == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("ALTER TABLE users ADD COLUMN age bigint NOT NULL", r"column users\.age is not in the code"),
        ("ALTER TABLE users ALTER COLUMN email DROP NOT NULL", r'users\.email is TEXT COLLATE "C", not .* NOT NULL'),
        ('ALTER TABLE users ALTER COLUMN email TYPE text COLLATE "default"', r"users\.email is TEXT NOT NULL, not"),
        ("ALTER TABLE users ALTER COLUMN id TYPE integer", r"users\.id is INTEGER NOT NULL, not BIGINT NOT NULL"),
        ("ALTER TABLE users DROP CONSTRAINT users_pkey", "has the primary key"),
        ("ALTER TABLE users ADD CONSTRAINT one UNIQUE (email)", r"users has UNIQUE\(email\), which is not in the code"),
        ("ALTER TABLE users DROP CONSTRAINT ck_users_email", "users lacks CHECK ck_users_email"),
        ("CREATE UNIQUE INDEX stray ON users (email)", "index stray on users is not in the code"),
    ],
)
def test_every_other_difference_is_told(place: ServerPlace, change: str, sentence: str) -> None:
    place.migrate(2)
    place.sql(change)
    with pytest.raises(MigrationNeeded, match=sentence):
        place.migrate(2)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ("CREATE TABLE stray (id bigint PRIMARY KEY)", "table stray is not in the code; it stays."),
        ("ALTER TABLE users ADD COLUMN age bigint", "column users.age is not in the code; it stays."),
        ("CREATE INDEX stray ON users (id)", "index stray on users is not in the code; it stays."),
    ],
)
def test_what_the_code_can_live_with_stays_and_is_told(place: ServerPlace, change: str, note: str) -> None:
    place.migrate(2)
    place.sql(change)
    assert describe(place.migrate(2)) == ["The database is up to date.", note]


def test_a_dry_run_says_it_and_changes_nothing(place: ServerPlace) -> None:
    before = place.dump()
    report = place.migrate(2, dry_run=True)
    assert report.created == ("table links", "table users")
    assert describe(report)[0] == "tenfold's own tables: version 1 would be applied"
    assert place.dump() == before
    place.migrate(2)
    place.write(2, "first")
    place.migrate(2)
    place.revision(2, "op.execute('DROP TABLE users')", more="kind = 'contract'")
    before = place.dump()
    assert place.migrate(1, dry_run=True).applied == ("0002 (by hand)",)
    assert place.dump() == before


def test_the_first_revisions_are_written_from_what_the_server_has(place: ServerPlace) -> None:
    place.migrate(2)
    place.sql("INSERT INTO links VALUES ('c', 'https://example.com/', 'a', 7)")
    place.sql("ALTER TABLE users ADD COLUMN age bigint NOT NULL DEFAULT 1")
    place.sql("ALTER TABLE users ADD COLUMN note text COLLATE \"C\" DEFAULT 'x'")
    files = ["0001_tables_as_they_were.py", "0002_titles.py", "0003_titles_what_goes.py"]
    assert place.write(3, "titles") == files
    first = (place.root / "migrations" / "versions" / "0001_tables_as_they_were.py").read_text()
    assert "::" not in first
    assert "ARRAY" not in first
    report = place.migrate(3)
    assert report.recorded == ("0001 (tables as they were)",)
    assert report.applied == ("0002 (titles)", "0003 (titles, what goes)")
    assert place.sql("SELECT code, kind, title FROM links") == [("c", "a", None)]
    assert not place.migrate(3).changes
    on_sqlite = Place(place.root)
    on_sqlite.migrate(3)
    assert on_sqlite.applied()[-1] == ("0003", "contract")  # it drops the columns that the code does not know


def test_revisions_written_on_sqlite_build_the_tables_of_the_code(place: ServerPlace) -> None:
    old = Place(place.root)
    old.migrate(1)
    for version in (2, 3, 4):
        old.write(version, f"version {version}")
    report = place.migrate(4)
    assert len(report.applied) == 4
    assert not place.migrate(4).changes
    assert place.applied()[-1] == ("0004", "contract")
    fresh_facts = place.facts()
    again = fresh(place.root / "again", place.server)
    again.root.mkdir()
    again.migrate(4)
    assert again.facts() == fresh_facts


def test_rows_survive_changed_tables(place: ServerPlace) -> None:
    place.write(3, "first")
    place.migrate(3)
    place.sql("INSERT INTO links VALUES ('c', 'https://example.com/', 'a', 't', 7)")
    place.write(4, "no kinds, longer codes")
    report = place.migrate(4)
    assert place.sql("SELECT code, url, title, tf_bucket FROM links") == [("c", "https://example.com/", "t", 7)]
    assert report.backup.endswith("small.before-0002.dump")
    place.sql(f"INSERT INTO links VALUES ('{'c' * 32}', 'u', NULL, 7)")
    with pytest.raises(Exception, match="ck_links_tf_bucket"):
        place.sql("INSERT INTO links VALUES ('d', 'u', NULL, 4096)")


def test_a_dump_brings_back_what_was_before(place: ServerPlace) -> None:
    place.write(3, "first")
    place.migrate(3)
    place.sql(LINK)
    place.revision(2, "op.execute('DELETE FROM links')")
    dump = Path(place.migrate(3).backup)
    assert dump.stat().st_mode & 0o777 == 0o600
    assert place.sql("SELECT * FROM links") == []
    owner = place.owner
    words = ["pg_restore", "--clean", "--if-exists", "-h", owner.host, "-p", str(owner.port), "-U", owner.user]
    subprocess.run(
        [*words, "-d", owner.database, str(dump)], check=True, env={**os.environ, "PGPASSWORD": owner.password}
    )
    assert place.sql("SELECT code FROM links") == [("c",)]
    assert place.applied()[-1] == ("0001", "expand")


def test_a_large_database_and_a_missing_pg_dump_are_told_with_the_command(
    place: ServerPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.migrate(1)
    monkeypatch.setattr("tenfold.control.migrations.dumping.LARGEST", 1000)
    report = place.migrate(2)
    assert report.backup == ""
    (note,) = report.notes
    assert "pg_dump --format custom" in note
    assert place.owner.password not in note
    place.sql("DROP TABLE users")
    assert place.migrate(2, backup=False).notes == ()


def test_a_failing_revision_is_named_and_leaves_what_was_there(place: ServerPlace) -> None:
    place.write(2, "first")
    place.migrate(2)
    place.sql("INSERT INTO users VALUES (1, 'a@example.com')")
    before = place.dump()
    bad = place.revision(2, "op.execute('CREATE TABLE half (id int)'); op.execute('UPDATE users SET id = NULL')")
    with pytest.raises(
        MigrationFailed, match=r"Revision 0002 \(by hand\) failed and was rolled back: .*not-null"
    ) as told:
        place.migrate(2)
    assert "a@example.com" not in told.value.message
    assert place.dump() == before
    assert place.applied()[-1] == ("0001", "expand")
    bad.unlink()
    place.revision(2, "op.execute(\"UPDATE users SET email = 'b@example.com'\")")
    assert place.migrate(2).applied == ("0002 (by hand)",)
    assert place.sql("SELECT email FROM users") == [("b@example.com",)]


def test_revisions_before_the_failing_one_stay(place: ServerPlace) -> None:
    place.write(2, "first")
    place.migrate(2)
    place.sql("INSERT INTO users VALUES (1, 'a@example.com')")
    place.revision(2, "op.execute(\"UPDATE users SET email = 'b@example.com'\")")
    place.revision(3, "op.execute('UPDATE users SET id = id + 1'); op.execute('UPDATE users SET email = NULL')")
    with pytest.raises(MigrationFailed, match=r"Revision 0003 .* 1 before it stay applied"):
        place.migrate(2)
    assert place.sql("SELECT * FROM users") == [(1, "b@example.com")]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("op.execute('COMMIT')", "one transaction"),
        ("op.execute('/* done */ rollback')", "one transaction"),
        ("with op.get_context().autocommit_block(): op.execute('SELECT 1')", "cannot work outside"),
        ("op.execute('ALTER TABLE users ADD COLUMN surplus bigint NOT NULL')", "surplus is not in the code"),
        ("op.execute('nonsense')", "syntax error"),
    ],
)
def test_a_revision_that_breaks_a_rule_is_refused_before_the_tables_are_touched(
    place: ServerPlace, body: str, reason: str
) -> None:
    place.write(2, "first")
    place.migrate(2)
    before = place.dump()
    place.revision(2, body)
    with pytest.raises(TenfoldError, match=reason):
        place.migrate(2)
    assert place.dump() == before


def test_trying_revisions_never_touches_the_rows_of_the_service(place: ServerPlace) -> None:
    place.write(2, "first")
    place.migrate(2)
    place.sql("INSERT INTO users VALUES (1, 'a@example.com')")
    before = place.dump()
    place.revision(2, "op.execute('DELETE FROM users')")
    place.revision(3, "op.execute('DROP TABLE users')")
    with pytest.raises(MigrationNeeded, match="table users is missing"):
        place.migrate(2)
    assert place.dump() == before


def test_trying_revisions_finds_no_table_but_those_that_they_build(place: ServerPlace) -> None:
    place.write(2, "first")
    place.migrate(2)
    place.sql("CREATE TABLE by_hand (id bigint PRIMARY KEY)")
    place.revision(2, "op.execute('DELETE FROM by_hand')")
    with pytest.raises(MigrationFailed, match='relation "by_hand" does not exist'):
        place.migrate(2)


def test_no_column_counts_by_itself(place: ServerPlace) -> None:
    place.revision(
        1,
        "op.create_table('links', sa.Column('code', tenfold.Text(16)), sa.Column('url', tenfold.Text(100),"
        " nullable=False), sa.Column('kind', tenfold.Choice('a', 'b')),"
        " sa.Column('tf_bucket', sa.SmallInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),"
        " sa.CheckConstraint('length(code) <= 16', name='ck_links_code'),"
        " sa.CheckConstraint('length(url) <= 100', name='ck_links_url'),"
        " sa.CheckConstraint(\"kind IN ('a', 'b')\", name='ck_links_kind'),"
        " sa.CheckConstraint('tf_bucket BETWEEN 0 AND 4095', name='ck_links_tf_bucket'),"
        " sa.PrimaryKeyConstraint('code'))\n"
        "    op.create_table('users', sa.Column('id', tenfold.Int64(), nullable=False), sa.Column('email',"
        " tenfold.Text(80), nullable=False), sa.CheckConstraint('length(email) <= 80', name='ck_users_email'),"
        " sa.PrimaryKeyConstraint('id'))\n    op.create_index('ix_users_email', 'users', ['email'])",
        more="import tenfold",
    )
    assert place.migrate(2).applied == ("0001 (by hand)",)
    assert place.sql("SELECT count(*) FROM pg_class WHERE relkind = 'S' AND relnamespace = 'public'::regnamespace") == [
        (0,)
    ]


def with_defaults(version: int) -> Tenfold:
    """A table that gets columns of every kind with a default."""
    tf = Tenfold("small")
    columns: list[Any] = [Column("id", Int64, primary_key=True)]
    if version >= 2:
        columns += [
            Column("yes", Bool, nullable=False, server_default=sa.true()),
            Column("one", Bool, nullable=False, server_default="1"),
            Column("five", Int64, nullable=False, server_default="5"),
            Column("half", Float, nullable=False, server_default=sa.text("0.5")),
            Column("word", Choice("a", "b"), nullable=False, server_default="a"),
            Column("list", Json, nullable=False, server_default="[]"),
            Column("note", Text(5)),
            Column("at", UtcDateTime),
            Column("price", Decimal(10, 2)),
            Column("uuid", Uuid),
            Column("raw", Bytes(9)),
        ]
    tf.table("things", *columns, home=home())
    return tf


def test_columns_with_defaults_are_the_same_on_both(place: ServerPlace) -> None:
    path = place.root / "small.db"
    for version in (1, 2):
        write_next(with_defaults(version), place.root, path, f"version {version}")
    old = place.root / "migrations" / "versions" / "0002_version_2.py"
    assert "sa.true()" in old.read_text()
    migrate_on_server(with_defaults(2), place.map, place.owner)
    place.sql("INSERT INTO things (id) VALUES (1)")
    assert place.sql("SELECT yes, one, five, half, word, list, note FROM things") == [
        (True, True, 5, 0.5, "a", "[]", None)
    ]
    old.write_text(old.read_text().replace("sa.true()", "sa.text('1')"))  # as it was written before step 2 existed
    other = fresh(place.root, place.server)
    assert len(migrate_on_server(with_defaults(2), other.map, other.owner).applied) == 2


def test_what_a_move_brought_along_is_believed_where_alembics_own_table_is_missing(place: ServerPlace) -> None:
    place.write(2, "first")
    place.migrate(2)
    place.sql("DROP TABLE alembic_version")
    assert not place.migrate(2).changes
    place.revision(2, "op.execute('SELECT 1')")
    assert place.migrate(2).applied == ("0002 (by hand)",)
    assert place.sql("SELECT version_num FROM alembic_version") == [("0002",)]


def test_older_code_lives_with_a_database_that_only_expanded(place: ServerPlace) -> None:
    place.write(2, "first")
    newer = place.revision(2, "op.execute('SELECT 1')")
    place.migrate(2)
    newer.unlink()
    assert not place.migrate(2).changes
    place.sql("UPDATE tf.tf_schema SET kind = 'contract' WHERE revision = '0002'")
    with pytest.raises(UsageError, match="Revision 0002 of newer code has taken away"):
        place.migrate(2)


@pytest.mark.parametrize(
    ("changes", "way_on"),
    [({"way_back": True}, "finalize"), ({"standby": "sqlite"}, "abort"), ({"gate": "held"}, "abort")],
)
def test_while_a_move_needs_the_tables_as_they_are_they_do_not_change(
    place: ServerPlace, changes: dict[str, object], way_on: str
) -> None:
    place.migrate(1)
    before = place.dump()
    with pytest.raises(MigrationRefused, match=r"would change \(table users: would be created\)") as told:
        place.migrate(2, changes=changes)
    assert way_on in told.value.hint
    assert place.dump() == before
    assert not place.migrate(1, changes=changes).changes


def test_the_shorteners_own_revisions_build_its_tables(place: ServerPlace) -> None:
    shutil.copytree(SHORTENER / "migrations", place.root / "migrations")
    spec = (SHORTENER / "tenfold.toml").read_text()
    own = map_of(parse_spec(spec), root=str(SHORTENER), state=str(place.root / ".tenfold"), previous=None)
    shortener = load_service(own)
    report = migrate_on_server(shortener, place.map, place.owner)
    assert report.applied[:3] == ("0001 (links)", "0002 (probe)", "0003 (accounts)")
    assert not migrate_on_server(shortener, place.map, place.owner).changes
    assert set(place.facts()) == set(shortener.metadata.tables)


def test_the_shapes_are_those_of_the_code_whatever_way_led_there(place: ServerPlace) -> None:
    place.migrate(2)
    created = place.facts()
    other = fresh(place.root / "other", place.server)
    other.root.mkdir()
    other.write(2, "first")
    other.migrate(2)
    assert other.facts() == created
    assert set(created) == set(service(2).metadata.tables)


def ready(place: ServerPlace, version: int) -> tuple[bool, str]:
    """What a web process of that version of the code says of itself on this database."""

    async def work() -> tuple[bool, str]:
        login, database = place.web, Database(service(version).metadata)
        there = ServerConfig(login.host, login.port, login.database, login.user, login.password, 2)
        folder = place.root / "migrations"
        config = DatabaseConfig(
            place.path, "small", backend="postgres", server=there, migrations=folder if folder.exists() else None
        )
        await database.start(config, list[BaseException]().append)
        try:
            return database.ready()
        finally:
            await database.stop()

    return run(work())


def test_a_web_process_is_ready_after_it_and_only_then(place: ServerPlace) -> None:
    assert ready(place, 1) == (False, "the database has no tables yet: run `tenfold migrate`")
    place.migrate(1)
    assert ready(place, 1) == (True, "")
    place.write(2, "first")  # and the tables as they were
    assert ready(place, 2)[1] == "revision 0002 has not been applied: run `tenfold migrate`"
    place.migrate(2)
    assert ready(place, 2) == ready(place, 1) == (True, "")
    place.write(4, "no kinds, longer codes")
    with pytest.raises(MigrationNeeded):
        place.migrate(3)
    assert "has not been applied" in ready(place, 4)[1]
    place.migrate(4)
    assert ready(place, 4) == (True, "")
    next((place.root / "migrations" / "versions").glob("0004*")).unlink()
    assert ready(place, 3)[1] == "revision 0004 removed what this code needs: deploy the newer code"


def test_an_index_that_was_made_beforehand_is_taken_over(place: ServerPlace) -> None:
    place.write(2, "first")
    place.migrate(2)
    place.sql("CREATE INDEX CONCURRENTLY ix_users_id_email ON users (id, email)")
    place.revision(2, "op.create_index('ix_users_id_email', 'users', ['id', 'email'], if_not_exists=True)")
    assert place.migrate(2).applied == ("0002 (by hand)",)
