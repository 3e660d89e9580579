"""The proof of step 1: the web process is killed under load, again and again, and no acknowledged link is lost.

The shortener runs as users run it. Clients make links over real connections, half of them with an Idempotency-Key and
repeated until they are answered; each kill waits until links are being acknowledged again. `make test` kills 10 times,
`make prove` 100 times, `make soak HOURS=n` until the hours are over.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from deployed import Deployed, deployed

SHORTENER = Path(__file__).parents[2] / "services" / "shortener"
SPEC = '[service]\nname = "shortener"\napp = "shortener.app:app"\n[public]\nport = 0\n'
CLIENTS = 8
BETWEEN_KILLS = 100
"""Links acknowledged before the next kill: enough that it falls into group commits."""
BACK_WITHIN_S = 30.0
FAILED = (OSError, http.client.HTTPException)


@dataclass
class Load:
    """Clients that make links until they are told to stop. `acknowledged`: code to URL, by what the server answered."""

    host: str
    port: int
    acknowledged: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    """URL to code of the keyed requests."""
    repeated: int = 0
    wrong: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    grew: threading.Condition = field(default_factory=threading.Condition)

    def client(self, number: int) -> None:
        """One client: every second link is keyed."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=BACK_WITHIN_S)
        made = 0
        while not self.stopping.is_set():
            made += 1
            url = f"https://example.com/{number}/{made}"
            if made % 2:
                self._make(connection, url, {})
            else:
                self._make_once(connection, url, f"key-{number}-{made}")
        connection.close()

    def _make(self, connection: http.client.HTTPConnection, url: str, headers: dict[str, str]) -> str | None:
        """The code of a new link, or None when it is not known what became of the request."""
        try:
            headers = {"content-type": "application/json", **headers}
            connection.request("POST", "/api/v1/data/shorten", json.dumps({"url": url}), headers)
            answer = connection.getresponse()
            body = answer.read()
        except FAILED:
            connection.close()
            return None
        if answer.status != 201:
            if answer.status != 503:
                self.wrong.append(f"{answer.status} {body[:200]!r}")
            return None
        code = str(json.loads(body)["code"])
        with self.grew:
            if self.acknowledged.setdefault(code, url) != url:
                self.wrong.append(f"{code} was given to {self.acknowledged[code]} and to {url}")
            self.grew.notify_all()
        return code

    def _make_once(self, connection: http.client.HTTPConnection, url: str, key: str) -> None:
        """Sends the same request until it is answered, and once more after that."""
        headers = {"idempotency-key": key}
        attempts = 0
        code = None
        while code is None and attempts < 1000:
            attempts += 1
            code = self._make(connection, url, headers)
        if code is None:
            self.wrong.append(f"{url} was never answered")
            return
        self.repeated += attempts > 1
        again = self._make(connection, url, headers)
        if again not in (None, code):
            self.wrong.append(f"{key} gave {code}, and then {again}")
        self.keys[url] = code

    def wait_for(self, more: int) -> None:
        """Waits until so many more links are acknowledged."""
        with self.grew:
            goal = len(self.acknowledged) + more
            assert self.grew.wait_for(lambda: len(self.acknowledged) >= goal, BACK_WITHIN_S), "no link gets through"


@pytest.fixture
def shortener(tmp_path: Path) -> Iterator[Deployed]:
    with deployed(tmp_path / "svc") as made:
        shutil.copytree(SHORTENER, made.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".tenfold", "tests"))
        (made.root / "tenfold.toml").write_text(SPEC)
        yield made


@contextlib.contextmanager
def load(host: str, port: int) -> Iterator[Load]:
    running = Load(host, port)
    clients = [threading.Thread(target=running.client, args=(number,)) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield running
    finally:
        running.stopping.set()
        for client in clients:
            client.join(BACK_WITHIN_S * 2)
    assert not any(client.is_alive() for client in clients)


def kill_web(shortener: Deployed) -> int:
    """Kills the web process that serves now; its pid."""
    pid = shortener.web_pid()
    os.kill(pid, signal.SIGKILL)
    return pid


def prove(shortener: Deployed, kills: int, until: float = 0.0) -> Load:
    """Kills `kills` times and on until `until` (of time.monotonic()), then judges what the clients were told."""
    facts = shortener.up()
    host, port = facts["address"].removeprefix("http://").split(":")
    killed: list[int] = []
    with load(host, int(port)) as run:
        while len(killed) < kills or time.monotonic() < until:
            run.wait_for(BETWEEN_KILLS)
            killed.append(kill_web(shortener))
        run.wait_for(BETWEEN_KILLS)
    assert len(set(killed)) == len(killed), "every kill met a new process, or the fault had no effect"
    assert run.wrong == []
    assert redirects(host, int(port), run.acknowledged) == run.acknowledged
    assert shortener.tenfold("down").code == 0
    judge_the_file(shortener.state / "data" / "shortener.db", run)
    return run


def redirects(host: str, port: int, wanted: dict[str, str]) -> dict[str, str]:
    """Where the codes lead, as the service answers now."""
    found = {}
    connection = http.client.HTTPConnection(host, port, timeout=BACK_WITHIN_S)
    for code in wanted:
        connection.request("GET", f"/{code}")
        answer = connection.getresponse()
        answer.read()
        found[code] = answer.headers["location"] if answer.status == 302 else f"status {answer.status}"
    connection.close()
    return found


def judge_the_file(path: Path, run: Load) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = dict(database.execute("SELECT code, url FROM links").fetchall())
        assert run.acknowledged.items() <= rows.items()
        many = "SELECT url, count(*) FROM links GROUP BY url HAVING count(*) > 1"
        twice = [url for url, _ in database.execute(many) if url in run.keys]
        assert twice == [], "a keyed request that was repeated made one link"


def test_ten_kills_lose_no_acknowledged_link(shortener: Deployed) -> None:
    run = prove(shortener, 10)
    assert run.repeated > 0, "no keyed request was ever cut off: the kills met no load"


@pytest.mark.long
def test_a_hundred_kills_lose_no_acknowledged_link(shortener: Deployed) -> None:
    hours = float(os.environ.get("TENFOLD_SOAK_HOURS", "0"))
    run = prove(shortener, 100, time.monotonic() + hours * 3600)
    print(f"acknowledged and found: {len(run.acknowledged)} links, {run.repeated} keyed requests repeated")
