"""The order of a tour, with a deployment and a load that are played by the test."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from tours import ADVICE, trial

from tenfold.control.figures.model import Figures, Machine
from tenfold.control.place import Place
from tenfold.core.clock import ManualClock
from tenfold.core.errors import TenfoldError, UsageError
from tenfold.tour import guide
from tenfold.tour.guide import Guide, Order
from tenfold.tour.model import Move, Trial
from tenfold.tour.words import Words

CARRIES = {1: 200.0, 2: 100.0, 3: 190.0, "wide": 380.0}


class World:
    """A deployment that carries so much by step. `fails` are raised by the climbs, one after the other."""

    def __init__(self, fails: list[TenfoldError] | None = None, lacks: TenfoldError | None = None) -> None:
        self.step: int | str = 1
        self.fails = fails or []
        self.lacks = lacks
        self.done: list[tuple[str, dict[str, object]]] = []
        self.beneath_rates: list[float] = []

    # As Loading

    async def fill(self) -> None:
        self.done.append(("fill", {}))

    async def trial(self, rate: float, seconds: float) -> Trial:
        return trial(rate, 60.0 if rate <= CARRIES[self.step] else 3000.0)

    async def beneath(self, rate: float, work: Coroutine[Any, Any, Any]) -> tuple[Any, Trial]:
        self.beneath_rates.append(rate)
        return await work, trial(rate)

    # As Climbing

    async def plan(self, op: str, **fields: object) -> dict[str, Any]:
        if self.lacks is not None and fields["step"] == "3":
            raise self.lacks
        return {}

    async def apply(self, op: str, **fields: object) -> list[Move]:
        self.done.append((op, fields))
        if self.fails:
            raise self.fails.pop(0)
        self.step = int(str(fields["step"])) if op == "climb" else "wide"
        return [Move("a_move", 3.0, 120.0)]

    # As Looking

    async def during(self, work: Coroutine[Any, Any, Any]) -> tuple[Any, list[Any]]:
        return await work, []

    def advice(self, seen: list[Any]) -> Any:
        return ADVICE


class Said:
    """As a person who presses keys: `answers`, then always yes."""

    def __init__(self, answers: tuple[bool, ...] | None = None) -> None:
        self.asks = answers is not None
        self.answers = list(answers or ())
        self.lines: list[str] = []

    def say(self, text: str = "") -> None:
        self.lines.append(text)

    def head(self, text: str) -> None:
        self.lines.append(text)

    def live(self, text: str) -> None: ...

    async def agree(self, question: str) -> bool:
        self.lines.append(question)
        return self.answers.pop(0) if self.answers else True

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def led(world: World, said: Said, monkeypatch: pytest.MonkeyPatch, *, to: int = 3, web: int = 4) -> Guide:
    monkeypatch.setattr(guide, "Climbing", lambda *_args: world)
    monkeypatch.setattr(guide, "Looking", lambda *_args: world)
    monkeypatch.setattr(guide, "roles_of", lambda _map: {"web": 2 if world.step == 3 else 1})
    monkeypatch.setattr(Place, "read_map", lambda _self: object())
    order = Order(60.0, to, web, {"web": 0.15})
    made = Guide(
        Place(Path("/nowhere")),
        order,
        voice=said,
        words=Words("en"),
        loading=world,  # type: ignore[arg-type]
        clock=ManualClock(),
    )
    asyncio.run(made.lead())
    return made


def test_it_takes_the_steps_in_order_and_then_spreads_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    world, said = World(), Said()
    made = led(world, said, monkeypatch)
    assert [(stop.step, stop.wide) for stop in made.stops] == [(1, False), (2, False), (3, False), (3, True)]
    for stop, capacity in zip(made.stops, CARRIES.values(), strict=True):
        assert capacity / 1.12 <= stop.rate <= capacity
        assert not stop.at_least
    assert [op for op, _ in world.done] == ["fill", "climb", "climb", "scale"]
    assert world.done[-1] == ("scale", {"web": 4})
    assert made.partial == ""
    for expected in (
        "STEP 1 · one server",
        "A bottleneck: at",
        "The advice: ",
        "STEP 3 · load balancer, 4 web servers",
    ):
        assert expected in said.text


def test_the_load_during_a_climb_is_well_below_what_was_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    made = led(world, Said(), monkeypatch)
    assert world.beneath_rates == [round(stop.rate * 0.4, 1) for stop in made.stops[:3]]


def test_a_move_that_was_undone_is_tried_with_half_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    undone = TenfoldError("The move x was undone: slow.", code="TF-UNDONE")
    world, said = World([undone, undone]), Said()
    made = led(world, said, monkeypatch, to=2)
    first = world.beneath_rates[0]
    assert world.beneath_rates == [first, first / 2, first / 4]
    assert said.text.count("The move x was undone: slow. Nothing was lost.") == 2
    assert [stop.ran for stop in made.stops] == [True, True]


def test_a_move_that_is_always_undone_ends_the_tour_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    undone = TenfoldError("The move x was undone: slow.", code="TF-UNDONE")
    world, said = World([undone] * 3), Said()
    made = led(world, said, monkeypatch)
    assert [(stop.step, stop.ran) for stop in made.stops] == [(1, True), (2, False)]
    assert "NOT RUN: step 2 (separate database). The move x was undone: slow." in said.text
    assert made.partial == "step 2 could not be taken"


def test_a_step_whose_program_is_missing_is_not_run_and_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    lacks = UsageError("HAProxy is not installed.", hint="apt-get install haproxy", code="TF-HAPROXY-MISSING")
    monkeypatch.setattr(guide, "install", lambda _offer: pytest.fail("nobody agreed"))
    world, said = World(lacks=lacks), Said()
    made = led(world, said, monkeypatch)
    assert made.stops[-1].not_run == "HAProxy is not installed. apt-get install haproxy"
    assert "NOT RUN: step 3 (load balancer). HAProxy is not installed." in said.text
    assert ("climb", {"step": "3", "only": False}) not in world.done


def test_a_person_is_offered_to_install_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    lacks = UsageError("HAProxy is not installed.", code="TF-HAPROXY-MISSING")
    world, said = World(lacks=lacks), Said(())
    monkeypatch.setattr(guide, "install", lambda _offer: setattr(world, "lacks", None))
    monkeypatch.setattr(guide, "install_offer", lambda code: type("Offer", (), {"question": f"Install for {code}?"})())
    made = led(world, said, monkeypatch)
    assert "Install for TF-HAPROXY-MISSING?" in said.lines
    assert all(stop.ran for stop in made.stops)


def test_a_person_who_says_q_ends_it_there(monkeypatch: pytest.MonkeyPatch) -> None:
    world, said = World(), Said((True, False))
    made = led(world, said, monkeypatch)
    assert [stop.step for stop in made.stops] == [1, 2]
    assert made.partial == "it was ended by a person"
    assert len(world.beneath_rates) == 3, "users come while the person reads"


def test_without_caps_the_load_stays_small_and_nothing_is_spread() -> None:
    order = Order(60.0, 3, 4, {})
    assert order.most == guide.MOST_UNCAPPED
    assert Order(60.0, 3, 4, {"web": 0.1}).most == guide.MOST_CAPPED


def test_advice_rests_on_the_trials_near_the_rate_or_on_all_when_those_are_few() -> None:
    def seconds(count: int) -> list[Figures]:
        return [Figures(at, 1.0, Machine()) for at in range(count)]

    low, high = [(100.0, each) for each in seconds(20)], [(200.0, each) for each in seconds(8)]
    assert guide.near([*low, *high], 200.0) == seconds(8)
    assert guide.near([*low, *high], 250.1) == [*seconds(20), *seconds(8)], "nothing so high was tried"
    assert guide.near([*low, *high[:7]], 200.0) == [*seconds(20), *seconds(7)]


def test_a_step_gets_about_its_seconds() -> None:
    for seconds in (8, 20, 60, 600):
        order = Order(float(seconds), 3, 4, {})
        assert order.window_s * order.trials <= seconds * 1.2 or seconds == 8
        assert order.trials >= 4
        assert 2 <= order.window_s <= 10
    assert [step.number for step in Order(60.0, 2, 4, {}).steps()] == [2]
    assert Order(60.0, 1, 4, {}).steps() == []
