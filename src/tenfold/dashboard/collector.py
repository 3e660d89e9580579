"""One look at the deployment for all who look: facts, figures, the picture of both.

With a viewer once a second, while a move is open four times; without any every 5 seconds, so that the last hours are
known. The figures are taken once a second at most: over shorter windows they would say nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

import msgspec

from tenfold.control.figures.between import figures_between
from tenfold.control.figures.look import Look, window_start
from tenfold.control.figures.model import Figures
from tenfold.control.figures.sampler import Sampler
from tenfold.control.figures.store import FigureStore
from tenfold.control.place import Place
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.core.lifecycle import Background
from tenfold.dashboard.feed import Feed
from tenfold.dashboard.gathering import Gathering
from tenfold.dashboard.picture.drawing import draw
from tenfold.dashboard.picture.model import Picture
from tenfold.dashboard.redacting import Redactor
from tenfold.topology.map import Map

Facts = dict[str, Any]

WATCHED_S, MOVING_S, ALONE_S = 1.0, 0.25, 5.0
LEAST_S = 0.05
"""The rest between two looks, however many ask for a picture: whoever looks must not keep the nodes from their work."""
FIGURES_S = 1.0
WINDOW_S = 2.0
"""The figures are those of the last two seconds: calm enough to be read, young enough to be of now."""
STORE_S = 5.0
_AGAIN_S = 1.0

log = logging.getLogger("tenfold.dashboard")


def pause_s(*, viewers: int, moving: bool) -> float:
    """How long it rests between two looks, in seconds. Pure."""
    if not viewers:
        return ALONE_S
    return MOVING_S if moving else WATCHED_S


class Collector(Background):
    """Looks until it is stopped, and publishes what it saw. What cannot be seen is said on the picture."""

    def __init__(
        self, place: Place, clock: Clock, feed: Feed, gathering: Gathering, store: FigureStore, *, redactor: Redactor
    ) -> None:
        super().__init__()
        self._place = place
        self._clock = clock
        self._feed = feed
        self._gathering = gathering
        self._store = store
        self._redactor = redactor
        self._sampler = Sampler(place, clock)
        self._looks: deque[Look] = deque(maxlen=4)
        self._stored: Look | None = None
        self._figures: Figures | None = None
        self._move: Facts | None = None
        self.current: Map | None = None
        self.facts: Facts = {}

    async def run(self) -> None:
        """One look after the other."""
        try:
            while True:
                began = self._clock.monotonic()
                await self._look()
                pause = pause_s(viewers=self._feed.viewers, moving=self._is_moving())
                await asyncio.sleep(LEAST_S)
                await self._feed.wanted(max(0.0, pause - LEAST_S - (self._clock.monotonic() - began)))
        finally:
            self._sampler.close()

    async def _look(self) -> None:
        try:
            seen = await self._gathering.look()
            self.current, self.facts = seen.current, seen.facts
            await self._measure()
            picture = draw(
                seen.current, seen.facts, self._figures, seen.move, at_us=self._clock.wall_us(), load=seen.load
            )
            self._tell_move(seen.move)
        except TenfoldError as error:
            picture = self._blind(error)
        except Exception:  # the page says that its data is old; the next look may see again
            log.exception("The deployment could not be looked at.")
            await asyncio.sleep(_AGAIN_S)
            return
        self._feed.publish(msgspec.json.encode(self._redactor.picture(picture)))

    def _blind(self, error: TenfoldError) -> Picture:
        """What is shown when nothing can be seen: a damaged map, say."""
        said = f"{error.message} {error.hint}".strip()
        service = str(self.facts.get("service") or self._place.root.name)
        return Picture(service, "degraded", self._clock.wall_us(), says=(said,))

    # Figures

    async def _measure(self) -> None:
        now = self._clock.monotonic()
        if self._looks and now - self._looks[-1].at_s < FIGURES_S * 0.9:
            return
        look = await self._sampler.look()
        before = window_start(self._looks, look.at_s, WINDOW_S * 0.9)
        self._figures = figures_between(before, look) if before is not None else None
        self._looks.append(look)
        await self._keep(look)

    async def _keep(self, look: Look) -> None:
        if self._stored is None:
            self._stored = look
        elif look.at_s - self._stored.at_s >= STORE_S * 0.9:
            figures, self._stored = figures_between(self._stored, look), look
            await asyncio.to_thread(self._store.add, figures)

    # Moves

    def _is_moving(self) -> bool:
        return bool(self._move and self._move["open"])

    def _tell_move(self, move: Facts | None) -> None:
        """Viewers hear of a move that begins, and of one that ends."""
        before, self._move = self._move, move
        was, now = _mark(before), _mark(move)
        if was != now and (before is not None or (move is not None and move["open"])):
            self._feed.move(msgspec.json.encode({"move": self._redactor.facts(move)}))


def _mark(move: Facts | None) -> tuple[str, bool]:
    return (str(move["id"]), bool(move["open"])) if move else ("", False)
