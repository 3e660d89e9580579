"""Starting what is measured: each server on a socket of its own, pinned to one core, stopped by its pid."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]


@dataclass
class Server:
    """A running server."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    first_answer_s: float = 0.0
    """From the start of the process to its first complete answer."""

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """CPU time of the process so far (user + system), in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Resident memory in MB."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("the process is gone")


def pinned(core: int) -> list[str]:
    """The command prefix that keeps a process on one core; nothing where there is only one."""
    return ["taskset", "-c", str(core)] if len(CORES) > 1 else []


def _listener() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(4096)
    listener.set_inheritable(True)
    return listener


def wait_until_it_answers(process: subprocess.Popen[bytes], port: int, limit_s: float = 20.0) -> float:
    """Seconds until the first complete answer; `TimeoutError` also when the process has ended."""
    began = time.perf_counter()
    while process.poll() is None and time.perf_counter() - began < limit_s:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/warm-up")
            connection.getresponse().read()
            return time.perf_counter() - began
        time.sleep(0.005)
    raise TimeoutError(f"port {port} does not answer")


@contextlib.contextmanager
def peer(name: str, app: str, folder: Path, **environment: str) -> Iterator[Server]:
    """Any ASGI application on uvicorn with uvloop and httptools, as our web process embeds it."""
    listener = _listener()
    code = (
        "import socket, sys, uvicorn\n"
        "listener = socket.socket(fileno=int(sys.argv[2]))\n"
        "config = uvicorn.Config(sys.argv[1], loop='uvloop', http='httptools', access_log=False, log_level='warning',"
        " server_header=False)\n"
        "uvicorn.Server(config).run(sockets=[listener])\n"
    )
    command = [*pinned(SERVER_CORE), sys.executable, "-c", code, app, str(listener.fileno())]
    with _running(name, command, listener, folder, environment) as server:
        yield server


@contextlib.contextmanager
def ours(folder: Path, name: str = "tenfold", app: str = "", **environment: str) -> Iterator[Server]:
    """The shortener in our web process, with access log and metrics on, as `tenfold up` starts it.

    `app` puts another application into the same process instead (`package.module:attribute`).
    """
    map_path = write_map(folder, app)
    migrate = [sys.executable, "-m", "tenfold.control.migrate", "--map", str(map_path)]
    subprocess.run(migrate, check=True, stdout=subprocess.DEVNULL, env=_environment(environment))
    listener = _listener()
    environment |= {
        "TENFOLD_MAP": str(map_path),
        "TENFOLD_NODE": "web-1",
        "TENFOLD_NODE_SOCKET": str(folder / "node.sock"),
        "TENFOLD_LISTEN_FD": str(listener.fileno()),
    }
    command = [*pinned(SERVER_CORE), sys.executable, "-m", "tenfold.serve.web"]
    with _running(name, command, listener, folder, environment) as server:
        yield server


def write_map(folder: Path, app: str = "") -> Path:
    """A map with its state in `folder`, as the controller would write it: of the shortener, or of another `app`."""
    from tenfold.topology.map import encode, map_of  # noqa: PLC0415 - not needed to start peers
    from tenfold.topology.spec import parse_spec  # noqa: PLC0415

    root = ROOT if app else ROOT / "services" / "shortener"
    text = f'[service]\nname = "plain"\napp = "{app}"\n' if app else (root / "tenfold.toml").read_text()
    made = map_of(parse_spec(text, "tenfold.toml"), root=str(root), state=str(folder), previous=None)
    (folder / "data").mkdir(exist_ok=True)
    path = folder / "map.json"
    path.write_bytes(encode(made))
    return path


def _environment(extra: dict[str, str]) -> dict[str, str]:
    paths = [str(ROOT), str(ROOT / "services" / "shortener"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **extra}


@contextlib.contextmanager
def _running(
    name: str, command: list[str], listener: socket.socket, folder: Path, environment: dict[str, str]
) -> Iterator[Server]:
    with (folder / f"{name.replace(' ', '-')}.log").open("wb") as log:
        process = subprocess.Popen(
            command, pass_fds=[listener.fileno()], env=_environment(environment), stdout=log, stderr=log
        )
        server = Server(name, listener.getsockname()[1], process)
        try:
            try:
                server.first_answer_s = wait_until_it_answers(process, server.port)
            except TimeoutError as error:
                said = Path(log.name).read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{name} does not answer; it said:\n{said}") from error
            yield server
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            listener.close()
