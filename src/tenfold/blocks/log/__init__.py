"""The log block: structured lines that know which request they belong to."""

from __future__ import annotations

from tenfold.core.clock import Clock
from tenfold.topology.map import Map

__all__ = ["Log"]


class Log:
    """The log of one service."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock

    def adopt(self, new: Map) -> None:
        """Goes by a newer map."""
