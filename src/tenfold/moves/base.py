"""What a move is: a straight list of stages with one point of no return, and the pure rule of what comes next.

Before the point of no return a failure undoes everything that was begun, in reverse order; after it a move only goes
forward. Nothing here does I/O: `fold` turns what the journal says into a `State`, and `next_act` names the one act that
comes next, so that planning (which says), applying (which does) and simulation (which stops anywhere) walk the same
line (driver.py). The form follows Vitess' traffic switcher (one driver, two implementations) and Patroni's quorum
transitions (an order rule, checked by entering again after each interruption).

Invariants, which `verify` asserts after each event: stages are done in order; nothing is undone that was
not begun, and in reverse order; once the stage `no_return` is done, nothing is undone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

from tenfold.core.journal import Record


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
    at any point. `undo` takes it back, also after half a `do`, also when there is nothing to take back. Any of them may
    run in another process than the one before: what they share is in the databases, the map and the journal, not in
    memory. `Fenced` from any of them ends the mover at once, and nothing is undone.
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
    is not there, everything can be undone.

    The `check` of that stage decides after a crash or a failure, so its answer must be final: an effect that it does
    not find must not come later (a `do` that was cut off must not still be under way on a server). What decides is the
    last effect of its stage, and the only one that `check` asks for: whatever belongs after it is a stage of its own.
    """

    name: str
    title: str
    stages: tuple[Stage, ...]
    no_return: str
    facts: dict[str, Any] = field(default_factory=dict)
    """What the plan shows beside the stages: `rows`, `bytes`, `expected_s`, `expected_hold_ms`, `findings` (sentences).
    No secret."""

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        assert len(set(names)) == len(names), "stages have names of their own"
        assert self.no_return in names, "a move has a point of no return"

    def index(self, name: str) -> int:
        """The place of a stage."""
        return next(at for at, stage in enumerate(self.stages) if stage.name == name)


class Act(Enum):
    """What comes next for a move."""

    CHECK = "check"
    """Look whether a stage that was begun is done: a mover before this one, or an error, cut it off."""
    DO = "do"
    UNDO = "undo"
    FINISHED = "finished"
    UNDONE = "undone"


class Kind:
    """The kinds of a move's records in the journal, in the order in which they may come."""

    BEGIN = "move.begin"
    """`id`, `move`, `title`, `stages`, `says`, `holds`, `no_return`, `facts`: a move is open from here on."""
    TERM = "move.term"
    """A mover takes over: its epoch fences those before it."""
    INTENT = "move.intent"
    """`stage` is about to be done."""
    DONE = "move.done"
    """`stage` is done; `facts` are what it told."""
    MISSING = "move.missing"
    """`stage` was begun, and its effect is not there."""
    FAILED = "move.failed"
    """`stage` failed with `error` after the point of no return, or while undoing; it is tried again."""
    BACK = "move.back"
    """From here on everything is undone; `reason` says why."""
    UNDONE = "move.undone"
    """`stage` is undone."""
    END = "move.end"
    """`result` is `finished` or `undone`: the move is closed."""


@dataclass(frozen=True, slots=True)
class State:
    """How far a move is, as its journal says; stages by name.

    `begun` have an intent, `done` are a part of them. `unsure` is a stage whose `do` was cut off: only a look can tell.
    `lives` counts movers. `result` is empty while the move is open.
    """

    id: str = ""
    move: str = ""
    title: str = ""
    stages: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    """What each stage does, in the order of `stages`; empty in journals of versions that did not write it."""
    holds: tuple[str, ...] = ()
    no_return: str = ""
    begun: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    unsure: str = ""
    back: bool = False
    reason: str = ""
    result: str = ""
    lives: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    begun_us: int = 0
    ended_us: int = 0
    held_since_us: int = 0
    held_us: int = 0
    """How long writes were held at most: from the intent of the first stage that holds them to the end of the last."""

    @property
    def open(self) -> bool:
        """Whether there is a move that was neither finished nor undone."""
        return bool(self.id) and not self.result

    @property
    def decided(self) -> bool:
        """Whether the point of no return is behind: from there on it only goes forward."""
        return self.no_return in self.done

    @property
    def stage(self) -> str:
        """The stage that is under way; the last one when the move is closed; empty before the first."""
        if self.back:
            left = [name for name in self.begun if name not in self.undone]
            return left[-1] if left else (self.begun[0] if self.begun else "")
        left = [name for name in self.stages if name not in self.done]
        return left[0] if left else (self.stages[-1] if self.stages else "")

    def verify(self) -> State:
        """Asserts the invariants; the state itself."""
        assert self.done == self.begun[: len(self.done)], "stages are done in the order in which they were begun"
        assert self.begun == self.stages[: len(self.begun)], "stages are begun in order"
        assert len(self.begun) - len(self.done) <= 1, "one stage at a time"
        assert not (self.decided and self.back), "after the point of no return nothing is undone"
        assert self.undone == tuple(reversed(self.begun))[: len(self.undone)], "undone in reverse order"
        assert self.result != "finished" or self.done == self.stages, "finished is when all is done"
        assert self.result != "undone" or self.undone == tuple(reversed(self.begun)), "undone is when all is undone"
        return self


