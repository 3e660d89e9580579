"""The probe's job, which notes its starts and has one effect, and its session, through public blocks only."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from tenfold import Conflict, Tenfold, Transaction
from tenfold.prove.probe.data import Data

NUMBER = "probe"
"""The key in a session that is counted."""


class Jobs:
    """Enqueues jobs of one key each, and says what became of them. Making it declares the task."""

    def __init__(self, tf: Tenfold, data: Data) -> None:
        self._tf = tf
        self._data = data
        self.run, self.enqueue = _job(tf, data)

    async def looked(self, key: str) -> dict[str, Any]:
        """How often the job of that key has had its effect, and how its attempts began."""
        return {"count": await self._data.count(key), "starts": await self._data.elements(key)}

    async def done(self, key: str) -> dict[str, Any]:
        """The same, once there is an effect; `Conflict` until then: to wait for a job is no failure of the service.

        Dead letters are made ready again, as a person would do: a job whose process was killed three times is one.
        """
        found = await self.looked(key)
        if not found["count"]:
            await self._tf.tasks.replay(self.run)
            raise Conflict("The job is not done yet.", hint="Ask again.", code="TF-PROBE-PENDING")
        return found


def _job(tf: Tenfold, data: Data) -> tuple[Any, Callable[[str, int], Awaitable[str]]]:
    @tf.database.transaction(key="key")
    async def finish(tx: Transaction, key: str) -> None:
        await data.add_to_counter(tx, key, 1)
        await tf.tasks.complete(tx)

    @tf.tasks.task("tenfold.probe", timeout="30s")
    async def run(key: str, takes_ms: int) -> None:
        began_us = round(tf.clock.monotonic() * 1_000_000)
        with contextlib.suppress(Conflict):  # it was there already: the answer to its commit was lost
            await data.add(key, f"{tf.tasks.current().crashes}.{began_us}")
        await asyncio.sleep(takes_ms / 1000)
        await finish(key)

    @tf.database.transaction(key="key")
    async def enqueue(tx: Transaction, key: str, takes_ms: int) -> str:
        return await tf.tasks.enqueue(tx, run, key, takes_ms)

    return run, enqueue


async def increment_session(tf: Tenfold, by: int) -> dict[str, Any]:
    """Counts up in the visitor's session; a visitor without one gets one."""
    session = await tf.sessions.current()
    session.incr(NUMBER, by)
    return {"count": session.get(NUMBER)}


async def look_at_session(tf: Tenfold) -> dict[str, Any]:
    """What the visitor's session says."""
    return {"count": (await tf.sessions.current()).get(NUMBER, 0)}
