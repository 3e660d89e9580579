"""A supervised PostgreSQL server from its first start to its removal, and who may do what inside."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from keeping import until
from pg_server import PgServer, needs_postgres, pg_server, run

from tenfold.control.engine import NODE, OWNER, SUPERUSER, WEB, secrets_of
from tenfold.core.errors import TenfoldError
from tenfold.engines.postgres.address import ServerUrl
from tenfold.engines.postgres.probe import observe
from tenfold.engines.postgres.server import check_login

pytestmark = needs_postgres


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PgServer]:
    with pg_server(tmp_path_factory.mktemp("pg") / "small") as made:
        yield made


def test_both_roles_get_in_over_tcp_and_the_map_holds_no_password(db: PgServer) -> None:
    assert db.sql(db.owner, "SELECT current_user || '@' || current_database()") == "small_owner@small"
    assert db.sql(db.web, "SELECT current_user") == "small_web"
    for name in (SUPERUSER, OWNER, WEB):
        assert (secrets_of(db.place).find(name) or "x") not in repr(db.server)


def test_the_superuser_gets_in_over_the_socket_only(db: PgServer) -> None:
    assert db.sql(db.admin, "SELECT current_user") == "postgres"
    with pytest.raises(TenfoldError, match="TF-PG-PASSWORD"):
        run(check_login(ServerUrl("127.0.0.1", db.server.port, "postgres", "postgres", db.admin.password, "disable")))


def test_a_wrong_password_and_another_database_are_refused(db: PgServer) -> None:
    login = db.owner
    wrong = ServerUrl(login.host, login.port, login.database, login.user, "wrong", "disable")
    with pytest.raises(TenfoldError, match=r"TF-PG-PASSWORD: small_owner@.* the password is wrong") as caught:
        run(check_login(wrong))
    assert "wrong@" not in str(caught.value)
    with pytest.raises(TenfoldError, match="TF-PG-PASSWORD"):
        run(check_login(ServerUrl(login.host, login.port, "postgres", login.user, login.password, "disable")))


def test_the_web_role_reads_and_writes_rows_and_can_do_nothing_else(db: PgServer) -> None:
    db.sql(
        db.owner,
        "CREATE TABLE notes (id bigint PRIMARY KEY, text text)",
        "CREATE TABLE tf.tf_kept (id bigint PRIMARY KEY)",
        "SELECT 1",
    )
    db.sql(db.web, "INSERT INTO notes VALUES (1, 'a')", "UPDATE notes SET text = 'b'", "SELECT text FROM notes")
    db.sql(db.web, "INSERT INTO tf_kept VALUES (1)", "DELETE FROM tf_kept", "SELECT 1")
    for forbidden in (
        "CREATE TABLE mine (id int)",
        "CREATE TABLE tf.mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "TRUNCATE notes",
        "DROP TABLE notes",
        "ALTER TABLE notes ADD COLUMN x int",
        "CREATE ROLE mine",
        "COPY notes TO PROGRAM 'cat'",
        "SET ROLE small_owner",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            db.sql(db.web, forbidden, "SELECT 1")


def test_data_has_checksums_and_text_sorts_by_its_bytes(db: PgServer) -> None:
    assert db.sql(db.owner, "SHOW data_checksums") == "on"
    assert db.sql(db.owner, "SHOW server_encoding") == "UTF8"
    assert db.sql(db.owner, "SELECT string_agg(x, '' ORDER BY x) FROM unnest(ARRAY['b','a','B','é','Z']) x") == "BZabé"
    stored = db.sql(db.admin, "SELECT rolpassword FROM pg_authid WHERE rolname = 'small_web'")
    assert stored.startswith("SCRAM-SHA-256$4096:")


def test_nobody_else_can_read_its_files(db: PgServer) -> None:
    for folder in (db.home.root, db.home.data, db.home.socket, db.place.state / "secrets"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    for file in (db.place.state / "secrets").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not db.home.password_file.exists()
    if os.geteuid() == 0:
        assert db.home.data.stat().st_uid != 0


def test_its_log_holds_no_statement_and_no_value(db: PgServer) -> None:
    with pytest.raises(asyncpg.PostgresError):
        db.sql(db.owner, "SELECT 'a-very-private-value' FROM no_such_table", "SELECT 1")
    db.sql(db.owner, "CREATE TABLE once (text text PRIMARY KEY)", "INSERT INTO once VALUES ('private-too')", "SELECT 1")
    with pytest.raises(asyncpg.UniqueViolationError):
        db.sql(db.owner, "INSERT INTO once VALUES ('private-too')", "SELECT 1")
    log = until(lambda: "duplicate key" in db.log() and db.log(), "the log names the error")
    assert "no_such_table" in log
    assert "private" not in log
    for name in (SUPERUSER, OWNER, WEB):
        assert (secrets_of(db.place).find(name) or "x") not in log + db.house.log()
    assert "SCRAM-SHA-256$" not in log


def test_its_environment_and_command_line_hold_no_secret(db: PgServer) -> None:
    facts = Path(f"/proc/{db.pid()}")
    shown = (facts / "cmdline").read_bytes() + (facts / "environ").read_bytes()
    for name in (SUPERUSER, OWNER, WEB):
        assert (secrets_of(db.place).find(name) or "x").encode() not in shown


def test_making_it_again_changes_nothing(db: PgServer) -> None:
    db.sql(db.owner, "CREATE TABLE again (id int)", "INSERT INTO again VALUES (7)", "SELECT 1")
    pid = db.pid()
    assert db.start() == db.server
    assert db.pid() == pid
    assert db.sql(db.owner, "SELECT id FROM again") == 7
    assert db.sql(db.web, "SELECT id FROM again") == 7


def test_how_it_stands_can_be_seen(db: PgServer) -> None:
    seen = run(observe(db.owner))
    assert seen.major >= 15
    assert seen.connections >= 1
    assert seen.size > 1_000_000
    assert not seen.in_recovery
    assert not seen.read_only
    assert 0 <= seen.uptime_s < 600
    assert seen.encoding == "UTF8"
    assert seen.collation == "C"
    assert seen.usable_connections == seen.max_connections - 5 == 47
    assert not seen.may_create_roles
    assert seen.may_create_schemas
    assert seen.may_create_tables


def test_it_is_stopped_cleanly_and_after_everything_else(tmp_path: Path) -> None:
    with pg_server(tmp_path / "small") as db:
        db.sql(db.owner, "CREATE TABLE kept (id int)", "INSERT INTO kept VALUES (1)", "SELECT 1")
        assert db.house.client.shutdown(90.0) == {NODE: "drained"}
        assert "database system is shut down" in db.log()
        db.start()
        assert db.sql(db.owner, "SELECT id FROM kept") == 1
        assert "was not properly shut down" not in db.log()


def test_it_is_removed_with_its_data_and_its_passwords(tmp_path: Path) -> None:
    with pg_server(tmp_path / "small") as db:
        run(db.engine.remove())
        run(db.engine.remove())
        assert not db.home.root.exists()
        left = [path.name for path in (db.place.state / "secrets").iterdir() if path.name != ".lock"]
        assert left == [], "only the lock that two who make one take is left"
        assert db.house.client.node(NODE) is None
        db.start()
        assert db.sql(db.owner, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
