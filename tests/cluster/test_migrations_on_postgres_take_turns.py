"""Migrations on PostgreSQL beside others: other migrations, writers, readers, and a kill in the middle."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from keeping import until
from migrating import service
from migrating_on_server import ServerPlace, fresh, quick_server
from pg_server import PgServer, needs_postgres

from tenfold.control import migrate as command
from tenfold.control.migrations import postgres
from tenfold.control.migrations.revisions import MigrationFailed
from tenfold.control.migrations.server import migrate_on_server
from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.engines.postgres.server import Connection, connect
from tenfold.topology.map import encode

pytestmark = needs_postgres

TESTS = Path(__file__).parents[1]
REAL = "op.get_bind().exec_driver_sql('SELECT current_schema()').scalar() == 'public'"
"""In a revision: whether it runs on the service's tables rather than being tried."""

BARRIER = 77
WAITS = f"{REAL} and (op.execute('SET LOCAL lock_timeout = 0'), op.execute('SELECT pg_advisory_xact_lock({BARRIER})'))"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PgServer]:
    with quick_server(tmp_path_factory.mktemp("pg") / "small") as made:
        yield made


@pytest.fixture
def place(server: PgServer, tmp_path: Path) -> ServerPlace:
    made = fresh(tmp_path, server)
    made.write(2, "first")
    made.migrate(2)
    made.sql("INSERT INTO users VALUES (1, 'a@example.com')")
    return made


@contextmanager
def session(place: ServerPlace) -> Iterator[Callable[[str], Any]]:
    """A connection of the owner that stays open: a function that runs a statement on it."""
    loop = asyncio.new_event_loop()
    opened = connect(place.owner)
    connection: Connection = loop.run_until_complete(opened.__aenter__())
    try:
        yield lambda statement: loop.run_until_complete(connection.fetch(statement))
    finally:
        loop.run_until_complete(opened.__aexit__(None, None, None))
        loop.close()


