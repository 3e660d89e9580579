"""Open-loop load: requests are due at a fixed rate, whether or not earlier ones were answered.

Latency counts from the moment a request was due (Tene, "How NOT to Measure Latency", 2013): a server that stalls for a
second is charged for all that should have been sent in it. A client does one thing at a time and retires after an
unknown outcome, because what it does next could not be ordered after it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tenfold.core.clock import Clock
from tenfold.core.randomness import Randomness
from tenfold.prove.client import Connection, Heard, Target, status_of
from tenfold.prove.history import Operation, Status
from tenfold.prove.workloads.base import PROBE, Request, Workload

CLIENTS_MAX = 4096
"""A pause of 10 s at 400 requests a second; as many connections wait in a listener's queue."""
KEYED_TRIES = 40
KEYED_PAUSE_S = 0.25
FINAL_WITHIN_S = 60.0
SLOW_BODY_S = 0.05
FRESH_SHARE = 0.15
SLOW_SHARE = 0.02
IDLE_SHARE = 0.05
"""Shares of requests over a fresh connection, with a body that comes late, over a connection that was idle."""


@dataclass(frozen=True, slots=True)
class Reached:
    """What the load came to. `late` is how many requests found no free client when they were due."""

    sent: int
    seconds: float
    late: int

    @property
    def rate(self) -> float:
        """Requests a second that were really sent."""
        return self.sent / self.seconds if self.seconds else 0.0


class _Client:
    """One client: its number, its connection, the token it carries, and a workload to take requests from."""

    def __init__(self, process: int, workload: Workload, target: Target, now_us: Callable[[], int]) -> None:
        self.process = process
        self.workload = workload
        self.connection = Connection(target.host, target.port, now_us)
        self.token = ""


class Load:
    """Drives workloads against a target; every outcome goes to `record`.

    `processes` numbers the clients of the whole run, so that no number is used twice.
    """

    def __init__(
        self,
        target: Target,
        workloads: Sequence[Workload],
        record: Callable[[Operation], None],
        *,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._target = target
        self._workloads = workloads
        self._record = record
        self._clock = clock
        self._randomness = randomness
        self._processes = itertools.count(1)
        self._free: dict[str, list[_Client]] = {workload.name: [] for workload in workloads}
        self._open = 0
        self._errors: list[BaseException] = []
        self.sent = 0

    def now_us(self) -> int:
        """Microseconds of the clock that operations are recorded by."""
        return round(self._clock.monotonic() * 1_000_000)

    async def run(self, rate: float, seconds: float) -> Reached:
        """Sends `rate` requests a second for so long, in turn over the workloads, and waits for the last answers."""
        began, late = self.now_us(), 0
        pending: set[asyncio.Task[None]] = set()
        turns = itertools.cycle(self._workloads)
        try:
            for number in range(round(rate * seconds)):
                due = began + round(number * 1_000_000 / rate)
                await self._until(due)
                workload = next(turns)
                client = self._client(workload)
                if client is None:
                    late += 1
                    continue
                task = asyncio.create_task(self._one(client, due))
                pending.add(task)
                task.add_done_callback(pending.discard)
                task.add_done_callback(self._ended)
            elapsed = (self.now_us() - began) / 1e6
        finally:  # also when interrupted: what was sent is recorded, or the history would lack a write that others saw
            if pending:
                await asyncio.wait(pending)
        if self._errors:
            raise self._errors[0]
        return Reached(self.sent, elapsed, late)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._errors.append(error)

    async def final_reads(self) -> list[str]:
        """Makes the reads that every workload wants at the end, each until it is answered; what never was."""
        missing: list[str] = []
        for workload in self._workloads:
            client = self._made(workload)
            for request in workload.final():
                found = await self._final(client, request)
                missing += [] if found else [f"{workload.name}: {request.key}"]
            await client.connection.aclose()
        return missing

    async def close(self) -> None:
        """Closes all connections."""
        for clients in self._free.values():
            for client in clients:
                await client.connection.aclose()
            clients.clear()

    async def _until(self, due_us: int) -> None:
        wait = (due_us - self.now_us()) / 1e6
        await asyncio.sleep(max(0.0, wait))

    def _client(self, workload: Workload) -> _Client | None:
        free = self._free[workload.name]
        if free:
            # The newest is busy, so the oldest have been idle for long; now and then one of those is used again.
            return free.pop(0) if self._randomness.uniform() < IDLE_SHARE else free.pop()
        if self._open >= CLIENTS_MAX:
            return None
        self._open += 1
        return self._made(workload)

    def _made(self, workload: Workload) -> _Client:
        return _Client(next(self._processes), workload, self._target, self.now_us)

    async def _one(self, client: _Client, due_us: int) -> None:
        request = client.workload.next(client.process, self._randomness)
        fresh = self._randomness.uniform() < FRESH_SHARE
        if fresh:
            client.connection.close()
        slow_s = SLOW_BODY_S if request.body and self._randomness.uniform() < SLOW_SHARE else 0.0
        operation = await self._ask(client, request, due_us, slow_s)
        if operation.status is Status.UNKNOWN:
            client.connection.close()
            client = self._made(client.workload)
        self._free[client.workload.name].append(client)

    async def _ask(self, client: _Client, request: Request, due_us: int, slow_s: float = 0.0) -> Operation:
        sent_us = self.now_us()
        self.sent += 1
        heard, attempts = await self._heard(client, request, slow_s)
        status = status_of(heard)
        answer = heard.answer
        if answer is not None:
            client.token = answer.headers.get("tf-token", client.token)
        operation = Operation(
            process=client.process,
            function=request.function,
            key=request.key,
            value=client.workload.observed(request, answer, status),
            start_us=due_us,
            sent_us=sent_us,
            end_us=self.now_us(),
            status=status,
            node=answer.headers.get("tf-node", "") if answer else "",
            token=client.token,
            http=answer.status if answer else 0,
            workload=client.workload.name,
            keyed=request.keyed,
            attempts=attempts,
            safe=request.method == "GET",
            begun=heard.begun,
            opened_us=client.connection.opened_us,
        )
        self._record(operation)
        return operation

    async def _heard(self, client: _Client, request: Request, slow_s: float) -> tuple[Heard, int]:
        """A keyed request is sent until its outcome is known, as clients with a key do; others once."""
        begun = False
        for attempt in range(1, KEYED_TRIES + 1):
            heard = await client.connection.exchange(request, self._headers(client, request), slow_s=slow_s)
            begun = begun or heard.begun
            if not request.keyed or status_of(heard) is not Status.UNKNOWN or attempt == KEYED_TRIES:
                return Heard(heard.answer, heard.sent, begun), attempt
            await asyncio.sleep(KEYED_PAUSE_S)
        raise AssertionError("the last attempt returns")

    def _headers(self, client: _Client, request: Request) -> dict[str, str]:
        headers = {"tf-token": client.token} if client.token else {}
        if request.path.startswith(PROBE):
            headers["tf-probe"] = self._target.secret
        return headers

    async def _final(self, client: _Client, request: Request) -> bool:
        until = self._clock.monotonic() + FINAL_WITHIN_S
        while True:
            operation = await self._ask(client, request, self.now_us())
            if operation.status is Status.OK or operation.http in (404, 410):
                return True
            if self._clock.monotonic() > until:
                return False
            if operation.status is Status.UNKNOWN:
                client.process = next(self._processes)
            await asyncio.sleep(0.1)
