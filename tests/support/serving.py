"""A runtime without blocks, and a client that speaks ASGI: serve is tested without the rest of the house."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import MetaData

from tenfold.blocks.database import Database, Holding
from tenfold.blocks.limits import Limits
from tenfold.blocks.tasks import Tasks
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import Unavailable
from tenfold.core.randomness import Randomness, SeededRandomness
from tenfold.serve.asgi import TenfoldASGI


class FakeRuntime:
    """Satisfies `tenfold.serve.runtime.Runtime` and records what was asked of it."""

    def __init__(self, current: Any = None) -> None:
        self.name = "fake"
        self.clock: Clock = SYSTEM_CLOCK
        self.randomness: Randomness = SeededRandomness(7)
        self.map = current
        self.calls: list[str] = []
        self.not_ready = ""
        self.open_error: Exception | None = None
        self.unprepared = ""
        self.jobs = 0
        self.holding = Holding()
        self.limits = Limits(Database(MetaData()), self.clock, self.randomness)
        self.tasks = Tasks(Database(MetaData()), self.clock, self.randomness)
        self.look: Callable[[], object] = list
        self.counted: dict[str, Callable[[], object]] = {}
        self.fatal: Callable[[BaseException], None] | None = None

    async def open(self) -> None:
        self.calls.append("open")
        if self.open_error:
            raise self.open_error

    async def close(self) -> None:
        self.calls.append("close")

    def adopt(self, new: Any) -> None:
        self.calls.append(f"adopt {new.epoch}")
        self.map = new

    def ready(self) -> tuple[bool, str]:
        return not self.not_ready, self.not_ready

    async def prepared(self, limit_s: float) -> None:
        if self.unprepared:
            raise Unavailable(self.unprepared)

    def works(self) -> bool:
        return "leave" not in self.calls

    def leave(self) -> None:
        self.calls.append("leave")

    def busy(self) -> int:
        return self.jobs

    def on_stale(self, look: Callable[[], object]) -> None:
        self.look = look

    def collectors(self) -> dict[str, Callable[[], object]]:
        return self.counted

    def on_fatal(self, callback: Callable[[BaseException], None]) -> None:
        self.fatal = callback


@dataclass
class Answer:
    """What came back: `messages` are the raw ASGI messages, `aborted` the exception that cut the response off."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    aborted: BaseException | None = None

    @property
    def status(self) -> int:
        starts = [message for message in self.messages if message["type"] == "http.response.start"]
        assert len(starts) == 1, f"one response has one start, not {len(starts)}"
        return int(starts[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        start = next(message for message in self.messages if message["type"] == "http.response.start")
        return {name.decode(): value.decode("latin-1") for name, value in start["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(
            message.get("body", b"") for message in self.messages if message["type"] == "http.response.body"
        )

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        return msgspec.json.decode(self.body, type=dict)


def http_scope(method: str, path: str, headers: list[tuple[str, str]] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers or []],
        "client": ("203.0.113.9", 4711),
        "scheme": "http",
        "http_version": "1.1",
        "server": ("127.0.0.1", 80),
        "root_path": "",
        **more,
    }


async def exchange(app: Any, scope: dict[str, Any], body: bytes | list[bytes] = b"", *, leaves: bool = False) -> Answer:
    """One request. A list of bodies comes in parts; `leaves` closes the connection after them."""
    parts = [body] if isinstance(body, bytes) else list(body)
    inbox: list[dict[str, Any]] = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if leaves:
        inbox.append({"type": "http.disconnect"})
    else:
        inbox[-1]["more_body"] = False
    answer = Answer()

    async def receive() -> dict[str, Any]:
        if not inbox:
            await asyncio.Event().wait()  # a client that stays and says nothing more
        return inbox.pop(0)

    async def send(message: dict[str, Any]) -> None:
        answer.messages.append(dict(message))

    try:
        async with asyncio.timeout(20):
            await app(scope, receive, send)
    except Exception as error:
        answer.aborted = error
    return answer


def call(
    app: TenfoldASGI,
    method: str,
    path: str,
    headers: list[tuple[str, str]] | None = None,
    body: bytes | list[bytes] = b"",
    *,
    leaves: bool = False,
    **more: Any,
) -> Answer:
    """One request on a loop of its own."""
    return asyncio.run(exchange(app, http_scope(method, path, headers, **more), body, leaves=leaves))
