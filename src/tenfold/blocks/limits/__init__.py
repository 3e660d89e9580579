"""The limits block: how often somebody may do something (GCRA), several limits charged together or not at all."""

from __future__ import annotations

from tenfold.blocks.database import Database
from tenfold.core.clock import Clock
from tenfold.core.randomness import Randomness
from tenfold.topology.map import Map

__all__ = ["Limits"]


class Limits:
    """Limits of one service."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness

    async def start(self) -> None:
        """Begins to share what is left with the other processes, where there are some."""

    async def stop(self) -> None:
        """Gives back what was not spent."""

    def adopt(self, new: Map) -> None:
        """Goes by a newer map."""
