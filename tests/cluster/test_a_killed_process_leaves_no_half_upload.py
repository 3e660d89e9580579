"""A real web process is killed while uploads stream into it: what was answered is there whole, nothing else is seen."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tier import until
from webnode import Service, service

APP = """
import hashlib
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from tenfold import Tenfold

tf = Tenfold("victim")

async def save(request):
    file = await tf.files.save(request.stream(), owner="ann")
    return JSONResponse({"id": file.id})

async def form(request):
    made = await tf.files.receive(request.scope, request.receive, owner="ann")
    return JSONResponse({"id": made.file("photo").id})

async def found(request):
    files = await tf.files.of("ann", limit=1000)
    seen = {file.id: [hashlib.sha256(await file.bytes()).hexdigest(), file.sha256] for file in files}
    return JSONResponse({"files": seen, "used": await tf.files.used("ann")})

async def tidy(request):
    return JSONResponse({"removed": await tf.files.tidy()})

inner = [("/save", save, "POST"), ("/form", form, "POST"), ("/found", found, "GET"), ("/tidy", tidy, "POST")]
app = tf.asgi(Starlette(routes=[Route(path, endpoint, methods=[method]) for path, endpoint, method in inner]))
"""
SIZE = 300_000
"""Of each whole upload: more than one piece for the store."""
HALF = 700_000
BOUNDARY = "x" * 30


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path, APP, '[public]\nbody_limit = "4MB"\n') as started:
        (Path(started.now.state) / "data").mkdir(parents=True, exist_ok=True)
        migrate = [sys.executable, "-m", "tenfold.control.migrate", "--map", str(tmp_path / "map.json")]
        subprocess.run(migrate, check=True, stdout=subprocess.DEVNULL, timeout=60)
        started.start().until_ready()
        yield started


def ask(running: Service, method: str, path: str, body: bytes = b"") -> Any:
    """One request with a connection of its own; raises when it is not answered with 200."""
    connection = http.client.HTTPConnection("127.0.0.1", running.public.getsockname()[1], timeout=20)
    try:
        connection.request(method, path, body=body)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        return json.loads(text)
    finally:
        connection.close()


def uploading(running: Service, kept: dict[str, str]) -> None:
    """Saves one file after the other until its process is gone; `kept` are those that were answered."""
    try:
        while True:
            content = os.urandom(SIZE)
            kept[ask(running, "POST", "/save", content)["id"]] = hashlib.sha256(content).hexdigest()
    except (OSError, http.client.HTTPException):
        return


def settled(running: Service) -> Any:
    """What is there once the new process has done what waited for it in the listening socket."""
    before, found = None, ask(running, "GET", "/found")
    for _ in range(50):
        if found == before:
            return found
        time.sleep(0.1)
        before, found = found, ask(running, "GET", "/found")
    raise AssertionError("files came without end")


def half_a_form(running: Service) -> socket.socket:
    """A client that has sent the first part of a form, and stays."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="a.bin"\r\n\r\n'.encode()
    client = socket.create_connection(running.public.getsockname(), timeout=20)
    client.sendall(
        f"POST /form HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"Content-Length: {2 * HALF}\r\n\r\n".encode()
        + head
        + bytes(HALF)
    )
    return client


def test_what_was_answered_is_whole_and_the_rest_is_cleared_up(running: Service) -> None:
    files = Path(running.now.state) / "data" / "files"
    kept: dict[str, str] = {}
    with half_a_form(running) as client:
        until(lambda: any(draft.stat().st_size for draft in files.glob("drafts/*")), "the half form is on the disk")
        assert ask(running, "POST", "/tidy")["removed"] == 0, "a draft under way is nobody's to remove"
        threads = [threading.Thread(target=uploading, args=(running, kept)) for _ in range(2)]
        for thread in threads:
            thread.start()
        until(lambda: len(kept) >= 6, "some uploads are answered")
        running.nodes[0].process.kill()
        assert client.recv(1000) == b"", "the half form was not answered"
    for thread in threads:
        thread.join()
    drafts = list(files.glob("drafts/*"))
    assert drafts, "the half form has left its draft, else this test shows nothing"

    assert running.nodes[0].exit_code() == -signal.SIGKILL
    running.restart(0)
    found = settled(running)
    for seen, said in found["files"].values():
        assert seen == said, "what is seen is whole"
    assert {file_id: seen for file_id, (seen, _) in found["files"].items() if file_id in kept} == kept
    unanswered = len(found["files"]) - len(kept)
    assert 0 <= unanswered <= 2 * len(threads), (
        "of each client one was under way, and one may have waited in the socket"
    )
    assert found["used"] == len(found["files"]) * SIZE, "the quota counts what is there, and no half form"

    assert ask(running, "POST", "/tidy")["removed"] == len(drafts)
    assert list(files.glob("drafts/*")) == []
    assert ask(running, "GET", "/found") == found
