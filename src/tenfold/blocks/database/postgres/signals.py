"""What processes on one PostgreSQL tell each other: keys that the others must drop from their memory.

Keys that are announced within 5 ms travel in one NOTIFY, on a connection of its own and never inside a transaction of
the service, where it would make every commit wait for the one lock of all NOTIFYs. Another connection listens. When it
is lost, messages may have been missed: then everything is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Any

from tenfold.blocks.database import announced
from tenfold.blocks.database.backend import Heard
from tenfold.core.errors import TenfoldError
from tenfold.core.lifecycle import Background
from tenfold.core.randomness import Randomness
from tenfold.core.retry import Backoff
from tenfold.drivers.postgres import Link, Settings
from tenfold.drivers.postgres.failures import FAILURES

CHANNEL = "tf_inval"
TOGETHER_S = 0.005
PAYLOAD = 7_500
"""Bytes of one message; PostgreSQL takes less than 8,000."""

KEY = 1_000
"""Bytes of a key at most; a longer one makes the others drop everything."""

ALIVE_S = 5.0
LAST_S = 1.0
"""How long `stop` tries to send what is pending."""

AGAIN = Backoff(first_s=0.05, limit_s=1.0)


def messages(keys: Iterable[str]) -> list[str]:
    """The keys as payloads of NOTIFY, as few as possible; each a JSON list."""
    parts: list[list[str]] = []
    room = 0
    for key in keys:
        size = len(announced.written([key]).encode())
        if size > KEY:
            return [announced.written([announced.EVERYTHING])]
        if size > room:
            parts.append([])
            room = PAYLOAD
        parts[-1].append(key)
        room -= size
    return [announced.written(part) for part in parts]


class Signals(Background):
    """Announces and listens, from `start` to `stop`. Does neither before somebody wants to hear."""

    def __init__(self, settings: Callable[[], Settings], randomness: Randomness) -> None:
        super().__init__()
        self._settings = settings
        self._randomness = randomness
        self._heard: Heard | None = None
        self._pending: dict[str, None] = {}
        self._speaker: Link | None = None
        self._own: set[int] = set()
        self._sending: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self.listening = False
        """Whether what others announce from now on is heard."""

    def announce(self, keys: Iterable[str]) -> None:
        """Tells the other processes to drop these keys, within 5 ms or so. Called on the loop."""
        self._pending.update(dict.fromkeys(keys))
        if self._sending is None and self._pending:
            self._sending = asyncio.get_running_loop().create_task(self._send(), context=Context())

    async def hear(self, heard: Heard) -> None:
        """Calls `heard` from now on with what others announce; begins to listen."""
        self._heard = heard
        await self.start()

    async def stop(self) -> None:
        """Sends what is pending, and closes both connections."""
        await super().stop()
        if self._sending is not None and (await asyncio.wait([self._sending], timeout=LAST_S))[1]:
            self._sending.cancel()
            await asyncio.wait([self._sending])
        if self._speaker is not None:
            await self._speaker.close()
            self._speaker = None

    # -- speaking -----------------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        failures = 0
        try:
            while self._pending:
                await asyncio.sleep(TOGETHER_S)
                keys, self._pending = self._pending, {}
                try:
                    await self._say(messages(keys))
                    failures = 0
                except (TenfoldError, *FAILURES):
                    failures += 1
                    self._pending = keys | self._pending
                    self._hang_up()
                    await asyncio.sleep(AGAIN.wait_s(failures, self._randomness))
        finally:
            self._sending = None

    async def _say(self, payloads: list[str]) -> None:
        if self._speaker is None or self._speaker.closed:
            self._speaker = await Link.open(self._settings())
            self._own = {self._speaker.pid}
        for payload in payloads:
            await self._speaker.fetch("SELECT pg_notify($1::text, $2::text)", (CHANNEL, payload))

    def _hang_up(self) -> None:
        if self._speaker is not None:
            self._speaker.abandon()
            self._speaker = None

    # -- listening ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Listens for ever, on one connection after the other."""
        failures = 0
        while True:
            try:
                link = await Link.open(self._settings())
            except TenfoldError:
                failures += 1
                await asyncio.sleep(AGAIN.wait_s(failures, self._randomness))
                continue
            try:
                await self._listen(link)
                failures = 0
            except FAILURES:
                failures += 1
                await asyncio.sleep(AGAIN.wait_s(failures, self._randomness))
            finally:
                self.listening = False
                link.abandon()
                self._tell(None)

    async def _listen(self, link: Link) -> None:
        lost = self._lost = asyncio.Event()
        link.connection.add_termination_listener(lambda _: lost.set())
        await link.connection.add_listener(CHANNEL, self._arrived)
        self._tell(None)  # what was announced before this moment was not heard
        self.listening = True
        while not lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ALIVE_S):
                    await lost.wait()
                    return
            async with asyncio.timeout(ALIVE_S):
                await link.execute("SELECT 1")  # a connection that only listens would not notice a dead server

    def _arrived(self, connection: Any, pid: int, channel: str, payload: object) -> None:
        if pid not in self._own:
            self._tell(announced.read(str(payload)))

    def _tell(self, keys: list[str] | None) -> None:
        if self._heard is not None:
            self._heard(keys)
