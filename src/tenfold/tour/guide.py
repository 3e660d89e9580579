"""Leads the tour: what happens on each step, in which order. What is found stays in `stops`, also when it is cut short.

On each step: explain, climb under load, let the load grow until a bottleneck appears, ask for advice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tenfold.control.advice.levels import LEAST_S
from tenfold.control.figures.model import Figures
from tenfold.control.installing import install, install_offer
from tenfold.control.place import Place
from tenfold.control.words import progress_words
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.topology.map import Map
from tenfold.topology.steps import STEPS, Step
from tenfold.tour.chart import curve
from tenfold.tour.climbing import Climbing, Facts
from tenfold.tour.loading import Loading
from tenfold.tour.looking import Looking
from tenfold.tour.model import OK_LEAST, P99_LIMIT_MS, Climb, Stop, Trial
from tenfold.tour.search import Plan, bottleneck, found, next_rate
from tenfold.tour.words import Words

MOST_CAPPED, MOST_UNCAPPED = 3000.0, 300.0
"""The highest rates that are tried: one process can send so much; and without caps nobody else is to be disturbed."""
FIRST_RATE = 80.0
BENEATH = 0.4
"""The load during a climb, as a share of what was carried before: a machine that is full cannot also change."""
TRIES = 3
"""How often a climb that was undone is tried, with half the load each time."""
NEAR = 0.8
"""Trials from this share of the carried rate on count for the advice."""
_WINDOWS, _WINDOW_S = 14, (2.0, 10.0)
_OVERTIME = 2.0
"""A search may take this many times its seconds: overloaded trials wait for their last answers."""


class Voice(Protocol):
    """Who speaks to the person. `asks`: somebody is there who presses keys."""

    asks: bool

    def say(self, text: str = "") -> None:
        """A line."""
        ...

    def head(self, text: str) -> None:
        """A heading."""
        ...

    def live(self, text: str) -> None:
        """A line that the next one replaces."""
        ...

    async def agree(self, question: str) -> bool:
        """Waits for a key; False when it is to end here. True at once where nobody is asked."""
        ...


@dataclass(frozen=True)
class Order:
    """What the tour is to be. `seconds` for each search; `to`: the last step; `web` servers at its end, 0 for none;
    `parts` of a core by role, empty without caps."""

    seconds: float
    to: int
    web: int
    parts: Mapping[str, float]

    @property
    def window_s(self) -> float:
        """How long one trial takes."""
        return round(min(_WINDOW_S[1], max(_WINDOW_S[0], self.seconds / _WINDOWS)), 1)

    @property
    def trials(self) -> int:
        """How many trials there are at most."""
        return max(4, round(self.seconds / self.window_s))

    @property
    def most(self) -> float:
        """The highest rate that is tried."""
        return MOST_CAPPED if self.parts else MOST_UNCAPPED

    def steps(self) -> list[Step]:
        """The steps that are taken after the first, in the order of the book."""
        return [step for step in STEPS[1:] if step.exists and step.number <= self.to]


def roles_of(current: Map) -> dict[str, int]:
    """How many nodes of each role there are, the database server among them. Pure."""
    nodes = Counter(node.role for node in current.nodes)
    return {**nodes, **({"database": 1} if current.database.server else {})}


def near(seen: Sequence[tuple[float, Figures]], rate: float) -> list[Figures]:
    """The figures of trials near a rate and above; of all trials when those are too few seconds. Pure."""
    found = [figures for tried, figures in seen if tried >= rate * NEAR]
    enough = sum(figures.window_s for figures in found) >= 2 * LEAST_S
    return found if enough else [figures for _, figures in seen]


class Guide:
    """Leads one tour on one place, under the load of `loading`."""

    def __init__(
        self, place: Place, order: Order, *, voice: Voice, words: Words, loading: Loading, clock: Clock
    ) -> None:
        self._place = place
        self._order = order
        self._voice = voice
        self._words = words
        self._clock = clock
        self._loading = loading
        self._looking = Looking(place, clock)
        self._climbing = Climbing(place, clock, self._tell)
        self.stops: list[Stop] = []
        self.partial = ""

    async def lead(self) -> None:
        """The whole tour, from a service that runs on step 1."""
        words = self._words
        self._voice.say(words("filling"))
        await self._loading.fill()
        self._explain(Stop(STEPS[0].number, STEPS[0].slug))
        await self._measure(Stop(STEPS[0].number, STEPS[0].slug))
        for step in self._order.steps():
            if not await self._take(step):
                return
        last = self.stops[-1]
        wider = self._order.web and self._order.parts and 1 < last.roles.get("web", 0) < self._order.web
        if wider and await self._agreed(words("ask.scale", web=self._order.web)):
            self._explain(Stop(last.step, last.slug, wide=True, roles={"web": self._order.web}))
            climb = await self._moved("scale", web=self._order.web)
            await self._measure(Stop(last.step, last.slug, wide=True, climb=climb))

    # A step

    async def _take(self, step: Step) -> bool:
        """Climbs one step and finds what it carries; False when the tour ends here."""
        words = self._words
        title = words(f"step.{step.number}.title")
        if not await self._agreed(words("ask.climb", step=step.number, title=title)):
            return False
        self._explain(Stop(step.number, step.slug))
        try:
            await self._provided(step)
            climb = await self._moved("climb", step=str(step.number), only=False)
        except TenfoldError as error:
            why = f"{error.message} {error.hint}".strip()
            self.stops.append(Stop(step.number, step.slug, not_run=why))
            self.partial = words("partial.not_run", step=step.number)
            self._voice.say(words("not_run", step=step.number, title=title, why=why))
            return False
        await self._measure(Stop(step.number, step.slug, climb=climb))
        return True

    async def _agreed(self, question: str) -> bool:
        """Waits for a key, with users on the service meanwhile. A tour that ends here was ended by a person."""
        if not self._voice.asks:
            return True
        agreed, _ = await self._loading.beneath(self._gentle(), self._voice.agree(question))
        if not agreed:
            self.partial = self._words("partial.asked")
        return agreed

    async def _provided(self, step: Step) -> None:
        """Raises what the step lacks; where somebody is asked, it is offered to install that."""
        tried: set[str] = set()
        while True:
            try:
                await self._climbing.plan("climb", step=str(step.number), only=False)
                return
            except TenfoldError as error:
                offer = install_offer(error.code) if self._voice.asks and error.code not in tried else None
                if offer is None or not await self._voice.agree(offer.question):
                    raise
                tried.add(error.code)
                await asyncio.to_thread(install, offer)

    async def _moved(self, op: str, **fields: object) -> Climb:
        """Changes the deployment under load. Undone, it is tried again with less. Raises why it cannot be."""
        words, rate = self._words, self._gentle()
        for left in range(TRIES - 1, -1, -1):
            self._voice.say(words("climbing", rate=rate))
            began = self._clock.monotonic()
            try:
                moves, load = await self._loading.beneath(rate, self._climbing.apply(op, **fields))
            except TenfoldError as error:
                if error.code != "TF-UNDONE" or not left:
                    raise
                rate = max(1.0, rate / 2)
                self._voice.say(words("again", why=error.message, rate=rate))
                continue
            climb = Climb(tuple(moves), round(self._clock.monotonic() - began, 1), load)
            self._voice.say(words.promised())
            self._voice.say(words.seen(climb))
            return climb
        raise AssertionError("the last try returns or raises")

    def _gentle(self) -> float:
        carried = self._carried_before()
        return round(max(1.0, (carried.rate if carried else FIRST_RATE) * BENEATH), 1)

    def _carried_before(self) -> Stop | None:
        return next((stop for stop in reversed(self.stops) if stop.rate), None)

    def _tell(self, move: Facts) -> None:
        self._voice.live(progress_words(move))

    # What it carries

    async def _measure(self, stop: Stop) -> None:
        """Lets the load grow until a bottleneck appears, says what was found, and adds the stop."""
        before = self._carried_before()
        first = before.rate * NEAR if before else FIRST_RATE
        plan = Plan(first, self._order.most, self._order.trials)
        self._voice.say(self._words("searching", p99=P99_LIMIT_MS, ok=OK_LEAST * 100))
        tried, seen = await self._search(plan)
        answer = found(plan, tried)
        rate = answer.rate if answer else 0.0
        current = self._place.read_map()
        assert current is not None, "it runs"
        whole = Stop(
            stop.step,
            stop.slug,
            wide=stop.wide,
            roles=roles_of(current),
            rate=rate,
            p50_ms=answer.p50_ms if answer else 0.0,
            p99_ms=answer.p99_ms if answer else 0.0,
            at_least=answer.at_least if answer else False,
            sure=answer.sure if answer else True,
            trials=tuple(tried),
            advice=self._looking.advice(near(seen, rate)),
            climb=stop.climb,
        )
        self.stops.append(whole)
        self._say_found(whole, before)

    async def _search(self, plan: Plan) -> tuple[list[Trial], list[tuple[float, Figures]]]:
        tried: list[Trial] = []
        seen: list[tuple[float, Figures]] = []
        until = self._clock.monotonic() + self._order.seconds * _OVERTIME
        while (rate := next_rate(plan, tried)) is not None and self._clock.monotonic() < until:
            self._voice.live(self._words("trying", rate=rate))
            trial, figures = await self._looking.during(self._loading.trial(rate, self._order.window_s))
            tried.append(trial)
            seen += [(rate, each) for each in figures]
            self._voice.say(curve(self._words, trial, max(each.rate for each in tried)))
        return tried, seen

    # What is said

    def _explain(self, stop: Stop) -> None:
        self._voice.head(self._words.title(stop))
        for heading, text in self._words.explained(stop.step, wide=stop.wide):
            self._voice.say(f"{heading}: {text}")
        self._voice.say()

    def _say_found(self, stop: Stop, before: Stop | None) -> None:
        words, full = self._words, bottleneck(stop.trials)
        self._voice.say()
        if full is not None:
            self._voice.say(words("bottleneck", rate=full.rate, p99=round(full.p99_ms)))
        elif stop.rate:
            self._voice.say(words("bottleneck.none", rate=stop.rate))
        self._voice.say(words.carried(stop))
        if compared := words.compared(stop, before):
            self._voice.say(compared)
        sentence, reasons = words.advice(stop)
        self._voice.say(f"{words('advice')}: {sentence}")
        for reason in reasons:
            self._voice.say(f"  · {reason}")
