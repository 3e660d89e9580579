"""The supervised server when it, the keeper or the controller is killed, when its disk is full, and half-way made."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import msgspec
import pytest
from keeping import alive, until
from pg_server import PgServer, needs_postgres, needs_root, pg_server, run, small_disk

import tenfold
from tenfold.control.engine import INIT, NODE, SUPERUSER, ensure_server, secrets_of
from tenfold.control.servers import look_at_machine
from tenfold.core.errors import StorageFull, TenfoldError
from tenfold.engines.postgres.server import check_login, connect
from tenfold.hosts.client import left_running, stop_left
from tenfold.topology.map import Map, map_of
from tenfold.topology.spec import parse_spec

pytestmark = needs_postgres


@pytest.fixture
def db(tmp_path: Path) -> Iterator[PgServer]:
    with pg_server(tmp_path / "small") as made:
        made.sql(made.owner, "CREATE TABLE kept (id int)", "INSERT INTO kept VALUES (1)", "SELECT 1")
        yield made


def current(db: PgServer) -> Map:
    """A map whose database is that server."""
    spec = parse_spec(b'[service]\nname = "small"\napp = "small_app:app"\n', "tenfold.toml")
    made = map_of(spec, root=str(db.place.root), state=str(db.place.state), previous=None)
    database = msgspec.structs.replace(made.database, backend="postgres", server=db.server)
    return msgspec.structs.replace(made, database=database)


def rows(db: PgServer) -> int:
    return db.sql(db.owner, "SELECT count(*) FROM kept")


def test_a_killed_server_is_started_again_by_the_keeper_and_lost_nothing(db: PgServer) -> None:
    for _ in range(3):
        first = db.pid()
        os.kill(first, signal.SIGKILL)
        until(lambda first=first: db.house.fact(NODE)["pid"] not in (None, first), "the keeper starts it again")
        run(db.engine.ensure(db.server))
        assert rows(db) == 1


def test_it_comes_back_while_a_session_of_the_killed_one_still_works(db: PgServer) -> None:
    async def work() -> None:
        async with connect(db.owner) as connection:
            busy = asyncio.create_task(connection.fetchval("SELECT count(*) FROM generate_series(1, 100000000)"))
            await asyncio.sleep(0)
            async with connect(db.owner) as other:
                while not await other.fetchval("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%generate_series(%'"):
                    pass
            os.kill(db.pid(), signal.SIGKILL)
            await asyncio.to_thread(until, lambda: db.house.fact(NODE)["restarts"], "it is started again")
            await db.engine.ensure(db.server)
            busy.cancel()
            with suppress(asyncio.CancelledError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await busy

    run(work())
    assert rows(db) == 1


def test_it_runs_on_when_the_keeper_dies_and_the_next_one_stops_it_cleanly(db: PgServer) -> None:
    pid = db.pid()
    db.house.kill_keeper()
    assert rows(db) == 1
    db.house.start()
    fact = db.house.fact(NODE)
    assert fact["adopted"]
    assert fact["pid"] == pid
    run(ensure_server(db.place, db.crew, current(db)))
    assert db.pid() == pid
    assert run(db.engine.stop()) == "drained"
    assert not alive(pid)
    assert "received fast shutdown request" in db.log()
    assert "database system is shut down" in db.log()


def test_what_a_dead_keeper_left_is_stopped_cleanly_too(db: PgServer) -> None:
    db.house.kill_keeper()

    assert stop_left(left_running(db.place.state)) == {NODE: "drained"}
    assert "database system is shut down" in db.log()


def test_an_adopted_one_that_dies_is_started_again(db: PgServer) -> None:
    db.house.kill_keeper()
    db.house.start()
    first = db.pid()
    os.kill(first, signal.SIGKILL)
    run(db.engine.ensure(db.server))
    until(lambda: db.house.fact(NODE)["pid"] not in (None, first), "another one runs")
    assert rows(db) == 1


def test_ensure_starts_a_stopped_server_and_never_makes_one(db: PgServer) -> None:
    run(db.engine.stop())
    run(ensure_server(db.place, db.crew, current(db)))
    assert rows(db) == 1
    run(db.engine.stop())
    hidden = db.home.root / "hidden"
    db.home.data.rename(hidden)
    with pytest.raises(TenfoldError, match="TF-PG-LOST"):
        run(ensure_server(db.place, db.crew, current(db)))
    assert not db.home.data.exists()
    hidden.rename(db.home.data)
    db.start()
    assert rows(db) == 1


def test_two_at_once_make_one_server(tmp_path: Path) -> None:
    db = PgServer(tmp_path / "small")
    try:
        db.house.start()

        async def both() -> list[object]:
            return await asyncio.gather(db.engine.make(4), db.engine.make(4))

        one, other = run(both())
        assert one == other
        assert db.log().count("listening on IPv4") == 1
    finally:
        db.end()


def test_a_controller_killed_while_it_makes_the_server_is_followed_by_one_that_does(tmp_path: Path) -> None:
    """Stopped after more and more of the steps, each time by cancelling it where it waits."""
    db = PgServer(tmp_path / "small")
    try:
        db.house.start()
        reached: set[str] = set()
        for limit_s in (0.0, 0.05, 0.3, 0.8, 1.2, 1.6, 2.0, 60.0):

            async def attempt(limit_s: float = limit_s) -> None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(limit_s):
                        await db.engine.make(4)

            run(attempt())
            reached |= {node for node in (INIT, NODE) if db.house.client.node(node)}
            reached |= {"data"} if db.home.exists else set()
            assert not (db.home.exists and db.home.draft.exists())
        db.start()
        assert db.sql(db.web, "SELECT current_user") == "small_web"
        assert reached >= {NODE, "data"}
        assert db.house.client.node(INIT) is None
    finally:
        db.end()


def test_what_is_left_of_an_initdb_that_was_killed_is_made_anew(tmp_path: Path) -> None:
    db = PgServer(tmp_path / "small")
    try:
        db.house.start()

        async def killed() -> None:
            making = asyncio.create_task(db.engine.make(4))
            pid = await asyncio.to_thread(
                until, lambda: db.home.draft.exists() and (db.house.client.node(INIT) or {}).get("pid"), "initdb runs"
            )
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(TenfoldError, match="TF-PG-INIT"):
                await making

        run(killed())
        assert not db.home.exists
        db.start()
        assert db.sql(db.owner, "SELECT 1") == 1
        assert not db.home.draft.exists()
    finally:
        db.end()


def test_data_whose_passwords_are_gone_is_never_overwritten(db: PgServer) -> None:
    run(db.engine.stop())
    kept = secrets_of(db.place).find(SUPERUSER)
    secrets_of(db.place).forget(SUPERUSER)
    with pytest.raises(TenfoldError, match="TF-PG-LEFTOVER"):
        db.start()
    secrets_of(db.place).save(SUPERUSER, kept)
    db.start()
    assert rows(db) == 1


def test_a_server_that_cannot_start_says_why(db: PgServer) -> None:
    run(db.engine.stop())
    auto = db.home.data / "postgresql.auto.conf"
    auto.write_text("no_such_setting = 1\n")
    with pytest.raises(TenfoldError, match=r"TF-PG-START: db-1 does not start(?s:.*)no_such_setting"):
        run(ensure_server(db.place, db.crew, current(db)))
    auto.write_text("")
    run(db.engine.stop())
    run(ensure_server(db.place, db.crew, current(db)))
    assert rows(db) == 1


@pytest.mark.root
@needs_root
def test_a_full_disk_is_named_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    db = PgServer(tmp_path / "small")
    with small_disk(db.home.root, 160):
        try:
            db.house.start()
            found = run(look_at_machine(db.place, "small", 1 << 20))
            assert [finding.code for finding in found] == ["TF-PG-DISK"]
            assert "free, and the copy may need 203MB" in found[0].sentence
            db.start()
            db.sql(db.owner, "CREATE TABLE kept (id int)", "INSERT INTO kept VALUES (1)", "SELECT 1")
            ballast = db.home.root / "ballast"
            fill(ballast)
            with pytest.raises((asyncpg.DiskFullError, asyncpg.PostgresConnectionError, OSError)):
                db.sql(
                    db.owner,
                    "CREATE TABLE large AS SELECT repeat(md5(x::text), 40) FROM generate_series(1, 400000) x",
                    "SELECT 1",
                )
            run(db.engine.stop())
            with pytest.raises(StorageFull, match=r"TF-DISK-FULL: db-1 does not run: the disk of .* is full"):
                run(ensure_server(db.place, db.crew, current(db)))
            ballast.unlink()
            until(lambda: answers(db), "it starts again by itself")
            assert rows(db) == 1
        finally:
            run(db.engine.stop())
            db.house.end()


def fill(ballast: Path) -> None:
    """Takes the last byte of a disk."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


