"""A server for tests of the page: the page itself with the header that forbids everything foreign, and answers and a
stream that the test decides."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import page_scenes as scenes

import tenfold.dashboard
from tenfold.dashboard.pages import Pages
from tenfold.dashboard.picture.model import Picture
from tenfold.dashboard.policy import HEADERS, REPORT_CSP

PAGE = Path(tenfold.dashboard.__file__).parent / "page"
POLICY = HEADERS["content-security-policy"]
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
Answer = tuple[int, Any]


class PageServer:
    """One server, on a port of its own. `picture` is what new viewers see first; `show` sends another one to all."""

    def __init__(self) -> None:
        self.picture = scenes.on_one_server()
        self.ladder = scenes.ladder()
        self.token, self.mode, self.lang = "token-1", "full", "en"
        self.posted: list[tuple[str, Any]] = []
        self.posts: dict[str, Callable[[Any], Answer]] = {
            "/api/plan": lambda body: (200, scenes.plan(body["to"])),
            "/api/do": lambda body: (200, {"move": {"id": "m-8"}}),
            "/api/break": lambda body: (200, {"detail": "it stood still", "effect": True}),
            "/api/heal": lambda body: (200, {"done": []}),
            "/api/load": lambda body: (200, {"load": None}),
        }
        self.gets: dict[str, Callable[[], Any]] = {
            "/api/ladder": lambda: self.ladder,
            "/api/requests": scenes.requests,
            "/api/figures": scenes.figures,
            "/api/proofs": scenes.proofs,
            "/api/log": lambda: {"lines": ["started", "ready", "GET /healthz 200"]},
        }
        self.report = "<!doctype html><title>Proof</title><p>A report."
        self._at_us, self._step_us = scenes.AT_US, 1_000_000
        self._viewers: list[queue.Queue[bytes | None]] = []
        self._start(0)

    def _start(self, port: int) -> None:
        outer = self

        class Handler(_Handler):
            page = outer

        self._http = _Http(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self.port = int(self._http.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def show(self, picture: Picture) -> None:
        """Sends a picture to everybody who looks; its time goes on by itself."""
        self.picture = picture
        for viewer in self._viewers:
            viewer.put(self._event())

    def tell_of_a_move(self) -> None:
        """Says to everybody who looks that a move has begun or ended."""
        for viewer in self._viewers:
            viewer.put(b"event: move\ndata: {}\n\n")

    def stand_still(self) -> None:
        """From now on pictures come with the same time."""
        self._step_us = 0

    def _event(self) -> bytes:
        self._at_us += self._step_us
        told = msgspec.structs.replace(self.picture, at_us=self._at_us)
        return b"event: picture\ndata: " + msgspec.json.encode(told) + b"\n\n"

    def enter(self) -> queue.Queue[bytes | None]:
        """One more viewer, with the first picture."""
        viewer: queue.Queue[bytes | None] = queue.Queue()
        viewer.put(self._event())
        self._viewers.append(viewer)
        return viewer

    def stop(self) -> None:
        """Ends the streams and stops listening."""
        for viewer in self._viewers:
            viewer.put(None)
        self._viewers.clear()
        self._http.shutdown()
        self._http.server_close()

    def restart(self) -> None:
        """Listens again on the same port, with another token, as a server does that was started anew."""
        self.token = "token-2"
        self._start(self.port)


class _Http(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went to another page hangs up; nobody needs to know."""


class _Handler(BaseHTTPRequestHandler):
    page: PageServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/":
            self._file(PAGE / "index.html")
        elif path.startswith("/words/"):
            language = path.removeprefix("/words/").removesuffix(".json")
            self._send(200, TYPES[".json"], bytes(Pages().words(language).body))
        elif path.startswith("/static/v0/"):
            self._file(PAGE / path.removeprefix("/static/v0/"))
        elif path.startswith("/proofs/"):
            self._send(200, TYPES[".html"], self.page.report.encode(), REPORT_CSP)
        elif path == "/api/feed":
            self._stream()
        else:
            found = self.page.gets.get(path)
            self._json(
                *((200, found()) if found else (404, {"detail": "There is no such page.", "code": "TF-NOT-FOUND"}))
            )

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.headers["x-tenfold-csrf"] != self.page.token:
            return self._json(403, {"detail": "This page is of an earlier start.", "code": "TF-DASHBOARD-CSRF"})
        self.page.posted.append((self.path, body))
        return self._json(*self.page.posts[self.path](body))

    def _json(self, status: int, body: Any) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _file(self, path: Path) -> None:
        if not path.is_file():
            return self._json(404, {})
        data = path.read_bytes()
        if path.name == "index.html":
            values = {"csrf": self.page.token, "mode": self.page.mode, "lang": self.page.lang, "static": "/static/v0"}
            for name, value in values.items():
                data = data.replace(b"{{%s}}" % name.encode(), value.encode())
        return self._send(200, TYPES[path.suffix], data)

    def _send(self, status: int, kind: str, data: bytes, policy: str = POLICY) -> None:
        self.send_response(status)
        for name, value in (
            ("content-type", kind),
            ("content-length", str(len(data))),
            ("content-security-policy", policy),
            ("cache-control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _stream(self) -> None:
        self.send_response(200)
        for name, value in (
            ("content-type", "text/event-stream"),
            ("cache-control", "no-store"),
            ("connection", "close"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        viewer = self.page.enter()
        while (event := viewer.get()) is not None:
            try:
                self.wfile.write(event)
                self.wfile.flush()
            except OSError:
                return
