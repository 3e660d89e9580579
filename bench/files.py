"""The files block alone: a static file and an upload through the whole ASGI application, with Starlette's own way of
doing both in the same run."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from bench.report import median, table
from tenfold import Tenfold
from tenfold.blocks.database.schema import apply_own
from tenfold.drivers.sqlite import open_writer

ROUNDS = 3
READS = 2_000
UPLOADS = 4
PIECE = 64 * 1024
MEGABYTES = 4


async def serve(app: Any, path: str, times: int) -> float:
    """Microseconds a GET."""

    async def send(message: Any) -> None:
        return None

    never = asyncio.Event()

    async def receive() -> Any:
        await never.wait()  # the client stays, and has nothing more to say

    scope = {
        "type": "http", "method": "GET", "path": path, "root_path": "", "query_string": b"", "client": ("::1", 1),
        "scheme": "http", "headers": [(b"host", b"x"), (b"accept-encoding", b"gzip, br"), (b"user-agent", b"bench")],
    }  # fmt: skip
    began = time.perf_counter()
    for _ in range(times):
        await app(dict(scope), receive, send)
    return (time.perf_counter() - began) / times * 1e6


async def upload(app: Any, size: int) -> float:
    """Milliseconds a POST of a form with one file."""
    head = b'--B\r\nContent-Disposition: form-data; name="f"; filename="a.bin"\r\n\r\n'
    body = head + b"\x89PNG\r\n\x1a\n" + os.urandom(size) + b"\r\n--B--\r\n"
    pieces = [body[at : at + PIECE] for at in range(0, len(body), PIECE)]

    async def send(message: Any) -> None:
        assert message.get("status", 200) == 200, message

    scope = {
        "type": "http", "method": "POST", "path": "/upload", "root_path": "", "query_string": b"", "scheme": "http",
        "headers": [(b"content-type", b"multipart/form-data; boundary=B")], "client": ("::1", 1),
    }  # fmt: skip
    began = time.perf_counter()
    for _ in range(UPLOADS):
        left = iter(pieces)

        async def receive(left: Any = left) -> Any:
            piece = next(left, b"")
            return {"type": "http.request", "body": piece, "more_body": bool(piece)}

        await app(dict(scope), receive, send)
    return (time.perf_counter() - began) / UPLOADS * 1e3


def peer(folder: Path, static: Path) -> Starlette:
    """Starlette's StaticFiles, and a form whose file is copied to the disk and synced by hand."""

    async def keep(request: Request) -> PlainTextResponse:
        async with request.form() as form:
            content = await form["f"].read()  # type: ignore[union-attr]
            target = folder / "peer.bin"
            await asyncio.to_thread(_write, target, content)
        return PlainTextResponse("kept")

    return Starlette(routes=[Route("/upload", keep, methods=["POST"]), Mount("/static", StaticFiles(directory=static))])


def _write(target: Path, content: Any) -> None:
    with target.open("wb") as file:
        file.write(content)
        os.fsync(file.fileno())


async def measure(folder: Path) -> None:
    """Prints the tables."""
    static = folder / "static"
    static.mkdir()
    (static / "site.css").write_bytes(b"body { color: black }\n" * 500)
    path = folder / ".tenfold" / "data" / "bench.db"
    path.parent.mkdir(parents=True)
    connection = open_writer(path, create=True)
    apply_own(connection, now_us=0)
    connection.close()
    tf = Tenfold("bench")
    files = tf.files.static(static)

    async def keep(request: Request) -> PlainTextResponse:
        await tf.files.receive(request.scope, request.receive, limit="100MB", types=("image/png",))
        return PlainTextResponse("kept")

    inner = Starlette(routes=[Route("/upload", keep, methods=["POST"])])
    ours, theirs = tf.asgi(inner, hot=files.routes), peer(folder, static)
    ours._settings = dataclasses.replace(ours._settings, body_limit=100 << 20)
    await tf.open()
    try:
        await report(ours, theirs, files.url("site.css"))
    finally:
        await tf.close()


async def report(ours: Any, theirs: Any, url: str) -> None:
    """Measures in turns and prints medians."""
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for _ in range(ROUNDS):
        note("tenfold: static file, hot (gzip)", await serve(ours, url, READS))
        note("starlette StaticFiles (no gzip)", await serve(theirs, "/static/site.css", READS // 4))
    print(table("A static file of 11 KB, the whole ASGI application", ["way", "µs"], _rows(found)))
    found.clear()
    for _ in range(ROUNDS):
        for size, shown in ((1_000, "1 KB"), (MEGABYTES << 20, f"{MEGABYTES} MB")):
            note(f"tenfold: form with {shown}, checked, counted, durable", await upload(ours, size))
            note(f"starlette: form with {shown}, read, written, synced", await upload(theirs, size))
    print(table("An upload", ["way", "ms"], _rows(found)))


def _rows(found: dict[str, list[float]]) -> list[tuple[str, str]]:
    shown: Callable[[float], str] = "{:,.1f}".format
    return [(name, shown(median(values))) for name, values in found.items()]


def main() -> None:
    """Runs on uvloop, as the web process does, in a temporary folder."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        os.chdir(name)
        try:
            runner.run(measure(Path(name)))
        finally:
            os.chdir(before)
