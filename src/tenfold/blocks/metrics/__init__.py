"""The metrics block: what a service counts for its business."""

from __future__ import annotations

from tenfold.blocks.database import Database
from tenfold.core.clock import Clock
from tenfold.core.randomness import Randomness
from tenfold.topology.map import Map

__all__ = ["Metrics"]


class Metrics:
    """Numbers of one service."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness

    async def start(self) -> None:
        """Begins to write down what was counted."""

    async def stop(self) -> None:
        """Writes down the rest."""

    def adopt(self, new: Map) -> None:
        """Goes by a newer map."""
