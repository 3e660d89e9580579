"""A real web process over a move: held, switched, paused over the switch, ahead of its map. Two files are the two
databases, so that only the process and its maps are under test."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from webnode import Service, WebNode, service

from tenfold.blocks.database.schema import apply_own
from tenfold.blocks.database.token import Position, Token
from tenfold.drivers.sqlite import open_writer
from tenfold.topology.map import encode

APP = """
import dataclasses
from pathlib import Path
from sqlalchemy import bindparam, insert, select, func
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from tenfold import Column, Int64, Tenfold, Text, home
from tenfold.blocks.database.backends import MAKERS
from tenfold.blocks.database.sqlite.backend import SqliteBackend

class Second(SqliteBackend):
    def __init__(self, config, *others):
        super().__init__(self.here(config), *others)
    def adopt(self, config):
        super().adopt(self.here(config))
    def here(self, config):
        return dataclasses.replace(config, path=Path(str(config.path) + ".second"))

MAKERS["postgres"] = Second
tf = Tenfold("victim")
facts = tf.table("facts", Column("name", Text(40), primary_key=True), Column("value", Text(40)), home=home())
FIND = select(facts).where(facts.c.name == bindparam("of"))
ADD = insert(facts)

@tf.database.transaction()
async def add(tx, name: str) -> None:
    await tx.run(ADD, name=name, value="")

async def where(request):
    async with tf.database.read() as db:
        row = await db.one(FIND, of="where")
    return JSONResponse(row.value, headers={"cache-control": "no-store"})

async def write(request):
    await add(request.path_params["name"])
    return JSONResponse("written", headers={"cache-control": "no-store"})

routes = [Route("/where", where), Route("/add/{name}", write, methods=["POST"])]
app = tf.asgi(Starlette(routes=routes))
"""

FENCE = "CREATE TRIGGER tf_fence_clock BEFORE UPDATE ON tf_clock BEGIN SELECT RAISE(ABORT, 'TF001 epoch=1'); END"


class Moving:
    """The service, its two files, and maps that send work to the one or the other."""

    def __init__(self, running: Service) -> None:
        self.running = running
        assert running.current is not None
        self.first = Path(running.current.database.path)
        self.second = Path(f"{self.first}.second")
        self.first.parent.mkdir(parents=True)
        for path, value in ((self.first, "first"), (self.second, "second")):
            with contextlib.closing(open_writer(path, create=True)) as made:
                apply_own(made, now_us=1)
                made.execute("CREATE TABLE facts (name TEXT PRIMARY KEY NOT NULL, value TEXT) STRICT")
                made.execute("INSERT INTO facts VALUES ('where', ?)", (value,))
        self.epoch = 1

    def map(self, backend: str, standby: str = "", gate: str = "open") -> int:
        """Writes the next map, as a mover does, without telling anybody; its epoch."""
        assert self.running.current is not None
        self.epoch += 1
        changed: Any = {"backend": backend, "standby": standby, "gate": gate}
        database = msgspec.structs.replace(self.running.current.database, **changed)
        new = self.running.root / "map.json.new"
        new.write_bytes(encode(msgspec.structs.replace(self.running.current, epoch=self.epoch, database=database)))
        new.rename(self.running.root / "map.json")
        return self.epoch

    def publish(self, node: WebNode, *args: str) -> None:
        """Writes the next map and waits for the node's acknowledgement."""
        epoch = self.map(*args)
        assert node.ask("map", epoch=epoch) == {"ok": True, "epoch": epoch}

    def sql(self, path: Path, statement: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=20)) as connection:
            return connection.execute(statement).fetchall()

    def names(self, path: Path) -> list[str]:
        return [name for (name,) in self.sql(path, "SELECT name FROM facts WHERE name <> 'where' ORDER BY name")]

    def connected(self) -> socket.socket:
        """A connection that has been answered on, and is kept alive."""
        client = socket.create_connection(("127.0.0.1", self.running.public.getsockname()[1]), timeout=20)
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        return client

    def begin(self, method: str, path: str, *headers: str, on: socket.socket | None = None) -> socket.socket:
        """Sends a request; nobody has to be there to take it."""
        client = on or socket.create_connection(("127.0.0.1", self.running.public.getsockname()[1]), timeout=20)
        lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
        client.sendall("\r\n".join(lines).encode())
        return client

    def stop(self, node: WebNode, source: str) -> None:
        """Stops the process at a moment when it does not write: paused in a commit it would keep everybody
        from the file until it goes on."""
        path = self.first if source == "sqlite" else self.second
        for _ in range(50):
            node.process.send_signal(signal.SIGSTOP)
            look = contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0.05))
            with look as connection, contextlib.suppress(sqlite3.OperationalError):
                connection.execute("BEGIN IMMEDIATE")
                return
            node.process.send_signal(signal.SIGCONT)
            time.sleep(0.02)
        raise AssertionError("it never stopped writing")

    def answer(self, client: socket.socket) -> tuple[int, Any]:
        with client:
            whole = b"".join(iter(lambda: client.recv(65536), b""))
        head, _, body = whole.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    def ask(self, method: str, path: str, *headers: str) -> tuple[int, Any]:
        return self.answer(self.begin(method, path, *headers))


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Moving]:
    with service(tmp_path, APP) as running:
        yield Moving(running)


