"""A move whose server dies, whose disk fills up, whose processes sleep, whose file is written to from outside."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployed import Deployed
from postgres import needs_postgres
from shortened import LOAD, data_file, filled, journal, leftovers, move, shortened, until_stage

from tenfold.drivers.sqlite.lock import WriterLock
from tenfold.engines.postgres.home import home_of

pytestmark = needs_postgres
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="not run: mounting a small file system needs root")


def engine_pid(made: Deployed) -> int:
    return int(made.status()["engines"][0]["pid"])


def ask(
    made: Deployed, method: str, path: str, body: dict[str, Any] | None = None, limit_s: float = 90
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", int(made.status()["keeper"]["port"]), timeout=limit_s)
    text = None if body is None else json.dumps(body)
    connection.request(method, path, text, {"content-type": "application/json"})
    answer = connection.getresponse()
    read = answer.read()
    connection.close()
    return answer.status, read


def shorten(made: Deployed, alias: str) -> int:
    body = {"url": f"https://example.com/{alias}", "alias": alias}
    return ask(made, "POST", "/api/v1/data/shorten", body)[0]


def test_postgres_that_is_killed_in_the_middle_of_the_copy_costs_a_rerun_at_most(tmp_path: Path) -> None:
    with filled(tmp_path / "svc", 60_000) as made:
        climbing = made.start("climb", "2", "--yes", "--json")
        until_stage(made, "copy")
        os.kill(engine_pid(made), signal.SIGKILL)
        assert shorten(made, "during") in (200, 201), "the old topology serves"
        _, err = climbing.communicate(timeout=200)
        if climbing.returncode != 0:  # it was undone, with the reason; running it again works
            assert "The database server" in err, err
            assert (made.status()["step"], leftovers(made)) == (1, [])
            assert shorten(made, "between") in (200, 201)
            move(made, "climb", "2")
        assert made.status()["step"] == 2
        assert ask(made, "GET", "/during")[0] in (301, 302)
        assert ask(made, "GET", "/filled-00059999")[0] in (301, 302)


def test_a_writer_that_goes_past_the_block_is_refused_after_the_fence_and_by_name(tmp_path: Path) -> None:
    with shortened(tmp_path / "svc") as made:
        move(made, "climb", "2")
        write = "INSERT INTO links (code, url, created, tf_bucket) VALUES ('past', 'https://x.y/', 1, 1)"
        past = sqlite3.connect(data_file(made))
        with pytest.raises(sqlite3.IntegrityError, match="TF001"):
            past.execute(write)
        past.close()


def test_a_schema_that_changes_during_the_copy_is_refused(tmp_path: Path) -> None:
    with filled(tmp_path / "svc", 60_000) as made:
        climbing = made.start("climb", "2", "--yes")
        until_stage(made, "copy")
        with contextlib.closing(sqlite3.connect(data_file(made), timeout=30)) as past, past:
            past.execute("ALTER TABLE links ADD COLUMN colour TEXT")
        out, err = climbing.communicate(timeout=200)
        assert climbing.returncode != 0, (out, err)
        assert "The tables in the SQLite file were changed" in err, err
        status = made.status()
        assert (status["step"], status["state"], status["engines"]) == (1, "running", [])
        assert leftovers(made) == []
        assert shorten(made, "after") in (200, 201)


def test_a_mover_that_stands_still_while_writes_are_held_is_replaced(tmp_path: Path) -> None:
    with shortened(tmp_path / "svc") as made:
        climbing = made.start("climb", "2", "--yes")
        until_stage(made, "hold", "done")
        mover = int(json.loads((made.state / "run" / "mover.json").read_text())["process"]["pid"])
        os.kill(mover, signal.SIGSTOP)
        began = time.monotonic()
        assert shorten(made, "held") in (200, 201)
        assert time.monotonic() - began < 24, "it was held, and not refused"
        out, err = climbing.communicate(timeout=100)
        assert climbing.returncode == 0, (out, err)
        assert made.status()["step"] == 2
        assert ask(made, "GET", "/held")[0] in (301, 302)
        assert not Path(f"/proc/{mover}").exists()


@pytest.fixture
def small_server_disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of the server that a deployment in `tmp_path/svc` will have, on a file system of 300 MB."""
    home = home_of(tmp_path / "svc" / ".tenfold", "shortener").root
    home.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    home.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(home)], check=True)
    yield home
    subprocess.run(["umount", "-l", str(home)], check=True)
    with contextlib.suppress(OSError):
        home.rmdir()


@as_root
@pytest.mark.root
def test_a_disk_that_is_full_in_the_middle_of_the_copy_leaves_the_old_topology_serving(
    tmp_path: Path, small_server_disk: Path
) -> None:
    with filled(tmp_path / "svc", 60_000) as made:
        climbing = made.start("climb", "2", "--yes")
        until_stage(made, "copy")
        filler = small_server_disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * (1 << 20))
        assert shorten(made, "during") in (200, 201), "the old topology serves"
        with contextlib.suppress(subprocess.TimeoutExpired):
            climbing.communicate(timeout=20)
        aborted = made.tenfold("abort", "--yes") if climbing.poll() is None else None
        filler.unlink(missing_ok=True)
        out, err = climbing.communicate(timeout=200)
        assert climbing.returncode != 0, (out, err, aborted)
        assert made.status()["step"] == 1
        assert shorten(made, "after") in (200, 201)
        move(made, "climb", "2")
        assert ask(made, "GET", "/during")[0] in (301, 302)
        assert ask(made, "GET", "/after")[0] in (301, 302)


