"""Everything that is known of a deployment besides its figures, gathered at once and without waiting for who is silent.

What `tenfold status` asks one after the other is asked here side by side: a process that stands still must not hold up
the picture of the others, and finds one open question of each kind when it goes on, however often it was looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tenfold.control.figures.lines import Line
from tenfold.control.place import Place
from tenfold.control.standing import CONTROLLER, LOOKS, Heard, asked, facts_from, orphans
from tenfold.core.errors import TenfoldError
from tenfold.dashboard.loading import load_now
from tenfold.dashboard.picture.model import LoadNow
from tenfold.hosts import wire
from tenfold.topology.map import Map

Facts = dict[str, Any]

KEEPER = "keeper"
LIMIT_S = 1.0
"""How long an answer may take, in seconds."""


@dataclass(frozen=True)
class Seen:
    """One look: the map, the facts as `tenfold status --json` prints them, the newest move, the load from the page."""

    current: Map | None
    facts: Facts
    move: Facts | None
    load: LoadNow | None


class Gathering:
    """Looks at one deployment; its conversations are kept open. `close` it in the end."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lines: dict[tuple[str, str], tuple[Line, asyncio.Lock]] = {}
        self._stamp: tuple[int, int] = (0, 0)
        self._map: Map | None = None

    async def look(self) -> Seen:
        """What is so now. Raises a `TenfoldError` only for a map that cannot be read."""
        for _ in range(LOOKS):
            current = self._read_map()
            seen = await self._look_by(current)
            if self._read_map() is current:
                break
        return seen

    async def _look_by(self, current: Map | None) -> Seen:
        hello, listed, controller, newest = await asyncio.gather(
            self.ask(KEEPER, "hello"),
            self.ask(KEEPER, "list"),
            self.ask(CONTROLLER, "status"),
            self.ask(CONTROLLER, "move"),
        )
        children = listed["nodes"] if hello and listed else await asyncio.to_thread(orphans, self._place)
        nodes = [name for name in asked(children) if not (hello and listed) or _runs(children, name)]
        answers = await asyncio.gather(*(self.ask(name, "status") for name in nodes))
        self._forget_all_but({KEEPER, CONTROLLER, *nodes})
        said = {name: answer for name, answer in zip(nodes, answers, strict=True) if answer is not None}
        move = dict(newest["move"]) if newest and newest["move"] else None
        heard = Heard(
            keeper=hello if listed else None,
            children=children,
            said=said,
            controller=controller,
            move=move if move and move["open"] else None,
        )
        facts = facts_from(self._place, current, heard)
        return Seen(current, facts, move, load_now(self._place, children))

    async def ask(self, node: str, op: str) -> wire.Message | None:
        """One operation of one process of the deployment; None when it has no answer within `LIMIT_S`, or at once when
        it owes one already."""
        line, turn = self._lines.setdefault((node, op), (Line(self._place.run / f"{node}.sock"), asyncio.Lock()))
        async with turn:
            said = await line.ask(wire.encode({"op": op}), LIMIT_S)
        with contextlib.suppress(TenfoldError):
            answer = wire.decode(said or b"")
            return answer if answer.get("ok") is True else None
        return None

    def close(self) -> None:
        """Ends the conversations, besides those in which an answer is awaited. A later look begins them anew."""
        self._forget_all_but(())

    def _forget_all_but(self, nodes: Collection[str]) -> None:
        for key, (line, turn) in list(self._lines.items()):
            if key[0] not in nodes and not turn.locked():
                del self._lines[key]
                line.close()

    def _read_map(self) -> Map | None:
        """The map; read again when its file is another one."""
        with contextlib.suppress(FileNotFoundError):
            found = self._place.map_file.stat()
            stamp = (found.st_ino, found.st_mtime_ns)
            if stamp != self._stamp:
                self._map = self._place.read_map()
                self._stamp = stamp
            return self._map
        return None


def _runs(children: list[Facts], name: str) -> bool:
    return any(fact["node"] == name and fact["pid"] for fact in children)
