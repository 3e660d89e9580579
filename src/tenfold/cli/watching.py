"""`tenfold status --watch`: looks again and again in a thread of its own, so that what is on the screen says how old it
is when nobody answers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from tenfold.cli.screen import Screen, Wake, frame
from tenfold.control.figures.between import figures_between
from tenfold.control.figures.look import Look, window_start
from tenfold.control.figures.model import Figures
from tenfold.control.figures.sampler import Sampler
from tenfold.control.place import Place
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import TenfoldError
from tenfold.dashboard.gathering import Gathering
from tenfold.dashboard.picture.drawing import draw
from tenfold.dashboard.picture.model import Picture

FIGURES_S = 0.5
"""The window of figures that are asked for once."""
OLD_S = 3.0
"""From when on it is said how old the picture is."""
WINDOW_S = 0.9
"""The figures are those of the last second, or of the last interval where that is longer."""

Facts = dict[str, Any]


@dataclass(frozen=True)
class View:
    """What was seen at `at_s` (monotonic seconds)."""

    facts: Facts
    picture: Picture
    at_s: float


Tell = Callable[[View, int, int], list[str]]
"""The lines of a view for so many columns and rows (0: as many as it takes)."""


async def figures_once(place: Place, clock: Clock = SYSTEM_CLOCK) -> Figures:
    """What happens in the next half second."""
    with Sampler(place, clock) as sampler:
        before = await sampler.look()
        await asyncio.sleep(FIGURES_S)
        return figures_between(before, await sampler.look())


class Looker:
    """Looks every `every_s` seconds in a thread. A deployment that cannot be seen leaves the view of before, and
    `problem` says why."""

    def __init__(self, place: Place, every_s: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._gathering = Gathering(place)
        self._sampler = Sampler(place, clock)
        self._clock = clock
        self._every_s = every_s
        self._looks: deque[Look] = deque(maxlen=64)
        self._fault: Exception | None = None
        self.view: View | None = None
        self.problem = ""
        self.news = Wake()
        """Set when there is a new view or a problem; and by whoever wants the screen drawn anew."""

    def start(self) -> None:
        """Begins to look. The thread ends with the process: it holds nothing that has to be given back."""
        threading.Thread(target=self._look, name="look", daemon=True).start()

    def raise_fault(self) -> None:
        """Raises what ended the looking, if anything did: a fault of ours."""
        if self._fault is not None:
            raise self._fault

    def age_s(self) -> float:
        """How old the view is, in seconds."""
        return self._clock.monotonic() - self.view.at_s if self.view else 0.0

    def _look(self) -> None:
        try:
            asyncio.run(self.look_on())
        except Exception as error:  # noqa: BLE001 - raised again where somebody sees it
            self._fault = error
            self.news.set()

    async def look_on(self) -> None:
        """One look after the other, for ever."""
        while True:
            began_s = self._clock.monotonic()
            try:
                self.view = await self._seen()
                self.problem = ""
            except TenfoldError as error:
                self.problem = f"{error.message} {error.hint}".strip()
            self.news.set()
            await asyncio.sleep(max(0.05, self._every_s - (self._clock.monotonic() - began_s)))

    async def _seen(self) -> View:
        seen, look = await asyncio.gather(self._gathering.look(), self._sampler.look())
        before = window_start(self._looks, look.at_s, WINDOW_S)
        self._looks.append(look)
        figures = figures_between(before, look) if before is not None else None
        at_us = self._clock.wall_us()
        picture = draw(seen.current, seen.facts, figures, seen.move, at_us=at_us, load=seen.load)
        return View(seen.facts, picture, self._clock.monotonic())


def watch(place: Place, every_s: float, tell: Tell) -> None:
    """Shows the deployment until Ctrl-C: on a terminal in place, elsewhere one picture after the other."""
    looker = Looker(place, every_s)
    looker.start()
    with contextlib.suppress(KeyboardInterrupt):
        if sys.stdout.isatty():
            _on_screen(looker, every_s, tell)
        else:
            _in_a_row(looker, every_s, tell)


def _on_screen(looker: Looker, every_s: float, tell: Tell) -> None:
    screen = Screen(sys.stdout, looker.news.set)
    with screen.taken():
        while True:
            columns, rows = shutil.get_terminal_size()
            lines = tell(looker.view, columns, rows) if looker.view else []
            screen.show(frame(lines, footer(looker, every_s, columns), rows))
            looker.news.wait(max(min(every_s, 1.0), 0.1))
            looker.raise_fault()


def footer(looker: Looker, every_s: float, columns: int) -> str:
    """The last line: how old the picture is when nothing newer comes, else how often it is drawn."""
    old = looker.age_s() >= max(OLD_S, 2 * every_s)
    if looker.view is None or old or looker.problem:
        since = f"As of {looker.age_s():.0f} s ago. " if looker.view else "Looking. "
        return click.style(f" {since}{looker.problem}"[:columns], fg="black", bg="yellow")
    at = time.strftime("%H:%M:%S", time.localtime(looker.view.picture.at_us / 1e6))
    return click.style(f" {at}, every {every_s:g} s. Ctrl-C ends it.", dim=True)


def _in_a_row(looker: Looker, every_s: float, tell: Tell) -> None:
    told: View | None = None
    while True:
        looker.news.wait(max(OLD_S, 2 * every_s))
        looker.raise_fault()
        if looker.view is not None and looker.view is not told:
            told = looker.view
            click.echo("\n".join([*tell(told, shutil.get_terminal_size().columns, 0), ""]))
        else:
            click.echo(f"No news for {looker.age_s():.0f} s. {looker.problem}".rstrip())
        sys.stdout.flush()
