"""The one driver of moves: it walks a move from where its journal left it to its end, with somebody else's hands.

`Saying` only says what would be done (the plan), `Doing` does it; both are walked by the same function, so what is
planned is what is applied. Time, waiting and the limits of stages come from outside, so that the simulation stops a
move at every point in virtual time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tenfold.core.errors import Conflict, StorageFull, TenfoldError
from tenfold.core.journal import Fenced, Journal
from tenfold.core.redact import redact
from tenfold.moves.base import Act, Kind, Move, Progress, Stage, State, apply, next_act

MAX_LIVES = 5
"""Movers that may die before the point of no return; then the move is undone instead of tried once more."""


class Aborted(Conflict):
    """Somebody asked for the move to be undone, in the middle of a stage."""

    code = "TF-ABORTED"
    title = "The move was aborted"


class Hands(Protocol):
    """What the driver needs done. Whatever `check`, `do` and `undo` raise is a failure of the stage, but `Fenced`."""

    async def note(self, kind: str, data: Mapping[str, Any]) -> int:
        """Records what has happened, or is about to, before anything else does; the time in microseconds."""
        ...

    async def check(self, stage: Stage) -> bool:
        """Whether the effect of a stage is there."""
        ...

    async def do(self, stage: Stage, *, abortable: bool) -> Mapping[str, Any]:
        """Brings it about; what it told about itself. Raises `Aborted` when asked to turn and `abortable`."""
        ...

    async def undo(self, stage: Stage) -> None:
        """Takes it back."""
        ...

    async def rest(self, failures: int, stage: Stage, error: Exception) -> None:
        """Waits after the n-th failure in a row, before it is tried again."""
        ...

    def wants_back(self) -> str:
        """Why the move is to be undone now, in one sentence; empty when it is not."""
        ...


async def walk(move: Move, state: State, hands: Hands) -> State:
    """Walks the move to its end and returns the closed state. Raises `Fenced` when a successor is in charge."""
    assert state.stages == tuple(stage.name for stage in move.stages), "the state is of this move"
    walker = _Walker(move, state, hands)
    while not walker.state.result:
        await walker.step()
    return walker.state


class _Walker:
    """One walk: the state, and how many failures there were in a row."""

    def __init__(self, move: Move, state: State, hands: Hands) -> None:
        self._move = move
        self.state = state
        self._hands = hands
        self._failures = 0

    async def step(self) -> None:
        """One act, or the turn."""
        if self._may_turn() and (reason := self._why_back()):
            await self._note(Kind.BACK, reason=reason)
            return
        act, name = next_act(self.state)
        match act:
            case Act.CHECK:
                await self._check(self._stage(name))
            case Act.DO:
                await self._do(self._stage(name))
            case Act.UNDO:
                await self._undo(self._stage(name))
            case Act.FINISHED | Act.UNDONE:
                await self._note(Kind.END, result=act.value)

    def _may_turn(self) -> bool:
        """Whether the way back is surely open: not while it is unknown whether the point of no return was passed."""
        state = self.state
        return not state.back and not state.decided and state.unsure != state.no_return

    def _why_back(self) -> str:
        if self.state.lives > MAX_LIVES:
            return f"The mover died {self.state.lives - 1} times on the way."
        return self._hands.wants_back()

    def _stage(self, name: str) -> Stage:
        return self._move.stages[self._move.index(name)]

    async def _note(self, kind: str, **data: Any) -> None:
        self.state = apply(self.state, kind, data, await self._hands.note(kind, data))

    async def _check(self, stage: Stage) -> None:
        try:
            there = await self._hands.check(stage)
        except Fenced:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the move half-way
            # Whether the point of no return was passed is not guessed: it is looked at until it is known.
            await self._failed(stage, error, again=stage.name == self._move.no_return)
        else:
            if there:  # only what comes further ends a row of failures: a look between two of them does not
                self._failures = 0
            await self._note(Kind.DONE if there else Kind.MISSING, stage=stage.name)

    async def _do(self, stage: Stage) -> None:
        if stage.name not in self.state.begun:
            await self._note(Kind.INTENT, stage=stage.name)
        abortable = self._move.index(stage.name) < self._move.index(self._move.no_return)
        try:
            facts = await self._hands.do(stage, abortable=abortable)
        except Fenced:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            await self._failed(stage, error)
        else:
            self._failures = 0
            await self._note(Kind.DONE, stage=stage.name, facts=dict(facts))

    async def _undo(self, stage: Stage) -> None:
        try:
            await self._hands.undo(stage)
        except Fenced:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            await self._failed(stage, error)
        else:
            self._failures = 0
            await self._note(Kind.UNDONE, stage=stage.name)

    async def _failed(self, stage: Stage, error: Exception, *, again: bool = False) -> None:
        """Before the point of no return the first failure turns the move; else it is tried again after a rest."""
        if not (again or self.state.back or self.state.decided):
            await self._note(Kind.BACK, reason=_sentence(stage, error), error=error_facts(error))
            return
        self._failures += 1
        if self._failures & (self._failures - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: a journal is no log
            await self._note(Kind.FAILED, stage=stage.name, error=error_facts(error), failures=self._failures)
        await self._hands.rest(self._failures, stage, error)


def error_facts(error: Exception) -> dict[str, str]:
    """An error as the journal keeps it; no secret gets there."""
    if isinstance(error, TenfoldError):
        facts = {"code": error.code, "message": error.message, "hint": error.hint}
    else:
        facts = {"code": "TF-MOVE", "message": f"{type(error).__name__}: {error}", "hint": "See `tenfold logs mover`."}
    return {name: str(text)[:4000] for name, text in redact(facts).items()}


def _sentence(stage: Stage, error: Exception) -> str:
    if isinstance(error, Aborted):
        return error.message
    return f"The stage {stage.name} failed: {error_facts(error)['message']}"


@dataclass(frozen=True, slots=True)
class Line:
    """One stage as a plan says it. `decides`: the point of no return; `final`: it is behind."""

    stage: str
    says: str
    holds_writes: bool
    limit_s: float
    decides: bool
    final: bool


class Saying:
    """Hands that say what would be done, and do nothing."""

    def __init__(self, move: Move) -> None:
        self._move = move
        self.lines: list[Line] = []

    async def note(self, kind: str, data: Mapping[str, Any]) -> int:
        return 0

    async def check(self, stage: Stage) -> bool:
        return False

    async def do(self, stage: Stage, *, abortable: bool) -> Mapping[str, Any]:
        decides = stage.name == self._move.no_return
        line = Line(stage.name, stage.says, stage.holds_writes, stage.limit_s, decides, not abortable and not decides)
        self.lines.append(line)
        return {}

    async def undo(self, stage: Stage) -> None:
        return None

    async def rest(self, failures: int, stage: Stage, error: Exception) -> None:
        return None

    def wants_back(self) -> str:
        return ""


async def say(move: Move) -> list[Line]:
    """What applying the move would do, in order."""
    hands = Saying(move)
    closed = await walk(move, opened(move, "plan"), hands)
    assert closed.result == "finished", "a plan that nothing disturbs finishes"
    return hands.lines


def opening(move: Move, move_id: str) -> dict[str, Any]:
    """The data of the record that opens a move."""
    return {
        "id": move_id,
        "move": move.name,
        "title": move.title,
        "stages": [stage.name for stage in move.stages],
        "says": [stage.says for stage in move.stages],
        "holds": [stage.name for stage in move.stages if stage.holds_writes],
        "no_return": move.no_return,
        "facts": dict(move.facts),
    }


def opened(move: Move, move_id: str, at_us: int = 0) -> State:
    """The state of a move that was just begun."""
    return apply(State(), Kind.BEGIN, opening(move, move_id), at_us)


class Telling(Progress, Protocol):
    """Progress with stages: whoever shows it is told which one is under way."""

    def begin(self, stage: str, doing: str) -> None:
        """A stage (or the undoing of one) is under way."""
        ...

    def take_facts(self) -> dict[str, Any]:
        """What the stage told about itself since it began."""
        ...


Within = Callable[[Awaitable[Any], float, bool], Awaitable[Any]]
"""Runs work within seconds: raises `TimeoutError`, or `Aborted` when the third argument allows it and it is asked."""


class Doing:
    """Hands that do it: effects within their limits, and a record in the journal under this mover's term."""

    def __init__(
        self,
        journal: Journal,
        term: int,
        progress: Telling,
        *,
        within: Within,
        wait: Callable[[int], Awaitable[None]],
        wants_back: Callable[[], str] = lambda: "",
    ) -> None:
        """`wait` waits after the n-th failure in a row."""
        self._journal = journal
        self._term = term
        self._progress = progress
        self._within = within
        self._wait = wait
        self.wants_back = wants_back

    async def note(self, kind: str, data: Mapping[str, Any]) -> int:
        failures = 0
        while True:
            try:
                return self._journal.append(kind, redact(dict(data)), self._term).at_us
            except StorageFull as error:  # nothing may happen unrecorded, and stopping would not make room
                failures += 1
                self._progress.say(f"waiting: {error.message}")
                await self._wait(failures)

    async def check(self, stage: Stage) -> bool:
        self._progress.begin(stage.name, f"looking whether {stage.name} is done")
        return bool(await self._limited(stage, stage.check(), False))

    async def do(self, stage: Stage, *, abortable: bool) -> Mapping[str, Any]:
        self._progress.begin(stage.name, stage.says)
        await self._limited(stage, stage.do(self._progress), abortable)
        return self._progress.take_facts()

    async def undo(self, stage: Stage) -> None:
        self._progress.begin(stage.name, f"undoing {stage.name}")
        await self._limited(stage, stage.undo(self._progress), False)

    async def rest(self, failures: int, stage: Stage, error: Exception) -> None:
        self._progress.say(f"{stage.name} failed {failures} times, and is tried again: {error_facts(error)['message']}")
        await self._wait(failures)

    async def _limited(self, stage: Stage, work: Awaitable[Any], abortable: bool) -> Any:
        try:
            return await self._within(work, stage.limit_s, abortable)
        except TimeoutError as error:
            raise TenfoldError(
                f"It took longer than its limit of {stage.limit_s:g} s.",
                hint="See `tenfold logs mover`.",
                code="TF-MOVE",
            ) from error
