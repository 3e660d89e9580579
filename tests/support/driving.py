"""A small closed-loop load over real connections: clients that ask one thing after the other, and what they hear."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from tenfold.core.randomness import SeededRandomness
from tenfold.prove.history import Operation, Recording, Status, Window
from tenfold.prove.workloads import Answer, Request, Workload

FINAL_WITHIN_S = 60.0
"""Jobs whose process died twice run one after another, and each takes up to 1.5 s."""
REFUSED = (400, 404, 409, 410, 413, 422, 429, 503, 507)


def now_us() -> int:
    return time.monotonic_ns() // 1000


def status_of(answer: httpx.Response | None) -> Status:
    if answer is None or answer.status_code in (500, 502, 504):
        return Status.UNKNOWN
    return Status.FAIL if answer.status_code in REFUSED else Status.OK


@dataclass
class Drive:
    """One run of some workloads against one address; `window` notes faults, `recording` is what came of it."""

    address: str
    secret: str
    workloads: list[Workload]
    seed: int = 1
    operations: list[Operation] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    _processes: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    @property
    def recording(self) -> Recording:
        operations = sorted(self.operations, key=lambda each: each.start_us)
        return Recording(tuple(operations), tuple(self.windows), self.seed)

    async def run(self, seconds: float, fault: Callable[[Drive], Awaitable[None]] | None, clients: int = 4) -> None:
        """Load with `clients` for each workload, the fault in the middle, and then the final reads."""
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for workload in self.workloads:
                for _ in range(clients):
                    group.create_task(self._client(workload, until))
            if fault is not None:
                await asyncio.sleep(seconds / 2)
                await fault(self)
        for workload in self.workloads:
            await self._final(workload)

    def connection(self) -> httpx.AsyncClient:
        headers = {"tf-probe": self.secret}
        return httpx.AsyncClient(base_url=self.address, headers=headers, trust_env=False, timeout=20)

    async def _client(self, workload: Workload, until: float) -> None:
        process = next(self._processes)
        randomness = SeededRandomness(self.seed * 1000 + process)
        async with self.connection() as connection:
            while time.monotonic() < until:
                operation = await self._ask(connection, workload, workload.next(process, randomness), process)
                if operation.status is Status.UNKNOWN:
                    process = next(self._processes)
                    connection.cookies.clear()
                if operation.status is not Status.OK:
                    await asyncio.sleep(0.02)

    async def _final(self, workload: Workload) -> None:
        process = next(self._processes)
        deadline = time.monotonic() + FINAL_WITHIN_S
        async with self.connection() as connection:
            for request in workload.final():
                while (operation := await self._ask(connection, workload, request, process)).status is not Status.OK:
                    assert time.monotonic() < deadline, f"the final read of {request.key} never succeeded"
                    process = next(self._processes) if operation.status is Status.UNKNOWN else process
                    await asyncio.sleep(0.05)

    async def _ask(
        self, connection: httpx.AsyncClient, workload: Workload, request: Request, process: int
    ) -> Operation:
        sent = now_us()
        answer, refused = None, False
        try:
            # The token travels as a cookie, which the connection keeps.
            answer = await connection.request(
                request.method, request.path, headers=dict(request.headers), content=request.body
            )
        except httpx.ConnectError:
            refused = True
        except httpx.TransportError:
            pass
        end = now_us()
        status = Status.FAIL if refused else status_of(answer)
        seen = None if answer is None else Answer(answer.status_code, dict(answer.headers), answer.content)
        operation = Operation(
            process=process,
            function=request.function,
            key=request.key,
            value=workload.observed(request, seen, status),
            start_us=sent,
            sent_us=sent,
            end_us=end,
            status=status,
            node=seen.headers.get("tf-node", "") if seen else "",
            http=seen.status if seen else 0,
            workload=workload.name,
            keyed=request.keyed,
        )
        self.operations.append(operation)
        return operation


async def put_clock_off(drive: Drive, seconds: float) -> Any:
    """Puts the clock of the process that answers off, and notes it."""
    began = now_us()
    async with drive.connection() as connection:
        answer = await connection.post("/tf-probe/clock", json={"offset_s": seconds})
    assert answer.status_code == 200, answer.text
    drive.windows.append(Window("clock", "web-1", began, now_us(), answer.json()["offset_s"] == seconds))
