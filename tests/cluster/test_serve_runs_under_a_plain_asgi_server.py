"""`uvicorn package.module:app`, without a keeper: the same application, on its defaults."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from webnode import APP, SUPPORT


def answer(path: Path, request: bytes) -> bytes:
    deadline = time.monotonic() + 20
    while True:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            try:
                client.connect(str(path))
            except OSError:
                assert time.monotonic() < deadline, "it did not start"
                time.sleep(0.02)
                continue
            client.sendall(request)
            return b"".join(iter(lambda: client.recv(65536), b""))


def test_it_serves_opens_and_closes(tmp_path: Path) -> None:
    (tmp_path / "victim_app.py").write_text(APP)
    path = tmp_path / "plain.sock"
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "victim_app:app", "--uds", str(path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{SUPPORT}{os.pathsep}{tmp_path}"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        request = b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert answer(path, request % b"/go/a").startswith(b"HTTP/1.1 301 ")
        assert b'"ready":true' in answer(path, request % b"/readyz")
        assert answer(path, request % b"/metrics").startswith(b"HTTP/1.1 404 "), "a unix socket's peer is anybody"
        assert b"problem+json" in answer(path, request % b"/fails")
        process.terminate()
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert "Application shutdown complete" in errors
