"""Preflight of a server that the user runs: each thing that is wrong with one, on a real one; and setting it up."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import msgspec
import pytest
from keeping import until
from pg_server import PgServer, needs_postgres, pg_server, run

from tenfold.control import servers
from tenfold.control.engine import OWNER, WEB, adopt_server, ensure_server, owner_login, secrets_of, web_login
from tenfold.control.place import Place
from tenfold.control.servers import ServerFinding, look_at_machine, look_at_server
from tenfold.core.errors import TenfoldError
from tenfold.engines.postgres import home as homes
from tenfold.engines.postgres.address import ServerUrl, parse_url
from tenfold.engines.postgres.roles import scram_verifier
from tenfold.engines.postgres.server import check_login
from tenfold.topology.map import map_of
from tenfold.topology.pools import steady

pytestmark = needs_postgres

PASSWORD = "se cret/"


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PgServer]:
    """A server that lets everybody in who has a password, as a user's own does."""
    with pg_server(tmp_path_factory.mktemp("pg") / "small", pool=8) as made:
        homes.write(
            made.home,
            made.home.data / "pg_hba.conf",
            "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n",
        )
        read = "SELECT pg_conf_load_time()"
        before = made.sql(made.admin, read)
        made.sql(made.admin, "SELECT pg_reload_conf()")
        until(lambda: made.sql(made.admin, read) > before, "the server has read who may log in")
        yield made


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A deployment of its own, on step 1."""
    made = Place(tmp_path)
    made.prepare()
    return made


def database(db: PgServer, name: str, options: str = "", role: str = "") -> ServerUrl:
    """An empty database and its owner, as an administrator makes them; how the owner logs in."""
    verifier = scram_verifier(PASSWORD, os.urandom(16))
    db.sql(
        db.admin,
        f"CREATE ROLE {name}_user LOGIN {role} PASSWORD '{verifier}'",
        f"CREATE DATABASE {name} OWNER {name}_user TEMPLATE template0 {options}",
        "SELECT 1",
    )
    return ServerUrl("127.0.0.1", db.server.port, name, f"{name}_user", PASSWORD, "disable")


def there(db: PgServer, login: ServerUrl) -> ServerUrl:
    """The superuser in that database."""
    return replace(db.admin, database=login.database)


def look(place: Place, login: ServerUrl, pool: int = 4) -> list[ServerFinding]:
    return run(look_at_server(place, login, pool))


def the_one(place: Place, login: ServerUrl, pool: int = 4) -> ServerFinding:
    blocking = [finding for finding in look(place, login, pool) if finding.blocking]
    assert len(blocking) == 1, blocking
    assert PASSWORD not in str(blocking[0])
    return blocking[0]


def test_an_empty_database_of_its_own_is_fine_but_for_the_one_role(db: PgServer, place: Place) -> None:
    found = look(place, database(db, "fine"))
    assert [(finding.code, finding.blocking) for finding in found] == [("TF-PG-ONE-ROLE", False)]
    assert look(place, database(db, "perfect", role="CREATEROLE")) == []


def test_a_wrong_password(db: PgServer, place: Place) -> None:
    finding = the_one(place, replace(database(db, "password"), password="wrong"))
    assert finding.code == "TF-PG-PASSWORD"
    assert "the password is wrong" in finding.sentence


def test_a_password_that_the_url_leaves_out_is_taken_from_the_secrets(db: PgServer, place: Place) -> None:
    login = replace(database(db, "kept", role="CREATEROLE"), password="")
    assert the_one(place, login).code == "TF-PG-PASSWORD"
    secrets_of(place).save(OWNER, PASSWORD)
    assert look(place, login) == []


def test_no_server_there(db: PgServer, place: Place) -> None:
    login = database(db, "nowhere")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        finding = the_one(place, replace(login, port=bound.getsockname()[1]))
    assert finding.code == "TF-PG-CONNECT"
    assert "Connect" in finding.sentence
    assert the_one(place, replace(login, host="nowhere.invalid")).code == "TF-PG-CONNECT"


def test_something_else_that_listens_there(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        login = ServerUrl("127.0.0.1", silent.getsockname()[1], "d", "u", "p", "disable")
        assert "did not answer in time" in the_one(place, login).sentence


def test_no_such_database_and_no_tls(db: PgServer, place: Place) -> None:
    login = database(db, "without")
    assert 'database "other" does not exist' in the_one(place, replace(login, database="other")).sentence
    finding = the_one(place, replace(login, tls="require"))
    assert finding.code == "TF-PG-CONNECT"
    assert "sslmode" in finding.hint


def test_a_database_with_tables_of_somebody_else(db: PgServer, place: Place) -> None:
    login = database(db, "used")
    db.sql(login, "CREATE TABLE theirs (id int)", "CREATE SCHEMA mine", "CREATE VIEW mine.seen AS SELECT 1", "SELECT 1")
    finding = the_one(place, login)
    assert finding.code == "TF-PG-NOT-EMPTY"
    assert "mine.seen, public.theirs" in finding.sentence
    left = run(look_at_server(place, login, 4, {"mine.seen", "public.theirs"}))
    assert [one for one in left if one.blocking] == []


def test_what_extensions_bring_is_nobodys_table(db: PgServer, place: Place) -> None:
    login = database(db, "extended")
    try:
        db.sql(there(db, login), "CREATE EXTENSION pg_stat_statements", "SELECT 1")
    except asyncpg.PostgresError:
        pytest.skip("not run: the extension pg_stat_statements is not installed")
    assert [finding.code for finding in look(place, login)] == ["TF-PG-ONE-ROLE"]
    server = run(adopt_server(place, login, 4))
    assert server.user == server.owner == login.user


def test_a_role_without_rights(db: PgServer, place: Place) -> None:
    login = database(db, "poor")
    db.sql(
        there(db, login),
        "ALTER DATABASE poor OWNER TO postgres",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "SELECT 1",
    )
    found = look(place, login)
    assert [finding.code for finding in found] == ["TF-PG-RIGHTS", "TF-PG-RIGHTS", "TF-PG-ONE-ROLE"]
    with pytest.raises(TenfoldError, match="TF-PG-RIGHTS: poor_user may not set up poor"):
        run(adopt_server(place, login, 4))
    for finding in found[:2]:  # the hints are the remedy
        db.sql(there(db, login), finding.hint.removeprefix("As its administrator: ").rstrip("."), "SELECT 1")
    assert [finding.code for finding in look(place, login)] == ["TF-PG-ONE-ROLE"]
    run(adopt_server(place, login, 4))


def test_another_encoding(db: PgServer, place: Place) -> None:
    finding = the_one(place, database(db, "latin", "ENCODING 'LATIN1' LOCALE 'C'"))
    assert finding.code == "TF-PG-ENCODING"
    assert "stores text as LATIN1" in finding.sentence


def test_too_few_connections_by_each_of_the_limits(db: PgServer, place: Place) -> None:
    login = database(db, "limited")
    allowed = run(servers.observe(login)).usable_connections
    fits = max(pool for pool in range(2, allowed) if steady(pool) + servers.FOREIGN_RESERVE <= allowed)
    assert the_one(place, login, pool=fits + 1).code == "TF-PG-CONNECTIONS"
    assert [one for one in look(place, login, fits) if one.blocking] == []
    db.sql(db.admin, "ALTER ROLE limited_user CONNECTION LIMIT 7", "SELECT 1")
    assert "allows 7 connections, and the service needs 16" in the_one(place, login).sentence
    db.sql(
        db.admin, "ALTER ROLE limited_user CONNECTION LIMIT -1", "ALTER DATABASE limited CONNECTION LIMIT 6", "SELECT 1"
    )
    assert "allows 6 connections" in the_one(place, login).sentence


def test_a_role_that_may_only_read_and_a_replica(db: PgServer, place: Place, tmp_path: Path) -> None:
    login = database(db, "reader")
    db.sql(db.admin, "ALTER ROLE reader_user SET default_transaction_read_only = on", "SELECT 1")
    assert the_one(place, login).code == "TF-PG-READ-ONLY"
    with pg_server(tmp_path / "replica") as replica:
        run(replica.engine.stop())
        homes.write(replica.home, replica.home.data / "standby.signal", "")
        run(replica.engine.ensure(replica.server))
        codes = [finding.code for finding in look(replica.place, replica.owner)]
    assert "TF-PG-READ-ONLY" in codes


def test_a_server_that_is_too_old_is_judged_by_nothing_else(db: PgServer, place: Place) -> None:
    login = database(db, "old")
    seen = replace(run(servers.observe(login)), number=140_011, version="14.11", encoding="LATIN1")
    (finding,) = servers.server_findings(login, seen, ["public.x"], 4)
    assert finding.code == "TF-PG-VERSION"
    assert "PostgreSQL 14.11 is too old" in finding.sentence


def test_a_machine_without_postgresql_or_without_room(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(look_at_machine(place, "small", 1 << 20)) == []
    (finding,) = run(look_at_machine(place, "small", 1 << 60))
    assert finding.code == "TF-PG-DISK"
    monkeypatch.setattr(servers, "installed", lambda _ask: [])
    (finding,) = run(look_at_machine(place, "small", 1))
    assert finding.code == "TF-PG-MISSING"
    assert "apt-get install postgresql" in finding.hint


def test_a_server_of_the_users_is_set_up_with_two_roles_where_it_may_be(db: PgServer, place: Place) -> None:
    login = database(db, "shop-1".replace("-", "_"), role="CREATEROLE")
    server = run(adopt_server(place, login, 6))
    assert run(adopt_server(place, replace(login, password=""), 6)) == server
    assert (server.user, server.owner, server.supervised, server.pool) == ("shop_1_web", "shop_1_user", False, 6)
    assert server.secret == f"secrets/{WEB}"
    assert PASSWORD not in repr(server)
    owner, web = owner_login(place, server), web_login(place, server)
    db.sql(owner, "CREATE TABLE notes (id int)", "CREATE TABLE tf.tf_own (id int)", "SELECT 1")
    assert db.sql(owner, "SHOW search_path") == db.sql(web, "SHOW search_path") == "public, tf"
    db.sql(web, "INSERT INTO notes VALUES (1)", "INSERT INTO tf_own VALUES (1)", "SELECT 1")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        db.sql(web, "TRUNCATE notes", "SELECT 1")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        db.sql(web, "CREATE TABLE mine (id int)", "SELECT 1")


def test_where_no_role_can_be_made_the_owner_does_both(db: PgServer, place: Place) -> None:
    login = database(db, "single")
    server = run(adopt_server(place, login, 6))
    assert server.user == server.owner == "single_user"
    assert server.secret == f"secrets/{OWNER}"
    assert web_login(place, server) == owner_login(place, server) == login
    assert not (place.state / "secrets" / WEB).exists()


def test_a_url_leads_to_the_same_server(db: PgServer, place: Place) -> None:
    login = database(db, "by_url")
    url = f"postgres://by_url_user:se%20cret%2F@127.0.0.1:{db.server.port}/by_url?sslmode=prefer"
    assert parse_url(url) == replace(login, tls="prefer")
    assert [finding.code for finding in look(place, parse_url(url))] == ["TF-PG-ONE-ROLE"]


def test_a_password_that_was_changed_in_the_url_is_taken_over_at_the_next_start(db: PgServer, place: Place) -> None:
    login = database(db, "rotated")
    server = run(adopt_server(place, login, 6))
    db.sql(db.admin, f"ALTER ROLE rotated_user PASSWORD '{scram_verifier('fresh', os.urandom(16))}'", "SELECT 1")
    url = f"postgresql://rotated_user:fresh@127.0.0.1:{db.server.port}/rotated?sslmode=disable"
    text = f'[service]\nname = "small"\napp = "small_app:app"\n[database]\nurl = "{url}"\n'
    place.spec_file.write_text(text)
    made = map_of(place.read_spec(), root=str(place.root), state=str(place.state), previous=None)
    current = msgspec.structs.replace(made, database=msgspec.structs.replace(made.database, server=server))
    run(ensure_server(place, db.crew, current))
    assert owner_login(place, server).password == "fresh"
    run(check_login(web_login(place, server)))
