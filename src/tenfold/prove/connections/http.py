"""Clients that send one request after the other: each kind in the way that hurts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tenfold.prove.client import Connection, Heard, status_of
from tenfold.prove.connections.ground import Ground
from tenfold.prove.history import Operation, Status
from tenfold.prove.workloads.base import Request, field, probe_path, read, write

FINAL_TRIES = 240
FINAL_PAUSE_S = 0.25
"""A minute of looking for the last count of a client."""

Ask = Callable[[str, str], Request]
"""From the client's key and an Idempotency-Key ("" for none) to what it sends."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to use connections. A client of it rests between `rest_s[0]` and `rest_s[1]` between two requests."""

    name: str
    clients: int
    rest_s: tuple[float, float]
    ask: Ask
    fresh: bool = False
    """Each request over a connection of its own."""
    slow_s: float = 0.0
    """The time between the two halves of a body."""
    wait_s: float = 0.0
    """How long the service is asked to wait before it answers."""
    counts: bool = False
    """Whether its requests increase the client's own counter; every other client of the kind sends no key then."""


WAIT_S = 0.3
LATE_S = 0.2
SLOW_S = 1.2


def _hello(key: str, _: str) -> Request:
    return read(probe_path(""), "read", key)


def _wait(key: str, _: str) -> Request:
    return read(probe_path("wait", round(WAIT_S * 1000)), "read", key)


def _late(key: str, once: str) -> Request:
    body = {"by": 1, "wait_ms": round(LATE_S * 1000)}
    return write(probe_path("late", key), "increment", key, 1, body, idempotency=once)


def _count(key: str, once: str) -> Request:
    return write(probe_path("counter", key), "increment", key, 1, {"by": 1}, idempotency=once)


KINDS = (
    Kind("fresh", 2, (0.1, 0.2), _hello, fresh=True),
    Kind("keep-alive", 2, (0.05, 0.15), _hello),
    Kind("idle", 8, (0.0, 2.0), _hello),
    Kind("waiting", 4, (0.0, 0.1), _wait, wait_s=WAIT_S),
    Kind("late-write", 4, (0.0, 0.1), _late, wait_s=LATE_S, counts=True),
    Kind("slow-write", 4, (0.0, 0.3), _count, slow_s=SLOW_S, counts=True),
)
"""`late-write` has committed when its answer is lost with its server; `slow-write` is half sent when a door changes."""

COUNTING = tuple(kind.name for kind in KINDS if kind.counts)


class Client:
    """One client of a kind. It sends everything once; after an unknown outcome it is another client, with another key
    and another connection."""

    def __init__(self, ground: Ground, kind: Kind, number: int) -> None:
        self._ground = ground
        self._kind = kind
        self._name = f"{ground.run}-{kind.name}-{number}"
        self._keyed = kind.counts and number % 2 == 0
        self._connection = Connection(ground.target.host, ground.target.port, ground.now_us)
        self._lives = 0
        self._sent = 0
        self._process = next(ground.processes)
        self.keys = [f"{self._name}-0"]
        """All keys that it had."""

    async def live(self) -> None:
        """Asks until it is over."""
        ground, (least, most) = self._ground, self._kind.rest_s
        while not ground.over.is_set():
            await ground.rest(least + (most - least) * ground.randomness.uniform())
            if not ground.over.is_set():
                await self._ask()
        await self._connection.aclose()

    async def _ask(self) -> None:
        kind, key = self._kind, self.keys[-1]
        self._sent += 1
        request = kind.ask(key, f"{key}-{self._sent}" if self._keyed else "")
        if kind.fresh:
            self._connection.close()
        operation = await self._exchange(request, slow_s=kind.slow_s, own_s=kind.slow_s + kind.wait_s)
        if operation.status is Status.UNKNOWN:
            self._retire()

    def _retire(self) -> None:
        self._connection.close()
        self._process = next(self._ground.processes)
        self._lives += 1
        if self._kind.counts:
            self.keys.append(f"{self._name}-{self._lives}")

    async def _exchange(self, request: Request, *, slow_s: float = 0.0, own_s: float = 0.0) -> Operation:
        ground = self._ground
        sent_us = ground.now_us()
        heard = await self._connection.exchange(request, ground.probe(), slow_s=slow_s)
        operation = self._operation(request, heard, sent_us, round(own_s * 1e6))
        ground.record(operation)
        return operation

    def _operation(self, request: Request, heard: Heard, sent_us: int, own_us: int) -> Operation:
        status, answer = status_of(heard), heard.answer
        return Operation(
            process=self._process,
            function=request.function,
            key=request.key,
            value=field(answer, status, "count"),
            start_us=sent_us,
            sent_us=sent_us,
            end_us=self._ground.now_us(),
            status=status,
            node=answer.headers.get("tf-node", "") if answer else "",
            http=answer.status if answer else 0,
            workload=self._kind.name,
            keyed=request.keyed,
            safe=request.method == "GET",
            begun=heard.begun,
            opened_us=self._connection.opened_us,
            own_us=own_us,
        )

    async def final(self) -> list[str]:
        """Reads its counters, each until it answers; the keys that never did."""
        missing = [key for key in self.keys if not await self._read(key)] if self._kind.counts else []
        await self._connection.aclose()
        return missing

    async def _read(self, key: str) -> bool:
        for _ in range(FINAL_TRIES):
            operation = await self._exchange(read(probe_path("counter", key), "read", key))
            if operation.status is Status.OK:
                return True
            if operation.status is Status.UNKNOWN:
                self._process = next(self._ground.processes)
            await asyncio.sleep(FINAL_PAUSE_S)
        return False