def next_act(state: State) -> tuple[Act, str]:
    """The act that comes next and its stage (empty for the ends). Pure; the state must be of a move that was begun.

    A stage that was cut off is looked at before anything else when going forward. When going back only the point of no
    return is: if its effect is there, the way back is closed. The others are undone whether they are there or not.
    """
    assert state.id, "a move that was begun"
    if state.result:
        return (Act.FINISHED if state.result == "finished" else Act.UNDONE), ""
    if state.unsure and (not state.back or state.unsure == state.no_return):
        return Act.CHECK, state.unsure
    if not state.back:
        left = state.stages[len(state.done) :]
        return (Act.DO, left[0]) if left else (Act.FINISHED, "")
    remaining = state.begun[: len(state.begun) - len(state.undone)]
    return (Act.UNDO, remaining[-1]) if remaining else (Act.UNDONE, "")


def apply(state: State, kind: str, data: Mapping[str, Any], at_us: int = 0) -> State:
    """The state after one more record. A record of another kind changes nothing."""
    change = _CHANGES.get(kind)
    return state if change is None else change(state, data, at_us).verify()


def _begin(_state: State, data: Mapping[str, Any], at_us: int) -> State:
    return State(
        id=str(data["id"]),
        move=str(data["move"]),
        title=str(data.get("title", "")),
        stages=tuple(data["stages"]),
        says=tuple(data.get("says", ())),
        holds=tuple(data.get("holds", ())),
        no_return=str(data["no_return"]),
        facts=dict(data.get("facts", {})),
        begun_us=at_us,
        lives=1,
    )


def _term(state: State, _data: Mapping[str, Any], _at_us: int) -> State:
    if not state.open:
        return state
    # A mover before this one may have died between the effect of the last stage that it began and its record.
    cut_off = state.begun[len(state.done)] if len(state.begun) > len(state.done) else ""
    unsure = state.unsure or ("" if state.back and cut_off != state.no_return else cut_off)
    return replace(state, lives=state.lives + 1, unsure=unsure)


def _intent(state: State, data: Mapping[str, Any], at_us: int) -> State:
    stage = str(data["stage"])
    assert not state.back, "nothing is begun on the way back"
    since = state.held_since_us or (at_us if stage in state.holds else 0)
    return replace(state, begun=(*state.begun, stage), held_since_us=since)


def _done(state: State, data: Mapping[str, Any], at_us: int) -> State:
    stage = str(data["stage"])
    # The look at the point of no return may find it passed after the turn: then the move goes forward after all.
    back = state.back and stage != state.no_return
    facts = {**state.facts, **data.get("facts", {})}
    after = replace(state, done=(*state.done, stage), unsure="", back=back, facts=facts)
    return _let_go(after, at_us) if state.holds and stage == state.holds[-1] else after


def _let_go(state: State, at_us: int) -> State:
    """Writes go on."""
    if not state.held_since_us:
        return state
    return replace(state, held_us=state.held_us + at_us - state.held_since_us, held_since_us=0)


def _missing(state: State, _data: Mapping[str, Any], _at_us: int) -> State:
    return replace(state, unsure="")


def _failed(state: State, data: Mapping[str, Any], _at_us: int) -> State:
    if state.back:
        return state
    return replace(state, unsure=str(data["stage"]))


def _back(state: State, data: Mapping[str, Any], _at_us: int) -> State:
    assert not state.decided, "after the point of no return nothing is undone"
    at_stake = state.begun[len(state.done) :] == (state.no_return,)
    return replace(state, back=True, reason=str(data.get("reason", "")), unsure=state.no_return if at_stake else "")


def _undone(state: State, data: Mapping[str, Any], at_us: int) -> State:
    stage = str(data["stage"])
    after = replace(state, undone=(*state.undone, stage))
    return _let_go(after, at_us) if state.holds and stage == state.holds[0] else after


def _end(state: State, data: Mapping[str, Any], at_us: int) -> State:
    return replace(state, result=str(data["result"]), facts={**state.facts, **data.get("facts", {})}, ended_us=at_us)


_CHANGES: dict[str, Callable[[State, Mapping[str, Any], int], State]] = {
    Kind.BEGIN: _begin,
    Kind.TERM: _term,
    Kind.INTENT: _intent,
    Kind.DONE: _done,
    Kind.MISSING: _missing,
    Kind.FAILED: _failed,
    Kind.BACK: _back,
    Kind.UNDONE: _undone,
    Kind.END: _end,
}


def fold(records: Iterable[Record]) -> State:
    """The last move of a journal; an empty state when there was none."""
    state = State()
    for record in records:
        if state.id or record.kind == Kind.BEGIN:
            state = apply(state, record.kind, record.data, record.at_us)
    return state


def history(records: Iterable[Record]) -> list[State]:
    """Every move of a journal, oldest first."""
    found: list[State] = []
    for record in records:
        if record.kind == Kind.BEGIN:
            found.append(State())
        if found:
            found[-1] = apply(found[-1], record.kind, record.data, record.at_us)
    return found
