"""The sessions block: reading the visitor's session, and whole requests that read and change it; with its peer.

The peer is Starlette's SessionMiddleware, which keeps the whole session in the cookie (signed by itsdangerous): it has
no store to ask, cannot end a session, and of two tabs one overwrites the other. Both hold the same values, and both
stand under the same middleware of Tenfold.
"""

from __future__ import annotations

import asyncio
import base64
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from itsdangerous import TimestampSigner
from starlette.middleware.sessions import SessionMiddleware

from bench.report import median, table
from tenfold import Tenfold
from tenfold.blocks.database import DatabaseConfig
from tenfold.blocks.database.schema import apply_own
from tenfold.blocks.database.scope import RequestScope, enter_scope, leave_scope
from tenfold.drivers.sqlite import open_writer

ROUNDS = 7
READS = 5_000
WRITES = 300
VALUES = {"theme": "dark", "cart": [{"id": 17, "count": 2}, {"id": 4, "count": 1}], "seen": 41, "role": "admin"}
SECRET = "so that nobody guesses it"


class Client:
    """Sends requests straight into an ASGI application and keeps its cookies."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.cookies: dict[bytes, bytes] = {}

    @property
    def cookie(self) -> bytes:
        """The header that it sends."""
        return b"; ".join(name + b"=" + value for name, value in self.cookies.items())

    async def request(self) -> None:
        """One request."""
        headers = [(b"cookie", self.cookie)] if self.cookie else []
        scope = {
            "type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"", "headers": headers,
            "scheme": "http", "client": ("127.0.0.1", 1), "server": ("x", 80), "http_version": "1.1", "root_path": "",
        }  # fmt: skip
        await self.app(scope, _receive, self._take)

    async def _take(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            for header, line in message["headers"]:
                name, _, value = line.partition(b";")[0].partition(b"=")
                if header == b"set-cookie" and b"session" in name:
                    self.cookies[name] = value


async def _receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


class Ours:
    """A service whose handler does something with the session."""

    def __init__(self) -> None:
        self.tf = Tenfold("bench")
        self.app = self.tf.asgi(self.answer)
        self.do: Callable[[Any], object] = dict

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        """The handler."""
        session = await self.tf.sessions.current()
        self.do(session)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


class Theirs:
    """The same over Starlette's middleware."""

    def __init__(self) -> None:
        self.app = Tenfold("peer").asgi(SessionMiddleware(self.answer, secret_key=SECRET))
        self.do: Callable[[Any], object] = dict

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        """The handler."""
        self.do(scope["session"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


def read(session: Any) -> object:
    """What a handler reads."""
    return session.get("role"), session.get("theme"), session.get("seen")


def fill(session: Any) -> object:
    """What is in the session."""
    for key, value in VALUES.items():
        session[key] = value
    return None


def count(session: Any) -> object:
    """A change."""
    session["seen"] = session.get("seen", 0) + 1
    return None


async def per_call(call: Callable[[], Awaitable[Any]], calls: int) -> float:
    """Microseconds a call."""
    began = time.perf_counter()
    for _ in range(calls):
        await call()
    return (time.perf_counter() - began) / calls * 1e6


async def bare_reads(ours: Ours, client: Client) -> tuple[float, float]:
    """Microseconds to read the session in a request that has begun: the first time, and again in the same request."""
    scope = {"type": "http", "scheme": "http", "headers": [(b"cookie", client.cookie)]}
    sessions = ours.tf.sessions

    async def first() -> None:
        request = RequestScope()
        request.http = scope
        entered = enter_scope(request)
        (await sessions.current()).get("role")
        leave_scope(entered)

    async def many() -> list[float]:
        request = RequestScope()
        request.http = scope
        enter_scope(request)

        async def again() -> None:
            (await sessions.current()).get("role")

        return [await per_call(again, READS) for _ in range(ROUNDS)]

    times = [await per_call(first, READS) for _ in range(ROUNDS)]
    return median(times), median(await asyncio.create_task(many()))


def peer_read(client: Client) -> float:
    """Microseconds in which the peer gets the session out of its cookie."""
    signer, times = TimestampSigner(SECRET), []
    text = client.cookie.partition(b"=")[2]
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(READS):
            json.loads(base64.b64decode(signer.unsign(text, max_age=3600)))["role"]
        times.append((time.perf_counter() - began) / READS * 1e6)
    return median(times)


async def requests(mine: Client, peer: Client, ours: Ours, theirs: Theirs) -> list[tuple[str, str, str, str]]:
    """(what, ours, theirs, ratio) in microseconds a request, one after another."""
    rows = []
    for name, do, calls in (("untouched", None, READS), ("read", read, READS), ("changed", count, WRITES)):
        found: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(ROUNDS):
            ours.do = theirs.do = do or (lambda session: None)
            found["ours"].append(await per_call(mine.request, calls))
            found["theirs"].append(await per_call(peer.request, calls))
        us, them = median(found["ours"]), median(found["theirs"])
        rows.append((name, f"{us:,.1f}", f"{them:,.1f}", f"{us / them:.2f}"))
    return rows


async def measure(folder: Path) -> None:
    """Prints the tables."""
    path = folder / "bench.db"
    connection = open_writer(path, create=True)
    apply_own(connection, now_us=0)
    connection.close()
    ours, theirs = Ours(), Theirs()
    ours.tf.sessions.keep_keys_in(folder / "secrets")
    await ours.tf.database.start(DatabaseConfig(path, "bench"), print)
    await ours.tf.sessions.start()
    try:
        await report(ours, theirs)
    finally:
        await ours.tf.sessions.stop()
        await ours.tf.database.stop()


async def report(ours: Ours, theirs: Theirs) -> None:
    """Measures and prints."""
    mine, peer = Client(ours.app), Client(theirs.app)
    ours.do = theirs.do = fill
    await mine.request()
    await peer.request()
    first, again = await bare_reads(ours, mine)
    theirs_first = peer_read(peer)
    print(
        table(
            "Reading the session in a request (target: 10 µs)",
            ["way", "µs", "to starlette"],
            [
                ("tenfold, cookie checked, from memory", f"{first:.1f}", f"{first / theirs_first:.2f}"),
                ("tenfold, again in the same request", f"{again:.2f}", f"{again / theirs_first:.2f}"),
                ("starlette (unsign and decode the cookie)", f"{theirs_first:.1f}", "1.00"),
            ],
        )
    )
    rows = await requests(mine, peer, ours, theirs)
    print(table("A whole request, µs (SQLite, durable)", ["session", "tenfold", "starlette", "ratio"], rows))
    print(
        table(
            "Bytes of the cookies after changes",
            ["way", "bytes"],
            [("tenfold", len(mine.cookie)), ("starlette", len(peer.cookie))],
        )
    )


def main() -> None:
    """Runs on uvloop, as the web process does, on a temporary file."""
    with tempfile.TemporaryDirectory() as name, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(measure(Path(name)))
