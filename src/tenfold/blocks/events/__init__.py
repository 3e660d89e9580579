"""The events block: what happened, told to named subscribers that each have a position of their own."""

from __future__ import annotations

from tenfold.blocks.database import Database
from tenfold.core.clock import Clock
from tenfold.core.randomness import Randomness
from tenfold.topology.map import Map

__all__ = ["Events"]


class Events:
    """Events of one service. `publish` never loses one, `record` is buffered for up to 100 ms."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness

    async def start(self) -> None:
        """Begins to write what is recorded, and to deliver, if this process works."""

    async def stop(self) -> None:
        """Writes what was recorded, and delivers no more."""

    def adopt(self, new: Map) -> None:
        """Goes by a newer map."""

    def work(self, on: bool) -> None:
        """Whether this process delivers to subscribers."""

    def busy(self) -> int:
        """Batches that subscribers of this process handle now."""
        return 0
