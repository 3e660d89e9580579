"""A small service behind balancers, and clients of every kind of connection that note whatever was not answered."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployed import APP, Deployed, deployed

from tenfold.core.journal import read_journal
from tenfold.moves.base import State, fold

VERSIONED = APP.replace('tf.setting("colour", "grey")', "VERSION").replace("tf.setting('colour', 'grey')", "VERSION")


def write_code(made: Deployed, version: str, more: str = "") -> None:
    """The code of the service in its folder: it answers with its pid and this word."""
    (made.root / "small_app.py").write_text(f"VERSION = {version!r}\n{VERSIONED}\n{more}\n")


@contextlib.contextmanager
def tier(root: Path, more: str = "") -> Iterator[Deployed]:
    """The service on one server, its code saying `one`."""
    with deployed(root) as made:
        write_code(made, "one")
        made.spec(more)
        made.up()
        yield made


class Clients:
    """Clients at work: new connections, kept ones, idle ones and (`writes`) keyed writes. `failed` says what was not
    answered."""

    def __init__(self, port: int, *, writes: bool = True) -> None:
        self.failed: list[str] = []
        self.answers: Counter[str] = Counter()
        self.written: set[int] = set()
        self._port = port
        self._stop = threading.Event()
        kinds = [(self._fresh, 0.02), (self._kept, 0.01), (self._kept, 0.4), (self._kept, 1.3)]
        kinds += [(self._writer, 0.03)] if writes else []
        self._threads = [
            threading.Thread(target=kind, args=(number, rest)) for number, (kind, rest) in enumerate(kinds)
        ]

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def seen(self, word: str) -> bool:
        """Whether an answer had that word."""
        return any(word in answer.split() for answer in list(self.answers))

    def _ask(self, connection: http.client.HTTPConnection, method: str, path: str, **headers: str) -> int:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        self.answers[text] += 1
        if answer.status not in (200, 201):
            self.failed.append(f"{method} {path}: {answer.status} {text[:200]}")
        return answer.status

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)

    def _fresh(self, _number: int, rest: float) -> None:
        while not self._stop.wait(rest):
            connection = self._connection()
            self._noting(connection, "GET", "/fresh")
            connection.close()

    def _kept(self, _number: int, rest: float) -> None:
        connection = self._connection()
        while not self._stop.wait(rest):
            self._noting(connection, "GET", f"/kept-{rest}")
        connection.close()

    def _writer(self, number: int, rest: float) -> None:
        connection, written = self._connection(), number * 1_000_000
        while not self._stop.wait(rest):
            written += 1
            if self._noting(connection, "POST", f"/add/{written}", **{"Idempotency-Key": f"add-{written}"}) == 201:
                self.written.add(written)
        connection.close()

    def _noting(self, connection: http.client.HTTPConnection, method: str, path: str, **headers: str) -> int:
        try:
            return self._ask(connection, method, path, **headers)
        except (OSError, http.client.HTTPException) as error:
            self.failed.append(f"{method} {path}: {error!r}")
            connection.close()
            return 0


def port_of(made: Deployed) -> int:
    """Where its clients come."""
    return int(made.status()["keeper"]["port"])


def count_of(made: Deployed) -> int:
    """How many rows its table has."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(made), timeout=20)
    connection.request("GET", "/count")
    found = int(connection.getresponse().read())
    connection.close()
    return found


def state_of(made: Deployed) -> State:
    """The last move."""
    return fold(read_journal(made.state / "moves.jsonl"))


def until(look: Any, what: str, limit_s: float = 60.0) -> Any:
    """What `look` finds, as soon as it is something."""
    deadline = time.monotonic() + limit_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(0.02)
    return found


def until_stage(made: Deployed, stage: str) -> None:
    """Waits until a move is open and has begun that stage; a short one may be over by then."""

    def there() -> bool:
        state = state_of(made)
        return state.open and stage in state.begun

    until(there, f"the stage {stage}")
