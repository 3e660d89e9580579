"""Browsers and processes for the tests of the sessions block: real ASGI requests through the middleware, no sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from databases import Kit
from sqlalchemy import MetaData

from tenfold import Request, Response, Tenfold
from tenfold.blocks.database import DatabaseConfig
from tenfold.blocks.sessions import Session, Sessions
from tenfold.blocks.sessions.policy import Rules
from tenfold.core.clock import SystemClock

Headers = list[tuple[bytes, bytes]]
Do = Callable[[Session], Any]


@dataclass
class Answer:
    """What a browser got."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    result: Any = None
    """What the handler returned."""

    def all(self, name: str) -> list[str]:
        return [value.decode() for key, value in self.headers if key.decode() == name]

    @property
    def cookies(self) -> list[str]:
        """Those of the sessions block."""
        return [text for text in self.all("set-cookie") if not text.startswith("tf_token=")]


class Process:
    """A service of its own, as another process would have it. Its wall clock can be put off (`clock.put_off`)."""

    def __init__(self, secrets: Path) -> None:
        self.clock = SystemClock()
        self.tf = Tenfold("shop", clock=self.clock)
        self.tf.sessions.keep_keys_in(secrets)
        self.hot_answer = Response.text("hot")
        self.app = self.tf.asgi(self._run, hot={"/hot": self._hot})

    @property
    def sessions(self) -> Sessions:
        return self.tf.sessions

    def rules(self, idle_s: float, lifetime_s: float) -> None:
        """As a map would say."""
        self.sessions._store.rules = Rules(idle_s, lifetime_s)

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        answer: Answer = scope["tf.answer"]
        answer.result = await scope["tf.do"]()
        await send({"type": "http.response.start", "status": scope["tf.status"], "headers": scope["tf.headers"]})
        await send({"type": "http.response.body", "body": b"done"})

    async def _hot(self, request: Request) -> Response:
        session = await self.sessions.current()
        return self.hot_answer if session.incr("hot") else Response()

    @contextlib.asynccontextmanager
    async def opened(self, config: DatabaseConfig) -> AsyncIterator[Process]:
        await self.tf.database.start(config, print)
        try:
            await self.sessions.start()
            yield self
        finally:
            await self.sessions.stop()
            await self.tf.database.stop()


class Browser:
    """One client with its cookies. `jar` is by name."""

    def __init__(self, process: Process, *, scheme: str = "http") -> None:
        self.process = process
        self.scheme = scheme
        self.jar: dict[str, str] = {}

    def at(self, process: Process) -> Browser:
        """The same browser, whose requests go to another process; the cookies are shared."""
        other = Browser(process, scheme=self.scheme)
        other.jar = self.jar
        return other

    def copy(self) -> Browser:
        """Somebody with the same cookies."""
        other = Browser(self.process, scheme=self.scheme)
        other.jar = dict(self.jar)
        return other

    @property
    def cookie(self) -> str:
        """The session's."""
        return self.jar.get("__Host-shop_session" if self.scheme == "https" else "shop_session", "")

    async def send(
        self,
        do: Callable[[], Awaitable[Any]],
        *,
        method: str = "POST",
        headers: Sequence[tuple[bytes, bytes]] = (),
        status: int = 200,
        answers: Sequence[tuple[bytes, bytes]] = (),
        cookies: str | None = None,
        path: str = "/",
    ) -> Answer:
        """One request whose handler is `do`; it answers with `status` and the headers `answers`."""
        sent = "; ".join(f"{name}={value}" for name, value in self.jar.items()) if cookies is None else cookies
        answer = Answer()
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": self.scheme,
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": ("192.0.2.1", 5),
            "server": ("shop", 80), "headers": [*headers, *([(b"cookie", sent.encode())] if sent else [])],
            "tf.do": do, "tf.answer": answer, "tf.status": status, "tf.headers": list(answers),
        }  # fmt: skip

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def take(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status, answer.headers = message["status"], list(message["headers"])
            else:
                answer.body += message.get("body", b"")

        await self.process.app(scope, receive, take)
        for text in answer.cookies:
            self.keep(text)
        return answer

    async def do(self, do: Do | None = None, **options: Any) -> Answer:
        """One request that works on the session; `do` may be a coroutine function."""

        async def handler() -> Any:
            session = await self.process.sessions.current()
            result = dict(session.items()) if do is None else do(session)
            return await result if asyncio.iscoroutine(result) else result

        return await self.send(handler, **options)

    async def see(self) -> dict[str, Any]:
        """What the session holds."""
        answer = await self.do()
        assert answer.status == 200, answer.body
        seen: dict[str, Any] = answer.result
        return seen

    async def user(self) -> str | None:
        found: str | None = (await self.do(lambda session: session.user)).result
        return found

    async def login(self, user: str, **values: Any) -> Answer:
        return await self.send(lambda: self.process.sessions.login(user, **values))

    async def logout(self) -> Answer:
        return await self.send(self.process.sessions.logout)

    def keep(self, text: str) -> None:
        """Takes a `set-cookie` header to heart."""
        pair, *attributes = text.split("; ")
        name, _, value = pair.partition("=")
        if "Max-Age=0" in attributes:
            self.jar.pop(name, None)
        else:
            self.jar[name] = value


def put(key: str, value: Any) -> Do:
    """A handler that sets a key."""
    return lambda session: session.set(key, value)


@contextlib.asynccontextmanager
async def two(config: DatabaseConfig, secrets: Path) -> AsyncIterator[tuple[Process, Process]]:
    """Two processes on one database."""
    async with Process(secrets).opened(config) as here, Process(secrets).opened(config) as there:
        yield here, there


def run_two(kit: Kit, folder: Path, test: Callable[[Process, Process], Awaitable[None]]) -> None:
    """Runs a test with two processes on an empty database."""

    async def work() -> None:
        async with two(kit.create(folder, MetaData()), folder / "secrets") as (here, there):
            await test(here, there)

    asyncio.run(work())
