"""Watches the deployment while it is under load, and asks for advice from what was seen."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from typing import Any, TypeVar

from tenfold.control.advice import advise
from tenfold.control.advice.model import Advice
from tenfold.control.figures.between import figures_between
from tenfold.control.figures.look import Look
from tenfold.control.figures.model import Figures
from tenfold.control.figures.sampler import Sampler
from tenfold.control.place import Place
from tenfold.core.clock import Clock

R = TypeVar("R")

EVERY_S = 1.0


class Looking:
    """Figures of one place, a second each."""

    def __init__(self, place: Place, clock: Clock) -> None:
        self._place = place
        self._clock = clock

    async def during(self, work: Coroutine[Any, Any, R]) -> tuple[R, list[Figures]]:
        """Does `work`; what it returned, and the figures of its seconds."""
        looks: list[Look] = []
        watching = asyncio.create_task(self._watch(looks))
        try:
            result = await work
        finally:
            watching.cancel()
            await asyncio.wait([watching])
        return result, [figures_between(one, two) for one, two in itertools.pairwise(looks)]

    async def _watch(self, looks: list[Look]) -> None:
        with Sampler(self._place, self._clock) as sampler:
            while True:
                looks.append(await sampler.look())
                await asyncio.sleep(EVERY_S)

    def advice(self, seen: list[Figures]) -> Advice | None:
        """What the figures say; None when there are none."""
        current = self._place.read_map()
        return advise(current, seen) if current is not None and seen else None
