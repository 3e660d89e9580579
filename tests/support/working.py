"""A small service whose only work is jobs, in a deployment of its own: who ran what can be asked of it."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployed import Deployed
from tier import until

APP = """
import asyncio, os, time
from tenfold import Column, Int64, Retry, Tenfold, Text, home
from sqlalchemy import insert, select

tf = Tenfold("small")
runs = tf.table(
    "runs", Column("id", Int64, primary_key=True), Column("pid", Int64), Column("text", Text(100)), home=home()
)
ADD = insert(runs)
ALL = select(runs).order_by(runs.c.id)

@tf.database.transaction()
async def note(tx, pid, text):
    await tx.run(ADD, id=time.time_ns(), pid=pid, text=text)

@tf.tasks.task()
async def work(number: int, lasts: float) -> None:
    await note(os.getpid(), f"begin {number} {VERSION}")
    await asyncio.sleep(lasts)
    await note(os.getpid(), f"end {number} {VERSION}")

@tf.tasks.task(retry=Retry(max=1))
async def fail(number: int) -> None:
    raise ValueError(f"job {number} is not possible")

async def answer(path):
    if path.startswith("/work/"):
        _, _, number, lasts = path.split("/")
        return await work.enqueue(int(number), float(lasts))
    if path.startswith("/fail/"):
        return await fail.enqueue(int(path.split("/")[2]))
    if path == "/runs":
        async with tf.database.read() as db:
            return "\\n".join(f"{row.pid} {row.text}" for row in await db.all(ALL))
    return f"{os.getpid()} {VERSION}"

async def app_(scope, receive, send):
    body = await answer(scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body.encode()})

app = tf.asgi(app_)
"""


@dataclass(frozen=True)
class Ran:
    """One line of what jobs noted: the process, `begin` or `end`, the job's number and the version of the code."""

    pid: int
    what: str
    number: int
    version: str


class Working(Deployed):
    """That service; it must run."""

    port = 0

    def write(self, version: str) -> None:
        """The code of the service in its folder."""
        (self.root / "small_app.py").write_text(f"VERSION = {version!r}\n{APP}")

    def get(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        assert answer.status == 200, text
        return text

    def enqueue(self, number: int, lasts: float = 0.0) -> str:
        """A job of that number; its id."""
        return self.get(f"/work/{number}/{lasts}")

    def ran(self) -> list[Ran]:
        """What jobs have noted, in order."""
        lines = (line.split() for line in self.get("/runs").splitlines())
        return [Ran(int(pid), what, int(number), version) for pid, what, number, version in lines]

    def until_ran(self, what: str, number: int, limit_s: float = 30.0) -> Ran:
        """Waits until that job has begun (or ended); the last time."""

        def look() -> list[Ran]:
            return [each for each in self.ran() if (each.what, each.number) == (what, number)]

        found: list[Ran] = until(look, f"{what} of job {number}", limit_s)
        return found[-1]

    def pids(self, role: str) -> dict[str, int]:
        """The processes of a role by name."""
        return {node["node"]: node["pid"] for node in self.status()[{"web": "nodes", "worker": "workers"}[role]]}

    def done(self, *words: str) -> Any:
        said = self.tenfold(*words)
        assert said.code == 0, said
        return said


@contextlib.contextmanager
def working(root: Path) -> Iterator[Working]:
    """The service on one server, its code saying `one`."""
    made = Working(root)
    try:
        made.write("one")
        made.up()
        made.port = int(made.status()["keeper"]["port"])
        yield made
    finally:
        made.end()
