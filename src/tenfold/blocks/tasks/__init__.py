"""The tasks block: jobs that are enqueued in the transaction, run at least once, and whose effects in the same database
happen exactly once."""

from __future__ import annotations

from tenfold.blocks.database import Database
from tenfold.core.clock import Clock
from tenfold.core.randomness import Randomness
from tenfold.topology.map import Map

__all__ = ["Tasks"]


class Tasks:
    """Task functions and their jobs. Made by `Tenfold`; its worker runs between `start` and `stop` while `working`."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness

    async def start(self) -> None:
        """Begins to look for jobs, if this process works."""

    async def stop(self) -> None:
        """Runs no new job; those that run are finished, or given back."""

    def adopt(self, new: Map) -> None:
        """Goes by a newer map."""

    def work(self, on: bool) -> None:
        """Whether this process runs jobs; when not, it finishes those that it has begun."""

    def busy(self) -> int:
        """Jobs that run in this process now."""
        return 0