def until(condition: Any, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.005)


def test_held_writes_wait_through_the_switch_and_reads_never_stop(moving: Moving) -> None:
    node = moving.running.start().until_ready()
    assert moving.ask("GET", "/where") == (200, "first")
    moving.publish(node, "sqlite", "postgres")
    moving.publish(node, "sqlite", "postgres", "held")
    writes = [moving.begin("POST", f"/add/{number}") for number in range(3)]
    until(lambda: node.ask("status")["held"] >= 3)  # what the blocks write by themselves waits too
    status = node.ask("status")
    assert (status["gate"], status["backend"], status["ready"]) == ("held", "sqlite", True)
    assert moving.ask("GET", "/where") == (200, "first")
    assert moving.names(moving.first) == []
    moving.publish(node, "postgres")
    assert [moving.answer(write) for write in writes] == [(200, "written")] * 3
    assert moving.ask("GET", "/where") == (200, "second")
    assert (moving.names(moving.first), moving.names(moving.second)) == ([], ["0", "1", "2"])
    status = node.ask("status")
    assert (status["gate"], status["backend"], status["held"]) == ("open", "postgres", 0)
    assert status["held_total"] >= 3
    assert status["held_longest_ms"] > 0


def test_a_write_that_meets_the_fence_looks_at_the_map_and_goes_on(moving: Moving) -> None:
    node = moving.running.start().until_ready()
    moving.publish(node, "sqlite", "postgres")
    moving.sql(moving.first, FENCE)
    write = moving.begin("POST", "/add/refused")
    until(lambda: node.ask("status")["held"] >= 1)
    moving.map("postgres")
    assert moving.answer(write) == (200, "written")
    assert (moving.names(moving.first), moving.names(moving.second)) == ([], ["refused"])


@pytest.mark.parametrize("knew_the_standby", [True, False])
def test_a_process_that_was_paused_over_the_switch_answers_from_the_new_database(
    moving: Moving, knew_the_standby: bool
) -> None:
    node = moving.running.start().until_ready()
    source, target = "sqlite", "postgres"
    for turn in range(3):
        if knew_the_standby:
            moving.publish(node, source, target)
        kept, kept_too = moving.connected(), moving.connected()
        moving.stop(node, source)
        moving.sql(moving.first if source == "sqlite" else moving.second, FENCE)
        if turn:
            moving.sql(moving.first if target == "sqlite" else moving.second, "DROP TRIGGER tf_fence_clock")
        moving.map(target)
        paused = threading.Event()
        read = moving.begin("GET", "/where", on=kept)  # its bytes are there before the process wakes
        write = moving.begin("POST", f"/add/{turn}", on=kept_too)
        assert not paused.wait(1.2), "the pause: longer than a process goes without looking at its map"
        node.process.send_signal(signal.SIGCONT)
        assert moving.answer(read) == (200, "first" if target == "sqlite" else "second")
        assert moving.answer(write) == (200, "written")
        source, target = target, source
    assert (moving.names(moving.first), moving.names(moving.second)) == (["1"], ["0", "2"])


def test_a_client_that_has_seen_a_newer_map_is_answered_by_it(moving: Moving) -> None:
    node = moving.running.start().until_ready()
    source, target = "sqlite", "postgres"
    for _ in range(10):
        moving.publish(node, source, target)
        epoch = moving.map(target)
        token = Token((("0", Position(epoch, 0, 0, 1)),)).encode()
        assert moving.ask("GET", "/where", f"TF-Token: {token}") == (200, "first" if target == "sqlite" else "second")
        source, target = target, source