@pytest.mark.long
def test_a_process_that_sleeps_a_minute_over_the_flip_is_refused_and_sent_on(tmp_path: Path) -> None:
    with shortened(tmp_path / "svc") as made:
        pid = made.web_pid()
        before = len(journal(made))
        climbing = made.start("climb", "2", "--yes", "--json")
        until_stage(made, "connect", "done", after=before)
        put_to_sleep(made, pid, inside_a_write=False)
        slept = time.monotonic()
        answers: list[int] = []
        clients = [threading.Thread(target=lambda n=n: answers.append(shorten_at(made, port, n))) for n in range(5)]
        port = int(json.loads((made.state / "map.json").read_text())["public"]["port"])
        for client in clients:
            client.start()
        out, err = climbing.communicate(timeout=100)
        assert climbing.returncode == 0, (out, err)
        time.sleep(max(0.0, 60 - (time.monotonic() - slept)))
        os.kill(pid, signal.SIGCONT)
        for client in clients:
            client.join(60)
        assert [status in (200, 201) for status in answers] == [True] * 5, answers
        for number in range(5):
            assert ask(made, "GET", f"/sleeper-{number}")[0] in (301, 302)
        with contextlib.closing(sqlite3.connect(data_file(made))) as left:
            assert left.execute("SELECT count(*) FROM links WHERE code LIKE 'sleeper-%'").fetchone() == (0,)


@pytest.mark.long
def test_a_process_that_sleeps_inside_a_write_stops_the_move_and_costs_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who holds the lock of the file holds everybody up. The move gives up, and is undone when the sleeper is back."""
    monkeypatch.setenv("TENFOLD_LIMITS", "off")
    with filled(tmp_path / "svc", 60_000) as made:
        pid, before = made.web_pid(), len(journal(made))
        answers: dict[int, int] = {}
        climbing = made.start("climb", "2", "--yes", "--json")
        until_stage(made, "copy", after=before)
        with writers(made, answers):
            put_to_sleep(made, pid, inside_a_write=True)
            slept = time.monotonic()
            until_back(made, after=before)
            assert climbing.poll() is None, "nothing can be undone while the file is locked"
            time.sleep(max(0.0, 30 - (time.monotonic() - slept)))
            os.kill(pid, signal.SIGCONT)
        out, err = climbing.communicate(timeout=100)
        assert climbing.returncode != 0, (out, err)
        assert "was undone" in err, err
        assert set(answers.values()) <= {200, 201}
        assert (made.status()["step"], leftovers(made)) == (1, [])
        move(made, "climb", "2")
        for number in answers:
            assert ask(made, "GET", f"/sleeper-{number}")[0] in (301, 302)


@contextlib.contextmanager
def writers(made: Deployed, answers: dict[int, int]) -> Iterator[None]:
    """Five clients that write all the time; in the end what they have begun is answered."""
    port, enough, numbers = int(made.status()["keeper"]["port"]), threading.Event(), itertools.count()

    def write() -> None:
        while not enough.is_set():
            number = next(numbers)
            answers[number] = shorten_at(made, port, number)

    clients = [threading.Thread(target=write) for _ in range(5)]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        enough.set()
        for client in clients:
            client.join(120)


def put_to_sleep(made: Deployed, pid: int, *, inside_a_write: bool) -> None:
    """Stops the process while it holds the lock of the file, or while it does not."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        os.kill(pid, signal.SIGSTOP)
        if is_locked(made) == inside_a_write:
            return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.001)
    raise AssertionError(f"It was never {'inside' if inside_a_write else 'outside'} a write.")


def is_locked(made: Deployed) -> bool:
    """Whether somebody holds the lock of the file for longer than a mover does."""
    lock, until = WriterLock(data_file(made)), time.monotonic() + 0.3
    try:
        while not lock.try_acquire():
            if time.monotonic() > until:
                return True
            time.sleep(0.001)
    finally:
        lock.close()
    return False


def until_back(made: Deployed, *, after: int) -> None:
    """Waits until the move is being undone."""
    until = time.monotonic() + 60
    while not any(line["kind"] == "move.back" for line in journal(made)[after:]):
        assert time.monotonic() < until, "it goes on"
        time.sleep(0.01)


def shorten_at(made: Deployed, port: int, number: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    body = json.dumps({"url": "https://example.com/s", "alias": f"sleeper-{number}"})
    connection.request("POST", "/api/v1/data/shorten", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.mark.long
def test_two_million_links_move_and_come_back_under_load(tmp_path: Path) -> None:
    with filled(tmp_path / "svc", 2_000_000) as made:
        load = made.start(*LOAD, "--rate", "60", "--seconds", "900", "--json")
        there = move(made, "climb", "2", limit_s=900)
        assert ask(made, "GET", "/filled-01999999")[0] in (301, 302)
        back = move(made, "descend", "1", limit_s=900)
        load.send_signal(signal.SIGINT)
        out, err = load.communicate(timeout=60)
        assert set(json.loads(out)["outcomes"]) == {"ok"}, (out, err)
        print("two million rows:", there["took_s"], there["facts"], back["took_s"], back["facts"])
        assert made.status()["step"] == 1
