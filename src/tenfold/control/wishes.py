"""What a command asks of the topology: the wants and the moves that it means. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tenfold.core.errors import UsageError
from tenfold.topology.map import Map
from tenfold.topology.steps import find_step
from tenfold.topology.targets import moves_between, wanted_map
from tenfold.topology.wants import Wants, climb_wants, descend_wants, wants_of


@dataclass(frozen=True)
class Wish:
    """What is wanted, the moves that lead there in order, and the step that a map which meets it is on."""

    wants: Wants
    moves: tuple[str, ...]
    step: int


def wish_of(current: Map, known: Wants | None, message: Mapping[str, Any]) -> Wish:
    """The wish in a question to the controller: `to` (`climb`, `descend`, `finalize`, or nothing), `step`, `only`.

    `known` are the wants that commands before left. Without `to`, a `step` above the present one is climbed to and one
    below descended to; without both, it is what is wanted already. Raises `UsageError` for what cannot be wanted.
    """
    step = find_step(message["step"]) if message.get("step") else None
    to = message.get("to") or ("" if step is None else "climb" if step.number > current.step else "descend")
    if to == "finalize":
        left = current.database.way_back and current.database.backend != "sqlite"
        return Wish(wants_of(current), ("drop_way_back",) if left else (), current.step)
    if to == "climb":
        wants = climb_wants(current, step, only=bool(message.get("only")))
    elif to == "descend":
        wants = descend_wants(current, step)
    elif to == "":
        wants = known or wants_of(current)
    else:
        raise UsageError(f"Nobody knows how to {to!r}.")
    return Wish(wants, moves_between(current, wants), wanted_map(current, wants).step)
