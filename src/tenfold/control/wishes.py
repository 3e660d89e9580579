"""What a command asks of the topology: the wants and the moves that it means. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tenfold.core.errors import UsageError
from tenfold.topology.map import Map
from tenfold.topology.steps import find_step
from tenfold.topology.targets import MoveName, moves_between, wanted_map
from tenfold.topology.wants import Wants, climb_wants, descend_wants, scale_wants, wants_of


@dataclass(frozen=True)
class Wish:
    """What is wanted, the moves that lead there in order, and the step that a map which meets it is on.

    `settings`: the moves take over what tenfold.toml says by now. `made`: the version of the code that was made for it
    alone.
    """

    wants: Wants
    moves: tuple[MoveName, ...]
    step: int
    settings: bool = False
    made: str = ""


def wish_of(current: Map, known: Wants | None, message: Mapping[str, Any], content: Map | None = None) -> Wish:
    """The wish in a question to the controller: `to`, and what belongs to it.

    `climb` and `descend` have `step` and `only`, `scale` has `web` and `worker`, `deploy` and `rollback` have the
    `version` that is to run, `finalize` has nothing. Without `to`, a `step` above the present one is climbed to and one
    below descended to; without both, it is what is wanted already: `known` are the wants that commands before left.
    `content` is the map that tenfold.toml wants, which only a deploy takes over. Raises `UsageError` for what cannot be
    wanted.
    """
    step = find_step(message["step"]) if message.get("step") else None
    to = message.get("to") or ("" if step is None else "climb" if step.number > current.step else "descend")
    if to == "finalize":
        left = current.database.way_back and current.database.backend != "sqlite"
        return Wish(wants_of(current), ("drop_way_back",) if left else (), current.step)
    settings = content if to == "deploy" else None
    wants = _wants(current, known, to, message, step)
    moves = moves_between(current, wants, settings)
    return Wish(wants, moves, wanted_map(current, wants, settings).step, settings=settings is not None)


def _wants(current: Map, known: Wants | None, to: str, message: Mapping[str, Any], step: Any) -> Wants:
    match to:
        case "climb":
            return climb_wants(current, step, only=bool(message.get("only")))
        case "descend":
            return descend_wants(current, step)
        case "scale":
            web, worker = _number(message.get("web")), _number(message.get("worker"))
            if web is None and worker is None:
                raise UsageError("Nothing is to be scaled.", hint="`tenfold scale web=4 worker=2` says both numbers.")
            return scale_wants(current, wants_of(current), web=web, worker=worker)
        case "deploy" | "rollback":
            return msgspec.structs.replace(wants_of(current), version=str(message["version"]))
        case "":
            return known or wants_of(current)
    raise UsageError(f"Nobody knows how to {to!r}.")


def _number(value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise UsageError(f"{value!r} is no number of processes.", hint="`tenfold scale web=4` makes it four web servers.")


def change_of(current: Map, content: Map) -> Wish:
    """What an edited tenfold.toml asks of a running deployment: the processes that it takes, and no other move."""
    wants = wants_of(current)
    moves = moves_between(current, wants, content)
    return Wish(wants, moves, wanted_map(current, wants, content).step, settings=True)


def following(current: Map, wants: Wants, finished: str) -> tuple[MoveName, ...]:
    """The moves that are to follow by themselves when the move `finished` is through; empty when the wants are met.

    A move that has finished and would be next again has not brought about what it is for; it is not repeated.
    """
    try:
        moves = moves_between(current, wants)
    except UsageError:  # a way that was open when the wants were written, and is no longer
        return ()
    return () if moves[:1] == (finished,) else moves
