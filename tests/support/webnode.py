"""A real web process on a real inherited listener, as a keeper would start it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from tenfold.topology.map import Map, NodeMap, encode, map_of, next_map
from tenfold.topology.spec import parse_spec

START_LIMIT_S = 20.0
SUPPORT = Path(__file__).parent

APP = """
import asyncio
from serving import FakeRuntime
from tenfold.core.errors import StorageDamaged, Unavailable
from tenfold.serve.asgi import TenfoldASGI
from tenfold.serve.hot import Response

runtime = FakeRuntime()

async def framework(scope, receive, send):
    path, status, headers = scope["path"], 200, [(b"content-type", b"text/plain")]
    if path == "/slow":
        await asyncio.sleep(0.5)
    elif path == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await asyncio.sleep(0.5)
        await send({"type": "http.response.body", "body": b", done"})
        return
    elif path == "/fails":
        raise ValueError("a secret of the service")
    elif path == "/fails-late":
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        raise ValueError("a secret of the service")
    elif path == "/injects":
        headers.append((b"location", b"https://x" + scope["query_string"].replace(b"%0d%0a", b"\\r\\n")))
    elif path == "/fatal":
        runtime.fatal(RuntimeError("The outcome of a COMMIT is unknown."))
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"%s %d" % (scope["method"].encode(), size)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

def hot(request, code):
    return Response.redirect("https://example.com/" + code, 301)

app = TenfoldASGI(framework, runtime, {"/go/{code}": hot})
"""


def listener() -> socket.socket:
    """A public listener such as the keeper opens."""
    public = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    public.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    public.bind(("127.0.0.1", 0))
    public.listen(4096)
    return public


class WebNode:
    """One running `python -m tenfold.serve.web`."""

    def __init__(self, root: Path, public: socket.socket, name: str) -> None:
        self.port: int = public.getsockname()[1]
        self.map_path = root / "map.json"
        self.socket_path = root / f"{name}.sock"
        self.output, self.errors = root / f"{name}.out", root / f"{name}.err"
        paths = [str(SUPPORT), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            "TENFOLD_MAP": str(self.map_path),
            "TENFOLD_NODE": name,
            "TENFOLD_NODE_SOCKET": str(self.socket_path),
            "TENFOLD_LISTEN_FD": str(public.fileno()),
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        }
        with self.output.open("ab") as output, self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tenfold.serve.web"],
                env=environment,
                cwd=root,
                pass_fds=[public.fileno()],
                stdout=output,
                stderr=errors,
            )

    def ask(self, op: str, **more: Any) -> dict[str, Any]:
        """One operation of the control socket."""
        with self.control() as control:
            control.sendall(json.dumps({"op": op, **more}).encode() + b"\n")
            with control.makefile() as lines:
                return json.loads(lines.readline())

    def control(self) -> socket.socket:
        control = socket.socket(socket.AF_UNIX)
        control.settimeout(10)
        try:
            control.connect(str(self.socket_path))
        except OSError:
            control.close()
            raise
        return control

    def listener_back(self) -> socket.socket:
        """The public listener, from the process that has it."""
        with self.control() as control:
            control.sendall(b'{"op":"listener"}\n')
            data, descriptors, _, _ = socket.recv_fds(control, 1024, 1)
        assert json.loads(data) == {"ok": True}
        return socket.socket(fileno=descriptors[0])

    def until_ready(self) -> WebNode:
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.errors.read_text()
            try:
                if self.ask("status")["ready"]:
                    return self
            except OSError:
                pass
            time.sleep(0.01)
        raise AssertionError(f"not ready within {START_LIMIT_S} s: {self.errors.read_text()}")

    def exit_code(self, within_s: float = 20.0) -> int:
        return self.process.wait(within_s)

    def last_error(self) -> dict[str, str]:
        """The JSON line that a process ends with when it cannot go on."""
        return json.loads(self.errors.read_text().splitlines()[-1])["error"]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Service:
    """A service in a folder, its listener, and the web processes that were started for it."""

    def __init__(self, root: Path, app: str = APP, spec: str = "") -> None:
        self.root = root
        self.nodes: list[WebNode] = []
        self.public = listener()
        self.current: Map | None = None
        (root / "victim_app.py").write_text(app)
        self.write_map(spec)

    def write_map(self, spec: str = "") -> Map:
        """Writes the next map, with more nodes than run; `spec` is TOML that is added to the service's."""
        text = f'[service]\nname = "victim"\napp = "victim_app:app"\n{spec}'
        content = map_of(
            parse_spec(text, "tenfold.toml"),
            root=str(self.root),
            state=str(self.root / ".tenfold"),
            previous=None,
        )
        nodes = tuple(NodeMap(f"web-{number}", "web") for number in range(1, 10))
        return self.publish(msgspec.structs.replace(content, nodes=nodes))

    def set_node(self, name: str, **changes: Any) -> Map:
        """Writes the next map, with another entry for one node."""
        nodes = {each.name: each for each in self.now.nodes}
        nodes[name] = msgspec.structs.replace(nodes[name], **changes)
        return self.publish(msgspec.structs.replace(self.now, nodes=tuple(nodes.values())))

    def set_door(self, door: str) -> Map:
        """Writes the next map, in which another role accepts on the public socket."""
        public = msgspec.structs.replace(self.now.public, door=door)
        return self.publish(msgspec.structs.replace(self.now, public=public))

    @property
    def now(self) -> Map:
        assert self.current is not None, "a map is written when the service is made"
        return self.current

    def publish(self, content: Map) -> Map:
        """Writes a map under the next epoch."""
        self.current = next_map(self.current, content)
        new = self.root / "map.json.new"
        new.write_bytes(encode(self.current))
        new.rename(self.root / "map.json")
        return self.current

    def start(self, public: socket.socket | None = None) -> WebNode:
        node = WebNode(self.root, public or self.public, f"web-{len(self.nodes) + 1}")
        self.nodes.append(node)
        return node

    def restart(self, position: int) -> WebNode:
        """Starts the node at that position again, under its name, until it is ready."""
        self.nodes[position] = WebNode(self.root, self.public, f"web-{position + 1}").until_ready()
        return self.nodes[position]

    def send(self, data: bytes, *, port: int | None = None, timeout_s: float = 10.0) -> bytes:
        """Sends bytes over a connection of its own; returns all that comes back until it is closed."""
        with socket.create_connection(("127.0.0.1", port or self.public.getsockname()[1]), timeout=timeout_s) as client:
            client.sendall(data)
            return b"".join(iter(lambda: client.recv(65536), b""))

    def get(self, path: str, *headers: str) -> bytes:
        """One request that ends its connection."""
        lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
        return self.send("\r\n".join(lines).encode("latin-1"))


@contextmanager
def service(root: Path, app: str = APP, spec: str = "") -> Iterator[Service]:
    """A service whose processes are all gone at the end, whatever happened."""
    running = Service(root, app, spec)
    try:
        yield running
    finally:
        for node in running.nodes:
            node.stop()
        running.public.close()
