"""What is told of a move: its state as facts, why it was undone, why something cannot be done just now. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from tenfold.core.errors import TenfoldError, UsageError
from tenfold.core.journal import Record
from tenfold.hosts import wire
from tenfold.moves.base import Kind, State


def undone_because(records: Iterable[Record], state: State) -> TenfoldError:
    """Why a move was undone: the error of the stage that failed, else its reason in one sentence."""
    found, ours = None, False
    for record in records:
        if record.kind == Kind.BEGIN:
            ours = record.data["id"] == state.id
        elif ours and record.kind == Kind.BACK and record.data.get("error"):
            found = wire.error_of(record.data["error"])
    hint = "See `tenfold logs mover`; run it again when that is put right."
    return found or TenfoldError(state.reason or "The move was undone.", hint=hint, code="TF-UNDONE")


def refuse_abort(state: State) -> None:
    """Raises `UsageError` when the move can no longer be undone, or is being decided right now."""
    deciding = state.no_return in state.begun and not state.back
    if state.decided or deciding:
        raise UsageError(
            f"The move {state.move} has passed its point of no return (the stage {state.no_return}).",
            hint="It finishes by itself; `tenfold descend` leads back afterwards.",
            code="TF-NO-RETURN",
        )


def move_open(state: State) -> UsageError:
    """What somebody is told who wants to change something while a move is open."""
    way = "is being undone" if state.back else f"is open (stage {state.stage})"
    return UsageError(
        f"The move {state.move} {way}; nothing else is changed meanwhile.",
        hint="Wait for its end (`tenfold status`), or undo it with `tenfold abort`.",
        code="TF-MOVE-OPEN",
    )


def facts_of(state: State) -> dict[str, Any]:
    """A move as it is told: times in microseconds, `held_ms` at most."""
    facts = asdict(state)
    held_ms = round(facts.pop("held_us") / 1000, 1)
    for name in ("held_since_us", "title", "says"):
        facts.pop(name)  # only the open move tells them: all moves together have to fit into one answer
    told = dict(facts["facts"])
    told.setdefault("held_ms", held_ms)
    seconds = (state.ended_us - state.begun_us) / 1e6 if state.ended_us else None
    return {
        **facts,
        "facts": told,
        "stage": state.stage,
        "decided": state.decided,
        "open": state.open,
        "took_s": seconds,
    }