def answers(db: PgServer) -> bool:
    try:
        run(check_login(db.owner))
    except TenfoldError:
        return False
    return True


@pytest.mark.root
@needs_root
def test_as_root_it_runs_as_another_user_with_none_of_our_variables(db: PgServer) -> None:
    facts = Path(f"/proc/{db.pid()}")
    uid = facts.stat().st_uid
    assert uid != 0
    assert pwd.getpwuid(uid).pw_name in ("postgres", "nobody")
    groups = next(line for line in (facts / "status").read_text().splitlines() if line.startswith("Groups:"))
    assert "0" not in groups.split()[1:]
    names = {word.partition(b"=")[0] for word in (facts / "environ").read_bytes().split(b"\0") if word}
    assert names <= {b"PATH", b"LANG", b"LC_ALL", b"TZ", b"TENFOLD_NODE", b"PG_OOM_ADJUST_FILE"}


AS_ANOTHER = """
import sys
from pathlib import Path
from keeping import until
from pg_server import pg_server
from tenfold.control.engine import NODE

with pg_server(Path(sys.argv[1]) / "small") as db:
    assert db.home.root == db.place.state / "postgres", db.home
    assert db.sql(db.web, "SELECT current_user") == "small_web"
    print("served by", db.home.root.stat().st_uid)
    assert db.house.client.shutdown(90.0) == {NODE: "drained"}
"""


