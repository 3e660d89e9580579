"""What was seen last, for any number of viewers, and the stream of it (server-sent events).

A viewer that is slow misses pictures and never holds up the others: there is only the newest one, and the moves that
began or ended lately.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from tenfold.core.errors import Unavailable
from tenfold.core.lifecycle import within

VIEWERS_MAX = 32
HEARTBEAT_S = 10.0
"""How long a stream is silent at most; without pictures a comment is sent."""
MOVES_KEPT = 16
AGAIN_MS = 1000
"""How soon a browser comes back after the stream has ended."""


class Feed:
    """The newest picture and the newest moves, as text that is ready to be sent."""

    def __init__(self) -> None:
        self.picture = b""
        self.viewers = 0
        self._number = 0
        self._moves: deque[tuple[int, bytes]] = deque(maxlen=MOVES_KEPT)
        self._changed = asyncio.Event()
        self._wanted = asyncio.Event()
        self._closed = False

    # Who looks

    def publish(self, picture: bytes) -> None:
        """A new picture, as JSON."""
        self.picture = picture
        self._tell()

    def move(self, facts: bytes) -> None:
        """A move has begun or ended; its facts as JSON."""
        self._moves.append((self._number + 1, facts))
        self._tell()

    def close(self) -> None:
        """Ends all streams."""
        self._closed = True
        self._tell()

    def _tell(self) -> None:
        self._number += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def look(self) -> None:
        """A new picture is wanted now: something was changed."""
        self._wanted.set()

    async def wanted(self, limit_s: float) -> None:
        """Returns when a new picture is wanted, and after `limit_s` in any case."""
        await within(self._wanted, limit_s)
        self._wanted.clear()

    # Who is looked at

    async def next(self, limit_s: float) -> bytes:
        """A picture that is made from now on. Raises `Unavailable` when none comes in that time."""
        self._wanted.set()
        before = self.picture
        try:
            async with asyncio.timeout(limit_s):
                while self.picture is before and not self._closed:
                    await self._changed.wait()
        except TimeoutError:
            raise Unavailable("There is no picture yet.", hint="See `tenfold logs dashboard`.") from None
        return self.picture

    def enter(self) -> AsyncIterator[bytes]:
        """The stream of one more viewer. Raises `Unavailable` when there are too many."""
        if self.viewers >= VIEWERS_MAX:
            raise Unavailable(f"{VIEWERS_MAX} pages look already.", hint="Close one of them.", code="TF-DASHBOARD-FULL")
        return self._stream()

    async def _stream(self) -> AsyncIterator[bytes]:
        self.viewers += 1
        self._wanted.set()
        try:
            seen, shown = self._number, b""
            yield f"retry: {AGAIN_MS}\n\n".encode()
            while not self._closed:
                changed = self._changed
                for number, facts in self._moves:
                    if number > seen:
                        yield _event("move", facts)
                seen = self._number
                if self.picture and self.picture is not shown:
                    shown = self.picture
                    yield _event("picture", shown)
                if changed is self._changed and not await within(changed, HEARTBEAT_S):
                    yield b": nothing new\n\n"
        finally:
            self.viewers -= 1


def _event(kind: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)
