"""A model world for moves: effects are entries of a set, time is a count of points, and anything may happen at each.

A *point* is passed before and after every effect, every journal write and every check. `World.at` says what happens at
which point (counted over all lives): `crash` ends the mover there, `fail` raises in the stage, `abort` asks for the way
back. Nothing suspends, so that a walk needs no event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from tenfold.core.errors import TenfoldError
from tenfold.core.journal import Fenced, Record
from tenfold.moves.base import Kind, Move, Progress, Stage, State, fold
from tenfold.moves.driver import Aborted, Doing, opening, walk

MAX_POINTS = 3000


class Crash(BaseException):
    """The mover is gone, as by SIGKILL."""


@dataclass
class World:
    """What a move changes, and what happens at which point."""

    at: dict[int, str] = field(default_factory=dict)
    effects: set[tuple[str, int]] = field(default_factory=set)
    held: bool = False
    points: int = 0
    aborted: bool = False
    abortable: bool = False
    decided: bool = False
    """Whether the effect that decides was ever there: others have acted on it since, so it must stay."""
    trail: list[str] = field(default_factory=list)

    def point(self, what: str, *, stage: bool = True) -> None:
        """Something may happen here; `stage`: in a stage's own code, where it may fail."""
        self.points += 1
        self.trail.append(what)
        assert self.points < MAX_POINTS, "the move comes to an end"
        happens = self.at.get(self.points)
        if happens == "crash":
            raise Crash
        if happens == "abort":
            self.aborted = True
        if stage and happens == "fail":
            raise TenfoldError("The model fails here.")
        if stage and happens == "late":
            raise TimeoutError
        if stage and self.aborted and self.abortable:
            raise Aborted("Somebody asked for it.")


class ModelJournal:
    """The journal without a disk: records, and epochs that fence."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.records: list[Record] = []

    @property
    def epoch(self) -> int:
        return self.records[-1].epoch if self.records else 0

    def append(self, kind: str, data: Mapping[str, Any], epoch: int) -> Record:
        self.world.point(f"before {kind} {data.get('stage', '')}", stage=False)
        if epoch < self.epoch:
            raise Fenced("A successor is in charge.")
        record = Record(epoch, len(self.records) + 1, len(self.records) * 1000, kind, dict(data))
        self.records.append(record)
        self.world.point(f"after {kind} {data.get('stage', '')}", stage=False)
        return record


class Mute:
    """Progress that nobody looks at."""

    def begin(self, stage: str, doing: str) -> None: ...

    def say(self, doing: str, **figures: Any) -> None: ...

    def fact(self, name: str, value: Any) -> None: ...

    def take_facts(self) -> dict[str, Any]:
        return {}


NO_GATE = -1


@dataclass(frozen=True)
class Shape:
    """The shape of a move: how many effects each stage has, which stage decides, which close and open the gate."""

    parts: tuple[int, ...]
    decides: int
    hold: int
    release: int


def shapes(length: int, parts: int = 1) -> list[Shape]:
    """Every shape of that many stages, each with the same number of effects.

    The gate closes at the latest with the stage that decides, and opens after it: what decides is the last effect of
    its stage. Where nothing comes after it there is no gate.
    """
    sizes = (parts,) * length
    gated = [
        Shape(sizes, decides, hold, release)
        for decides in range(length - 1)
        for hold in range(decides + 1)
        for release in range(decides + 1, length)
    ]
    return [*gated, Shape(sizes, length - 1, NO_GATE, NO_GATE)]


def move_of(shape: Shape, world: World) -> Move:
    """A move of that shape in that world."""
    return Move(
        "model", "a model", tuple(_stage(shape, at, world) for at in range(len(shape.parts))), f"s{shape.decides}"
    )


def _stage(shape: Shape, at: int, world: World) -> Stage:
    name = f"s{at}"
    decides = at == shape.decides
    parts = [(name, part) for part in range(1 if decides else shape.parts[at])]  # what decides is one effect

    def closes(there: bool) -> None:
        if at == shape.hold:
            world.held = there

    async def do(_progress: Progress) -> None:
        closes(True)
        for part in parts:
            world.point(f"do {part}")
            world.effects.add(part)
            world.decided |= decides
            world.point(f"did {part}")
        if at == shape.release:
            world.held = False

    async def undo(_progress: Progress) -> None:
        for part in reversed(parts):
            world.point(f"undo {part}")
            world.effects.discard(part)
            world.point(f"undid {part}")
        closes(False)

    async def check() -> bool:
        world.point(f"check {name}")
        there = all(part in world.effects for part in parts)
        if not decides:
            there = there and not (at == shape.release and world.held) and not (at == shape.hold and not world.held)
        world.point(f"checked {name}")
        return there

    return Stage(name, f"does {name}", do, check, undo, holds_writes=shape.hold <= at <= shape.release)


def run_once(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never suspends."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the model never waits")


def live(shape: Shape, world: World, journal: ModelJournal) -> State | None:
    """One life of a mover; None when it crashed. The first one begins the move."""
    move = move_of(shape, world)
    try:
        term = journal.epoch + 1
        if not fold(journal.records).id:
            journal.append(Kind.BEGIN, opening(move, "m-1"), term)
        else:
            journal.append(Kind.TERM, {}, term)
        state = fold(journal.records)
        return run_once(walk(move, state, hands(world, journal, term)))
    except Crash:
        return None


def hands(world: World, journal: ModelJournal, term: int) -> Doing:
    async def within(work: Awaitable[Any], _limit_s: float, abortable: bool) -> Any:
        world.abortable = abortable
        try:
            return await work
        finally:
            world.abortable = False

    async def wait(_failures: int) -> None:
        world.point("rest", stage=False)

    def wants_back() -> str:
        return "Somebody asked for it." if world.aborted else ""

    return Doing(journal, term, Mute(), within=within, wait=wait, wants_back=wants_back)  # type: ignore[arg-type]


def converge(shape: Shape, at: dict[int, str]) -> tuple[State, World, ModelJournal]:
    """Lives follow each other until the move is closed."""
    world = World(dict(at))
    journal = ModelJournal(world)
    while (state := live(shape, world, journal)) is None or not state.result:
        pass
    return state, world, journal


def full(shape: Shape) -> set[tuple[str, int]]:
    return {(f"s{at}", part) for at, n in enumerate(shape.parts) for part in range(1 if at == shape.decides else n)}


def check(shape: Shape, state: State, world: World, journal: ModelJournal) -> None:
    """Fully new or fully old, nothing in between, the gate open, and the journal agrees."""
    assert state.result in ("finished", "undone")
    assert world.effects == (full(shape) if state.result == "finished" else set()), (state, world.trail)
    assert not (world.decided and state.result == "undone"), world.trail
    assert not world.held, world.trail
    assert fold(journal.records).result == state.result
    assert not fold(journal.records).held_since_us, "what was held is released"
