"""One lifecycle for everything that runs in the background: start, stop, and no way to do either wrong.

Whatever runs beside requests (a lease that is renewed, a file that is watched) derives from `Background`, and its test
calls the one contract (`tests/support/lifecycle_contract.py`) that holds for all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from typing import Protocol


class Service(Protocol):
    """What can be started and stopped, any number of times, in any order, from several places at once."""

    async def start(self) -> None:
        """Returns when it works; does nothing when it already does."""
        ...

    async def stop(self) -> None:
        """Returns when nothing of it is left; does nothing when it is not running."""
        ...


class Background(ABC):
    """A coroutine that runs from `start` to `stop`.

    Guarantees: `start` and `stop` may be called twice, before each other and at the same time; after `stop` nothing of
    it runs, even when the caller of `stop` was cancelled in the middle; it may be started again. When `run` fails, the
    exception goes to `failed` at once, and `running` is false; it is never lost in a task that nobody looks at.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()

    @property
    def running(self) -> bool:
        """Whether `run` is under way."""
        return self._task is not None and not self._task.done()

    @abstractmethod
    async def run(self) -> None:
        """The work; ends by itself, or by the cancellation that `stop` sends. Clean up in `finally`."""

    def failed(self, error: BaseException) -> None:
        """Called on the loop when `run` ended with an exception; tells the loop's exception handler by default."""
        context = {"message": f"{type(self).__name__} failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)

    async def start(self) -> None:
        """Begins the work; does nothing while it is running."""
        async with self._changing:
            if not self.running:
                self._task = asyncio.create_task(self._guarded(), name=type(self).__name__)

    async def stop(self) -> None:
        """Cancels the work and waits until it has cleaned up; does nothing when it is not running."""
        async with self._changing:
            task, self._task = self._task, None
            if task is None or task.done():
                return
            assert task is not asyncio.current_task(), (
                "the work returns when it wants to end; it cannot wait for itself"
            )
            task.cancel()
            await _ended(task)

    async def _guarded(self) -> None:
        try:
            await self.run()
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody has to hear of it
            self.failed(error)


async def within(event: asyncio.Event, seconds: float) -> bool:
    """Waits for the event; whether it happened within that time."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def _ended(task: asyncio.Task[None]) -> None:
    """Waits for the end of a cancelled task, through cancellations of its own caller, which it passes on afterwards."""
    interrupted: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            interrupted = error
    with contextlib.suppress(asyncio.CancelledError):
        task.result()
    if interrupted is not None:
        raise interrupted
