"""A real deployment of a small service, driven through the real command line, with everything gone at the end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.engines.postgres.home import home_of
from tenfold.hosts.client import left_running, wait_until_gone
from tenfold.hosts.identity import is_alive
from tenfold.hosts.leftovers import left_programs

COMMAND = (sys.executable, "-P", "-m", "tenfold.cli.main")
LIMIT_S = 60.0

APP = """
import asyncio, os
from tenfold import Column, Int64, Tenfold, Text, home
from sqlalchemy import func, insert, select

tf = Tenfold("small")
notes = tf.table("notes", Column("id", Int64, primary_key=True), Column("text", Text(100)), home=home())
ADD = insert(notes)
COUNT = select(func.count()).select_from(notes)

@tf.database.transaction()
async def add(tx, id, text):
    await tx.run(ADD, id=id, text=text)

async def app_(scope, receive, send):
    path = scope["path"]
    if path == "/slow":
        await asyncio.sleep(0.5)
    status = 200
    if path.startswith("/add/"):
        await add(int(path[5:]), "x")
        status = 201
    if path == "/count":
        async with tf.database.read() as db:
            body = str(await db.scalar(COUNT))
    else:
        body = f"{os.getpid()} {tf.setting('colour', 'grey')}"
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body.encode()})

app = tf.asgi(app_)
"""


@dataclass
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str

    def facts(self) -> Any:
        return json.loads(self.out)


class Deployed:
    """One service in a folder. `tenfold(...)` runs a command in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / ".tenfold"
        self._started: list[subprocess.Popen[str]] = []
        root.mkdir(parents=True, exist_ok=True)
        (root / "small_app.py").write_text(APP)
        self.spec()

    def spec(self, more: str = "", *, app: str = "small_app:app", port: int = 0) -> None:
        """Writes tenfold.toml."""
        text = f'[service]\nname = "small"\napp = "{app}"\n[public]\nport = {port}\n{more}'
        (self.root / "tenfold.toml").write_text(text)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Starts a command and does not wait for it."""
        process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        self._started.append(process)
        return process

    def tenfold(self, *words: str, **options: Any) -> Said:
        """Runs a command to its end."""
        process = self.start(*words, **options)
        out, err = process.communicate(timeout=LIMIT_S)
        return Said(process.returncode, out, err)

    def up(self, *words: str) -> dict[str, Any]:
        """`tenfold up`, which must succeed; its facts."""
        said = self.tenfold("up", "--json", *words)
        assert said.code == 0, said
        return said.facts()

    def status(self) -> dict[str, Any]:
        return self.tenfold("status", "--json").facts()

    def web_pid(self) -> int:
        return self.status()["nodes"][0]["pid"]

    def processes(self) -> list[int]:
        """Everything that runs and belongs to this deployment, however it was started."""
        mark = os.fsencode(self.root)
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                said = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
                if state != "Z" and mark in said and b"tenfold" in said and int(folder.name) != os.getpid():
                    found.append(int(folder.name))
        return found

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        while pids := [*self.processes(), *self._recorded()]:  # a keeper that still runs starts again what was killed
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                wait_until_gone(pid, 10.0)
        assert not left_running(self.state)
        for name in ("small", "shortener"):
            if os.geteuid() == 0:  # a database server of root lives outside of the state folder
                shutil.rmtree(home_of(self.state, name).root, ignore_errors=True)

    def _recorded(self) -> list[int]:
        """Processes of another user, whose environment may not name this folder."""
        left = left_running(self.state)
        own = [record.process for record in left if record.process and is_alive(record.process)]
        return [one.pid for one in [*own, *(one for record in left for one in left_programs(record.launch))]]


@contextlib.contextmanager
def deployed(root: Path) -> Iterator[Deployed]:
    made = Deployed(root)
    try:
        yield made
    finally:
        made.end()
