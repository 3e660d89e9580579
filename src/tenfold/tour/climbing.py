"""Takes the steps of a tour: asks the controller, as `tenfold climb` does, and follows the moves to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tenfold.control.place import Place
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError
from tenfold.hosts import wire
from tenfold.tour.model import Move

LIMIT_S = 180.0
"""How long a plan, and the beginning of a move, may take."""
AWAY_S = 60.0
_LOOK_S = 0.1

Facts = dict[str, Any]


class Climbing:
    """Changes one deployment. `tell` is told the open move, as the controller tells it, again and again."""

    def __init__(self, place: Place, clock: Clock, tell: Callable[[Facts], None]) -> None:
        self._place = place
        self._clock = clock
        self._tell = tell

    async def plan(self, op: str, **fields: object) -> Facts:
        """What a command would do. Raises what it lacks."""
        return await self._ask("plan", LIMIT_S, to=op, **fields)

    async def apply(self, op: str, **fields: object) -> list[Move]:
        """Does it; the moves that it took. Raises TF-UNDONE when one of them was undone."""
        begun = (await self._ask(op, LIMIT_S, **fields))["move"]
        if begun is None:
            return []
        while True:
            answer = await self._patiently("move")
            if answer["move"]["open"]:
                self._tell(answer["move"])
            elif answer["error"]:
                raise wire.error_of(answer["error"])
            elif not answer["then"] or answer["move"]["result"] == "undone":
                break
            await asyncio.sleep(_LOOK_S)
        moves = (await self._patiently("moves"))["moves"]
        first = [each["id"] for each in moves].index(begun["id"])
        return [_move(each) for each in moves[first:]]

    async def _patiently(self, op: str) -> Facts:
        """A controller may be away for a moment; the moves go on without it."""
        since = self._clock.monotonic()
        while True:
            try:
                return await self._ask(op, 10.0)
            except (wire.NotRunning, wire.NoAnswer):
                if self._clock.monotonic() - since > AWAY_S:
                    raise
            await asyncio.sleep(_LOOK_S)

    async def _ask(self, op: str, limit_s: float, **fields: object) -> Facts:
        return await wire.ask(self._place.run / "controller.sock", {"op": op, **fields}, limit_s)


def _move(facts: Facts) -> Move:
    """A finished move. Raises what ended another one."""
    if facts["result"] != "finished":
        text = f"The move {facts['move']} was undone: {facts['reason']}"
        raise TenfoldError(text, hint="`--keep` keeps its folder with the logs.", code="TF-UNDONE")
    held = float(facts["facts"].get("held_ms") or 0.0)
    return Move(facts["move"], round(facts["took_s"] or 0.0, 2), held)
