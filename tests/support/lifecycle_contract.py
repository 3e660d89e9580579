"""What holds for everything that is started and stopped; each such thing has a test that calls this one function."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tenfold.core.lifecycle import Service


async def check_lifecycle(make: Callable[[], Service], running: Callable[[Service], bool]) -> None:
    """Checks the contract of `core.lifecycle.Service`; `running` tells from outside whether the thing is at work."""
    thing = make()
    await thing.stop()
    assert not running(thing), "a stop before any start does nothing"

    for _ in range(2):
        await thing.start()
        await thing.start()
        assert running(thing), "it works once start has returned, and a second start changes nothing"
        await thing.stop()
        assert not running(thing), "nothing is left once stop has returned"
        await thing.stop()

    await asyncio.gather(*(thing.start() for _ in range(5)))
    assert running(thing), "starts at once are one start"
    await asyncio.gather(*(thing.stop() for _ in range(5)))
    assert not running(thing), "stops at once are one stop"

    await thing.start()
    stopping = asyncio.ensure_future(thing.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait([stopping])
    await thing.stop()
    assert not running(thing), "a stop that is cancelled does not leave it half stopped"
