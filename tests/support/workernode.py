"""A real worker process, as a keeper would start it, over a runtime of the test or over the real blocks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tenfold.topology.map import Map, NodeMap, encode, map_of
from tenfold.topology.spec import parse_spec

SUPPORT = Path(__file__).parent
LIMIT_S = 20.0


class WorkerNode:
    """One `python -m tenfold.serve.worker` with the name worker-1."""

    def __init__(self, root: Path, app: str, current: Map) -> None:
        self.root = root
        (root / "victim_app.py").write_text(app)
        self.map = current
        self.publish(current)
        self.socket_path, self.errors = root / "worker-1.sock", root / "worker-1.err"
        environment = os.environ | {
            "TENFOLD_MAP": str(root / "map.json"),
            "TENFOLD_NODE": "worker-1",
            "TENFOLD_NODE_SOCKET": str(self.socket_path),
            "PYTHONPATH": os.pathsep.join(path for path in (str(SUPPORT), os.environ.get("PYTHONPATH", "")) if path),
        }
        with self.errors.open("ab") as errors:
            command = [sys.executable, "-m", "tenfold.serve.worker"]
            self.process = subprocess.Popen(command, env=environment, cwd=root, stdout=errors, stderr=errors)

    def publish(self, current: Map) -> None:
        """Writes a map."""
        self.map = current
        new = self.root / "map.json.new"
        new.write_bytes(encode(current))
        new.rename(self.root / "map.json")

    def with_traffic(self, traffic: str) -> None:
        """Writes the next map, in which jobs come to the worker, or do not."""
        nodes = (NodeMap("web-1", "web"), NodeMap("worker-1", "worker", traffic=traffic))  # type: ignore[arg-type]
        self.publish(msgspec.structs.replace(self.map, epoch=self.map.epoch + 1, nodes=nodes))

    def ask(self, op: str, **more: Any) -> dict[str, Any]:
        """One operation of the control socket; empty when nobody answers."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10)
            try:
                control.connect(str(self.socket_path))
            except OSError:
                return {}
            control.sendall(json.dumps({"op": op, **more}).encode() + b"\n")
            with control.makefile() as lines:
                return dict(json.loads(lines.readline() or "{}"))

    def until(self, **wanted: Any) -> dict[str, Any]:
        """The status, once it says that."""
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.errors.read_text()
            status = self.ask("status")
            if status and all(status[name] == value for name, value in wanted.items()):
                return status
            time.sleep(0.01)
        raise AssertionError(f"{wanted} did not come: {self.ask('status')}, {self.errors.read_text()}")

    def exit_code(self) -> int:
        """How it ended; it has to."""
        return self.process.wait(LIMIT_S)


def a_map(root: Path, more: str = "", **database: Any) -> Map:
    """A map with one web server and one worker, both with traffic."""
    spec = parse_spec(f'[service]\nname = "victim"\napp = "victim_app:app"\n{more}', "tenfold.toml")
    made = map_of(spec, root=str(root), state=str(root / ".tenfold"), previous=None)
    changed = msgspec.structs.replace(made.database, **database)
    nodes = (NodeMap("web-1", "web"), NodeMap("worker-1", "worker"))
    return msgspec.structs.replace(made, nodes=nodes, database=changed)


@contextlib.contextmanager
def worker(root: Path, app: str, current: Map) -> Iterator[WorkerNode]:
    """Runs it; kills it at the end."""
    made = WorkerNode(root, app, current)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.send_signal(signal.SIGKILL)
            made.process.wait()
