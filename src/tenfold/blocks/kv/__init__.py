"""The kv block: values under keys, with compare-and-set, expiry and a choice of consistency."""

from __future__ import annotations

from tenfold.blocks.database import Database
from tenfold.core.clock import Clock
from tenfold.core.randomness import Randomness
from tenfold.topology.map import Map

__all__ = ["Kv"]


class Kv:
    """Keys and values of one service."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness

    async def start(self) -> None:
        """Begins to clear up what expired."""

    async def stop(self) -> None:
        """Ends that."""

    def adopt(self, new: Map) -> None:
        """Goes by a newer map."""
