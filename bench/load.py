"""A load at a fixed rate over every kind of connection; it takes no excuse: what is not a whole answer has failed.

The load is open: each request is sent when it is due, whatever became of the others, and its latency counts from then.
Nothing is sent twice. A connection that the server closed while it was idle is not used again, as any client would do;
one that ends under a request is a failure.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

FRESH, KEPT, IDLE = "fresh", "keep-alive", "idle"
MIX = ((FRESH, 0.2), (KEPT, 0.6), (IDLE, 0.2))
"""Parts of the requests: on a connection of their own, on busy ones, and on ones that rest for up to two seconds."""
IDLE_MOST_S = 2.0
LIMIT_S = 30.0
MOST_OPEN = 5000
"""Requests that wait at once; with more than these the load, or what it measures, does not keep up."""


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection with at most one request on it."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiting: asyncio.Future[bytes] | None = None
        self.free_at = 0.0
        self.closes = False
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, rest = self._data.partition(b"\r\n\r\n")
        if not found or self.waiting is None:
            return
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
        if len(rest) < length:
            return
        self.closes = b"connection: close" in lines
        self._data, waiting, self.waiting = b"", self.waiting, None
        if not waiting.done():
            waiting.set_result(head)

    def connection_lost(self, error: Exception | None) -> None:
        self.closes = True
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(error or ConnectionResetError("closed in the middle"))

    async def ask(self, request: bytes) -> int:
        """Sends it; the status."""
        assert self.transport is not None
        if self.closes:
            raise ConnectionResetError("closed before it was used")
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return int((await asyncio.wait_for(self.waiting, LIMIT_S))[9:12])

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()


@dataclass
class Answer:
    """One request: when it was due and when it ended (wall, s), its kind, and its status or what went wrong."""

    due: float
    ended: float
    kind: str
    status: int
    error: str = ""

    @property
    def failed(self) -> bool:
        """Whether its client did not get what it asked for."""
        return not 200 <= self.status < 400


@dataclass
class Load:
    """Requests at `rate` a second to a port, each one of `requests`; run until `leave`."""

    port: int
    rate: int
    requests: tuple[bytes, ...]
    seed: int = 1
    answers: list[Answer] = field(default_factory=list)
    _free: dict[str, list[_Connection]] = field(default_factory=lambda: {KEPT: [], IDLE: []})
    _leaving: bool = False

    async def run(self) -> None:
        """Sends until `leave`, then waits for what is open."""
        chosen, began, number = random.Random(self.seed), time.time(), 0
        open_ones: set[asyncio.Task[None]] = set()
        kinds, weights = zip(*MIX, strict=True)
        while not self._leaving:
            while (due := began + number / self.rate) <= time.time():
                number += 1
                if len(open_ones) > MOST_OPEN:  # it stalled, or this machine cannot carry so much now
                    self.answers.append(Answer(due, time.time(), "any", 0, "not sent: too many wait"))
                    continue
                kind = chosen.choices(kinds, weights)[0]
                task = asyncio.create_task(self._one(due, kind, chosen))
                open_ones.add(task)
                task.add_done_callback(open_ones.discard)
            await asyncio.sleep(0.001)
        if open_ones:
            await asyncio.wait(open_ones)
        for connection in (*self._free[KEPT], *self._free[IDLE]):
            connection.close()

    def leave(self) -> None:
        """Ends `run` once everything is answered."""
        self._leaving = True

    async def _one(self, due: float, kind: str, chosen: random.Random) -> None:
        request = self.requests[chosen.randrange(len(self.requests))]
        try:
            connection = self._rested(kind, due) or await self._open()
            status, error = await connection.ask(request), ""
            if kind == FRESH or connection.closes:
                connection.close()
            else:
                connection.free_at = due + (chosen.random() * IDLE_MOST_S if kind == IDLE else 0.0)
                self._free[kind].append(connection)
        except (OSError, TimeoutError) as failure:
            status, error = 0, f"{type(failure).__name__}: {failure}"
        self.answers.append(Answer(due, time.time(), kind, status, error))

    def _rested(self, kind: str, now: float) -> _Connection | None:
        free = self._free.get(kind, [])
        for at, connection in enumerate(free):
            if connection.closes:
                continue
            if connection.free_at <= now:
                free.pop(at)
                self._free[kind] = [each for each in free if not each.closes]
                return connection
        return None

    async def _open(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, protocol = await asyncio.wait_for(loop.create_connection(_Connection, "127.0.0.1", self.port), LIMIT_S)
        return protocol


@dataclass(frozen=True)
class Told:
    """What a load found between two moments."""

    requests: int
    failed: int
    longest_s: float
    """The longest that any client waited."""
    p50_s: float
    p99_s: float
    errors: dict[str, int]


def told(answers: list[Answer], begin: float = 0.0, end: float = float("inf")) -> Told:
    """The figures of the requests that were under way at some time between."""
    inside = [each for each in answers if each.ended >= begin and each.due <= end]
    waits = sorted(each.ended - each.due for each in inside) or [0.0]
    wrong = Counter(each.error or str(each.status) for each in inside if each.failed)
    return Told(
        len(inside), sum(wrong.values()), waits[-1], waits[len(waits) // 2], waits[len(waits) * 99 // 100], dict(wrong)
    )
