"""All clients of connections of one run."""

from __future__ import annotations

import asyncio

from tenfold.prove.connections import events, http, websocket
from tenfold.prove.connections.ground import Ground

STREAMS = (websocket.NAME, events.NAME)
_Client = http.Client | websocket.Client | events.Client

BEGIN_WITHIN_S = 0.5
"""They begin one after the other, not all at once."""


class Visitors:
    """Runs a few clients of every kind until it is told to stop."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._counting = [http.Client(ground, kind, each) for kind in http.KINDS for each in range(kind.clients)]
        self._streams = [websocket.Client(ground, each) for each in range(websocket.CLIENTS)]
        self._events = [events.Client(ground, each) for each in range(events.CLIENTS)]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begins; returns at once."""
        everybody: list[_Client] = [*self._counting, *self._streams, *self._events]
        for number, client in enumerate(everybody):
            work = self._late(client, BEGIN_WITHIN_S * number / len(everybody))
            self._tasks.append(asyncio.get_running_loop().create_task(work))

    async def _late(self, client: _Client, seconds: float) -> None:
        await self._ground.rest(seconds)
        await client.live()

    async def stop(self) -> list[str]:
        """Lets every client end what it has begun; says what went wrong in one of them (a fault of the prover)."""
        self._ground.over.set()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        return [f"a client of the prover failed: {each!r}" for each in ended if isinstance(each, BaseException)]

    async def final_reads(self) -> list[str]:
        """Reads every counter once more; the keys that nobody answered for."""
        return [key for client in self._counting for key in await client.final()]

    async def abandon(self) -> None:
        """Ends those that still run, at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