def python_for_all(words: list[str], env: dict[str, str]) -> str:
    """An interpreter of our version that the other user can start again; skips the test when there is none."""
    probe = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import tenfold.hosts.keeper'], check=True)"
    for python in (sys.executable, shutil.which(f"python3.{sys.version_info[1]}", path=os.defpath)):
        command = [*words, python or "false", "-B", "-c", probe]
        if subprocess.run(command, cwd="/", env=env, check=False, capture_output=True).returncode == 0:
            return python
    pytest.skip("not run: no interpreter here can be used by another user")


@pytest.mark.root
@needs_root
def test_as_an_ordinary_user_everything_is_below_the_state_folder(tmp_path: Path) -> None:
    """Another user must be able to reach an interpreter and our sources; where he is not, there is nothing to try."""
    nobody = pwd.getpwnam("nobody")
    folder = Path("/tmp") / f"tenfold-test-{os.getpid()}"
    folder.mkdir()
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    words = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    paths = [str(Path(__file__).parents[1] / "support"), *(path for path in sys.path if "site-packages" in path)]
    paths.append(str(Path(tenfold.__file__).parents[1]))
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": ":".join(paths)}
    try:
        said = subprocess.run(
            [*words, python_for_all(words, env), "-B", "-c", AS_ANOTHER, str(folder)],
            cwd="/",
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert said.stdout == f"served by {nobody.pw_uid}\n", said
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=True)
