"""One tour from its beginning to its end: the copy, the caps, the guide, and what is left of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from urllib.parse import urlsplit

from tenfold import __version__
from tenfold.control.deployment import Deployment
from tenfold.control.place import Place
from tenfold.control.standing import address_of
from tenfold.control.words import page_words
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.core.randomness import Randomness
from tenfold.hosts import wire
from tenfold.prove.client import Target
from tenfold.tour.capping import Capping
from tenfold.tour.caps import Caps
from tenfold.tour.guide import MOST_UNCAPPED, Guide, Order, Voice
from tenfold.tour.loading import Loading
from tenfold.tour.model import Tour
from tenfold.tour.stage import Stage
from tenfold.tour.traffic import Traffic
from tenfold.tour.words import Words

_NICE = -5
_PAGE_LIMIT_S = 5.0
_OVERHEAD_S = 35.0
"""What a step takes besides its search: the climb, and overloaded trials that end late."""


class Running:
    """Leads a tour on a stage that is up; `tour` is what was seen so far, whenever it is asked."""

    def __init__(
        self, stage: Stage, order: Order, *, voice: Voice, words: Words, clock: Clock, randomness: Randomness
    ) -> None:
        self._stage = stage
        self._order = order
        self._voice = voice
        self._words = words
        self._clock = clock
        self._at_us, self._began = clock.wall_us(), clock.monotonic()
        traffic = Traffic(stage.kind, f"t{randomness.bits(40):x}")
        loading = Loading(lambda: target_of(stage.place), traffic, clock, randomness)
        self._guide = Guide(stage.place, order, voice=voice, words=words, loading=loading, clock=clock)
        self.interrupted = False
        """Whether it was cancelled."""
        self._error = False

    async def _say_first(self) -> None:
        """What is going to happen, and where it can be watched."""
        words, order, say = self._words, self._order, self._voice.say
        say(words("intro", service=self._stage.service))
        if order.parts:
            say(words("intro.capped", parts=words.parts(order.parts)))
        else:
            say(words("intro.uncapped", most=MOST_UNCAPPED))
        if page := await self._page():
            say(words("intro.page", page=page))
        stops = 1 + len(order.steps()) + bool(order.web and order.parts)
        say(words("intro.time", minutes=max(1, round(stops * (order.seconds + _OVERHEAD_S) / 60))))
        say()

    async def _page(self) -> str:
        """Where the picture is; empty where there is none. It starts after the service, and is waited for a little."""
        deployment, until = Deployment(self._stage.place), self._clock.monotonic() + _PAGE_LIMIT_S
        while True:
            page = (await asyncio.to_thread(deployment.facts_with_page)).get("dashboard")
            if page is None or page.get("address"):
                return page_words(page)
            if self._clock.monotonic() > until:
                return ""
            await asyncio.sleep(0.2)

    async def lead(self, caps: Caps) -> None:
        """The tour. It ends early when it is cancelled, or when something fails that `tour.partial` then names."""
        capping = asyncio.create_task(self._capped(caps))
        _first_in_line()
        try:
            await self._say_first()
            await self._guide.lead()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None, "we run in one"
            task.uncancel()
            self.interrupted = True
            self._guide.partial = self._words("partial.asked")
        except (TenfoldError, OSError) as error:
            self._error = True
            self._guide.partial = self._words("partial.failed", why=str(error))
        finally:
            capping.cancel()
            await asyncio.wait([capping])

    async def _capped(self, caps: Caps) -> None:
        if self._order.parts:
            await Capping(self._stage.place, caps).run()

    @property
    def failed(self) -> bool:
        """Whether something could not be done that was to be."""
        return self._error or any(stop.not_run for stop in self._guide.stops)

    @property
    def tour(self) -> Tour:
        """What was seen until now."""
        return Tour(
            service=self._stage.service,
            at_us=self._at_us,
            version=__version__,
            language=self._words.language,
            cores=len(os.sched_getaffinity(0)),
            parts=dict(self._order.parts),
            seconds=self._order.seconds,
            stops=tuple(self._guide.stops),
            took_s=round(self._clock.monotonic() - self._began, 1),
            partial=self._guide.partial,
        )


def _first_in_line() -> None:
    """The load is sent before others get the processor, where we may say so: a sender that is late measures nothing.
    The service runs by now and keeps the priority that it was started with."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, min(os.getpriority(os.PRIO_PROCESS, 0), _NICE))


def target_of(place: Place) -> Target:
    """Where the users of a place go. Raises when nothing runs there."""
    current = place.read_map()
    if current is None:
        raise wire.NotRunning(f"There is no map in {place.state}.", hint="It was stopped by somebody else.")
    address = urlsplit(address_of(current))
    return Target(address.hostname or "127.0.0.1", address.port or 80)