def waiting(place: ServerPlace) -> int:
    """How many sessions wait for an advisory lock."""
    return int(place.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")[0][0])


@contextmanager
def beside(place: ServerPlace) -> Iterator[Callable[[], Future[Any]]]:
    """Starts migrations in threads."""
    with ThreadPoolExecutor(2) as pool:
        yield lambda: pool.submit(place.migrate, 2)


def test_two_at_once_take_turns_and_the_second_finds_nothing_to_do(place: ServerPlace) -> None:
    place.revision(2, "op.execute(\"UPDATE users SET email = email || 'x'\")")
    with beside(place) as start:
        reports = [each.result(60) for each in [start(), start()]]
    assert sorted(len(report.applied) for report in reports) == [0, 1]
    assert place.sql("SELECT email FROM users") == [("a@example.comx",)]


def test_another_migration_is_waited_for_within_a_limit(place: ServerPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    place.revision(2, "op.execute('SELECT 1')")
    with beside(place) as start, session(place) as run:  # it lets go before the threads are waited for
        run(f"SELECT pg_advisory_lock({postgres.TURN})")
        monkeypatch.setattr(postgres, "TURN_WAIT_S", 0.05)
        with pytest.raises(Unavailable, match="Another process has been migrating"):
            place.migrate(2)
        assert place.migrate(2, dry_run=True).changes
        monkeypatch.setattr(postgres, "TURN_WAIT_S", 30.0)
        later = start()
        until(lambda: waiting(place) == 1, "the migration waits for its turn")
        run(f"SELECT pg_advisory_unlock({postgres.TURN})")
        assert later.result(60).applied == ("0002 (by hand)",)


def test_while_a_revision_runs_writers_wait_and_readers_go_on(place: ServerPlace) -> None:
    place.revision(2, f"{WAITS}\n    op.execute(\"UPDATE users SET email = 'b@example.com'\")")
    with beside(place) as start, session(place) as run:  # it lets go before the threads are waited for
        run(f"SELECT pg_advisory_lock({BARRIER})")
        migration = start()
        until(lambda: waiting(place) == 1, "the revision is in its middle")
        assert place.as_(place.web, "SELECT email FROM users") == [("a@example.com",)]
        with pytest.raises(asyncpg.LockNotAvailableError):
            write_within(place, 100)
        run(f"SELECT pg_advisory_unlock({BARRIER})")
        assert migration.result(60).applied == ("0002 (by hand)",)
    write_within(place, 1000)


def write_within(place: ServerPlace, limit_ms: int) -> None:
    """A write of a web process that waits for a lock no longer than that."""

    async def work() -> None:
        async with connect(place.web) as connection:
            await connection.execute(f"SET lock_timeout = {limit_ms}")
            await connection.execute("UPDATE users SET email = email WHERE id = 1")

    asyncio.run(work())


def test_a_transaction_that_stays_open_does_not_make_others_wait_for_long(
    place: ServerPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.revision(2, "op.execute('ALTER TABLE users ALTER COLUMN email SET STATISTICS 50')")
    before, stop = place.dump(), threading.Event()
    monkeypatch.setattr(postgres, "LOCK_WAIT_S", 1.0)
    with ThreadPoolExecutor(1) as pool, session(place) as run, stopping(stop):
        run("BEGIN")
        run("UPDATE users SET email = email WHERE id = 1")
        longest = pool.submit(longest_write, place, stop)
        with pytest.raises(Unavailable, match=r"Revision 0002 .* were in use without a pause"):
            place.migrate(2)
        stop.set()
        assert longest.result(60) < 3.0  # seconds; it is 0.3 on an idle machine
        assert place.dump() == before
        monkeypatch.setattr(postgres, "LOCK_WAIT_S", 60.0)
        later = pool.submit(place.migrate, 2)
        until(lambda: held_up(place) == 1, "the revision waits for the open transaction")
        until(lambda: held_up(place) == 0, "it lets the others pass, to try again")
        run("COMMIT")
        assert later.result(60).applied == ("0002 (by hand)",)


@contextmanager
def stopping(stop: threading.Event) -> Iterator[None]:
    """Ends the writer beside, whatever happens."""
    try:
        yield
    finally:
        stop.set()


def held_up(place: ServerPlace) -> int:
    """How many sessions wait now until the writers of a table are gone."""
    return int(place.sql("SELECT count(*) FROM pg_locks WHERE mode = 'ShareRowExclusiveLock' AND NOT granted")[0][0])


def longest_write(place: ServerPlace, stop: threading.Event) -> float:
    """Inserts rows until told to stop; the longest time that one took, in seconds."""

    async def work() -> float:
        loop, longest, number = asyncio.get_running_loop(), 0.0, 100
        async with connect(place.web) as connection:
            while not stop.is_set():
                number, began = number + 1, loop.time()
                await connection.execute("INSERT INTO users VALUES ($1, 'w@example.com')", number)
                longest = max(longest, loop.time() - began)
            await connection.execute("DELETE FROM users WHERE id > 100")
        return longest

    return asyncio.run(work())


CHILD = """
import sys
sys.path[:0] = [{support!r}]
import msgspec
from pathlib import Path
from migrating import service
from tenfold.control.migrations.server import migrate_on_server
from tenfold.engines.postgres.address import ServerUrl
from tenfold.topology.map import decode
login = ServerUrl(*msgspec.json.decode(sys.stdin.read()))
migrate_on_server(service(2), decode(Path({map!r}).read_bytes(), "map"), login)
"""


def test_a_run_that_is_killed_inside_a_revision_is_run_again_as_if_nothing_had_been(place: ServerPlace) -> None:
    kill = place.root / "kill"
    kill.touch()
    place.revision(
        2,
        "op.execute('CREATE TABLE half (id bigint)'); op.execute('DROP TABLE half')\n"
        "    op.execute(\"UPDATE users SET email = 'b@example.com'\")\n"
        f"    {REAL} and os.path.exists({str(kill)!r}) and os.kill(os.getpid(), 9)",
        more="import os",
    )
    before = place.dump()
    (place.root / "map.json").write_bytes(encode(place.map))
    code = CHILD.format(support=str(TESTS / "support"), map=str(place.root / "map.json"))
    login = msgspec.json.encode(list(dataclasses.astuple(place.owner)))
    killed = subprocess.run([sys.executable, "-c", code], input=login, capture_output=True, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL, killed
    assert place.dump() == before
    os.unlink(kill)
    assert place.migrate(2).applied == ("0002 (by hand)",)
    assert place.sql("SELECT email FROM users") == [("b@example.com",)]


def test_a_connection_that_is_cut_inside_a_revision_leaves_what_was_there(place: ServerPlace) -> None:
    place.revision(
        2,
        "op.execute(\"UPDATE users SET email = 'b@example.com'\")\n"
        f"    {REAL} and op.execute('SELECT pg_terminate_backend(pg_backend_pid())')",
    )
    before = place.dump()
    with pytest.raises((Unavailable, MigrationFailed), match=r"connection to .* was lost") as told:
        place.migrate(2)
    assert "Run the same command again" in told.value.hint
    assert place.dump() == before


APP = """
from tenfold import Column, Int64, Tenfold, Text, home
tf = Tenfold("small")
tf.table("users", Column("id", Int64, primary_key=True), Column("email", Text(80), nullable=False), home=home())
async def answer(scope, receive, send): ...
app = tf.asgi(answer)
"""


def test_the_child_of_up_migrates_what_its_map_names(
    server: PgServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = server.place.root
    place = fresh(root, server)
    (root / "small_app.py").write_text(APP)
    monkeypatch.syspath_prepend(str(root))
    wanted = msgspec.structs.replace(place.map, app="small_app:app")
    (root / "wanted.json").write_bytes(encode(wanted))
    words = ["--map", str(root / "wanted.json"), "--json"]
    assert command.main([*words, "--dry-run"]) == 0
    assert place.facts() == {}
    assert command.main(words) == 0
    last = msgspec.json.decode(capsys.readouterr().out.splitlines()[-1], type=command.Report)
    assert last.created == ("table users",)
    assert set(place.facts()) == {"users"}
    assert server.owner.password not in repr(last)


def test_a_server_that_does_not_answer_and_a_wrong_password_are_named(place: ServerPlace) -> None:
    for login, code in (
        (dataclasses.replace(place.owner, port=1), "TF-PG-CONNECT"),
        (dataclasses.replace(place.owner, password="wrong"), "TF-PG-PASSWORD"),
    ):
        with pytest.raises(TenfoldError) as told:
            migrate_on_server(service(2), place.map, login)
        assert told.value.code == code
        assert place.owner.password not in str(told.value)


def test_a_role_that_is_not_the_owner_is_refused_with_the_reason(place: ServerPlace) -> None:
    place.revision(2, "op.execute('SELECT 1')")
    with pytest.raises(TenfoldError, match="permission denied") as told:
        migrate_on_server(service(2), place.map, place.web)
    assert "own" in told.value.hint
