"""The files block: static files under URLs that name their content, and uploads in a store."""

from __future__ import annotations

from tenfold.blocks.database import Database
from tenfold.core.clock import Clock
from tenfold.core.randomness import Randomness
from tenfold.topology.map import Map

__all__ = ["Files"]


class Files:
    """Files of one service."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness

    async def start(self) -> None:
        """Opens the store."""

    async def stop(self) -> None:
        """Closes it."""

    def adopt(self, new: Map) -> None:
        """Goes by a newer map."""
