"""The shortener in a deployment of its own, with as many links as a test wants, and its moves by the command line."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployed import Deployed, deployed

from tenfold.blocks.database.keys import bucket_of

SHORTENER = Path(__file__).parents[2] / "services" / "shortener"
_ANSWERED = ("set", "register", "counter", "sessions", "shortener")
LOAD = ("load", *(word for name in _ANSWERED for word in ("--workload", name)))
"""Load in which every answer is ok; in the bank, a transfer of more than there is is refused, as it should be."""

SPEC = '[service]\nname = "shortener"\napp = "shortener.app:app"\n[public]\nport = 0\n'


@contextlib.contextmanager
def shortened(root: Path, *, up: bool = True) -> Iterator[Deployed]:
    """A shortener in `root`, running."""
    with deployed(root) as made:
        shutil.copytree(SHORTENER, made.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".tenfold", "tests"))
        (made.root / "tenfold.toml").write_text(SPEC)
        if up:
            made.up()
        yield made


def data_file(made: Deployed) -> Path:
    return made.state / "data" / "shortener.db"


def fill(made: Deployed, links: int) -> None:
    """Writes links into the file of a deployment that is down."""
    with contextlib.closing(sqlite3.connect(data_file(made))) as connection, connection:
        rows = ((code, f"https://example.com/{code}", 1_700_000_000_000_000, bucket_of(code)) for code in codes(links))
        connection.executemany("INSERT INTO links (code, url, created, tf_bucket) VALUES (?, ?, ?, ?)", rows)


def codes(links: int) -> Iterator[str]:
    return (f"filled-{number:08d}" for number in range(links))


def filled(root: Path, links: int) -> contextlib.AbstractContextManager[Deployed]:
    """A shortener that runs with that many links."""

    @contextlib.contextmanager
    def make() -> Iterator[Deployed]:
        with shortened(root) as made:
            assert made.tenfold("down").code == 0
            fill(made, links)
            made.up()
            yield made

    return make()


def move(made: Deployed, *words: str, limit_s: float = 300) -> dict[str, Any]:
    """A move to its end; it must succeed."""
    process = made.start(*words, "--yes", "--json")
    out, err = process.communicate(timeout=limit_s)
    assert process.returncode == 0, (out, err)
    facts: dict[str, Any] = json.loads(out)["move"]
    return facts


def journal(made: Deployed) -> list[dict[str, Any]]:
    """The lines of the journal of moves."""
    path = made.state / "moves.jsonl"
    if not path.exists():
        return []
    data = path.read_bytes()
    return [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]


def until_stage(made: Deployed, stage: str, kind: str = "intent", *, after: int = 0, limit_s: float = 120) -> None:
    """Waits until the journal says that a stage has begun (`intent`) or ended (`done`), in a line past `after`."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        for line in journal(made)[after:]:
            if line["kind"].endswith(kind) and line["data"].get("stage") == stage:
                return
        time.sleep(0.0005)
    raise AssertionError(f"the stage {stage} has not begun: {[line['kind'] for line in journal(made)[after:]]}")


def leftovers(made: Deployed) -> list[str]:
    """What a move leaves in the SQLite file when it is not cleared up."""
    with contextlib.closing(sqlite3.connect(data_file(made))) as connection:
        rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger' OR name = 'tf_log'").fetchall()
    return [str(row[0]) for row in rows]
