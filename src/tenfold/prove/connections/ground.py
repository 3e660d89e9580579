"""What all clients of connections share: where they go, where their operations go, and when they stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tenfold.core.randomness import Randomness
from tenfold.prove.client import Target
from tenfold.prove.history import Operation, Status


@dataclass
class Ground:
    """`run` is a short text that no other run has, `processes` numbers clients as the load does, `now_us` is the clock
    of the history. `over` is set when the clients shall stop."""

    target: Target
    run: str
    record: Callable[[Operation], None]
    now_us: Callable[[], int]
    randomness: Randomness
    processes: Iterator[int]
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def rest(self, seconds: float) -> None:
        """Waits so long, or until it is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.over.wait()

    def probe(self) -> dict[str, str]:
        """The header that the probe asks for."""
        return {"tf-probe": self.target.secret}


class Diary:
    """Writes down what one client of a stream (`key`) sees. A client that does not know an outcome retires."""

    def __init__(self, ground: Ground, workload: str, key: str) -> None:
        self._ground = ground
        self._workload = workload
        self.key = key
        self._process = next(ground.processes)
        self.last_us = ground.now_us()
        """When something was last heard."""
        self.opened_us = 0

    def note(
        self,
        function: str,
        value: object,
        status: Status,
        *,
        start_us: int = 0,
        alive_us: int = 0,
        http: int = 0,
        own_us: int = 0,
    ) -> None:
        """One operation that ends now; it was sent when something was last heard, and due then or at `start_us`."""
        now = self._ground.now_us()
        operation = Operation(
            process=self._process,
            function=function,
            key=self.key,
            value=value,
            start_us=start_us or self.last_us,
            sent_us=self.last_us,
            end_us=now,
            status=status,
            http=http,
            workload=self._workload,
            safe=True,
            begun=function != "connect",
            opened_us=self.opened_us,
            own_us=own_us,
            alive_us=alive_us,
        )
        self.last_us = now
        if status is Status.UNKNOWN:
            self._process = next(self._ground.processes)
        self._ground.record(operation)
