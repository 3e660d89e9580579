"""What a move is: a straight list of stages with one point of no return, and the pure rule of what comes next.

Before the point of no return a failure undoes everything that was done, in reverse order; after it a move only goes
forward. Nothing here does I/O: `next_act` looks at what the journal says and names the one act that comes next, so that
planning (which says), applying (which does) and simulation (which stops anywhere) walk the same line. The form follows
Vitess' traffic switcher (one driver, two implementations) and Patroni's quorum transitions (an order rule, checked by
entering again after each interruption).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol


class Progress(Protocol):
    """What a stage tells while it works; the command line and the dashboard show it."""

    def say(self, doing: str, *, done: int = 0, total: int = 0, unit: str = "", rate: float = 0.0) -> None:
        """`doing` in plain words; `done` of `total` in `unit` ("rows", "bytes"); `rate` per second."""
        ...

    def fact(self, name: str, value: Any) -> None:
        """A figure for the move's record, such as `rows` or `held_ms`. No secret."""
        ...


async def _nothing(progress: Progress) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a move.

    `check` observes whether the effect is there already. `do` brings it about and may be run again after it was cut off
    at any point. `undo` takes it back, also after half a `do`, also when there is nothing to take back.
    """

    name: str
    says: str
    """What it does, for the plan: one sentence in the present tense, with figures where they are known."""
    do: Callable[[Progress], Awaitable[None]]
    check: Callable[[], Awaitable[bool]]
    undo: Callable[[Progress], Awaitable[None]] = _nothing
    holds_writes: bool = False
    """Whether writes wait while it runs (from its `do` until the stage that opens the gate again)."""
    limit_s: float = 60.0
    """After this the stage has failed."""


@dataclass(frozen=True, slots=True)
class Move:
    """One live change. `no_return` names the stage from which on it only goes forward: as long as that stage's effect
    is not there, everything can be undone."""

    name: str
    title: str
    stages: tuple[Stage, ...]
    no_return: str
    facts: dict[str, Any] = field(default_factory=dict)
    """What the plan shows beside the stages (rows, bytes, expected hold in ms)."""

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        assert len(set(names)) == len(names), "stages have names of their own"
        assert self.no_return in names, "a move has a point of no return"

    def index(self, name: str) -> int:
        """The place of a stage."""
        return next(at for at, stage in enumerate(self.stages) if stage.name == name)


class Act(Enum):
    """What comes next for a move."""

    DO = "do"
    UNDO = "undo"
    FINISHED = "finished"
    UNDONE = "undone"
