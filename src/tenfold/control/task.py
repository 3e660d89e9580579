"""What a mover is started for, and its moves as they would be carried out now (the plan)."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from tenfold.control.move_context import MoveContext, Way
from tenfold.control.place import Place
from tenfold.core.clock import Clock
from tenfold.core.errors import Unavailable
from tenfold.core.journal import Journal
from tenfold.moves.base import Move
from tenfold.moves.driver import say
from tenfold.moves.registry import find_builder
from tenfold.topology.map import Map
from tenfold.topology.targets import MoveName, target_of
from tenfold.topology.wants import Wants


@dataclass(frozen=True)
class Task:
    """What a mover is started for: the first of `moves`, or (without any) the one that is open.

    `wants` is where all of them lead; those after the first are only noted in its record, as what follows. `settings`:
    they take over what tenfold.toml says by now. `made`: the version of the code that was made for this, and is of no
    use when it is undone. `back`: it is to be undone.
    """

    moves: tuple[MoveName, ...] = ()
    wants: Wants = field(default_factory=Wants)
    settings: bool = False
    made: str = ""
    back: bool = False

    def way(self, move: MoveName, current: Map, content: Map | None) -> Way:
        """Where one of the moves leads from a map; `content` is the map that tenfold.toml wants, if it counts."""
        return Way(current, target_of(move, current, self.wants, content), self.wants)


def task_of(moves: str, wants: str, *, settings: bool, made: str, back: bool) -> Task:
    """A task from the words of a command line (`moving.command_words`): names with commas, and JSON."""
    names = msgspec.convert([word for word in moves.split(",") if word], tuple[MoveName, ...])
    return Task(names, msgspec.json.decode(wants, type=Wants), settings, made, back)


def present_map(place: Place) -> Map:
    """The map that runs. Raises `Unavailable` when nothing was ever started."""
    found = place.read_map()
    if found is None:
        raise Unavailable(f"There is no map in {place.state}.", hint="Start the service with `tenfold up`.")
    return found


def settings_of(place: Place, current: Map) -> Map:
    """The map that tenfold.toml wants; where it listens stays as it is, since only a new start changes that."""
    content = place.wanted(place.read_spec(), current)
    public = msgspec.structs.replace(content.public, host=current.public.host, port=current.public.port)
    return msgspec.structs.replace(content, public=public)


async def build(name: str, context: MoveContext) -> Move:
    """A move that is to begin, with what is worth knowing of what it needs; raises what stands against it."""
    notes = await context.look_ahead()
    move = await find_builder(name)(context)
    move.facts["findings"] = [*move.facts.get("findings", []), *notes]
    return move


async def planned(place: Place, task: Task, clock: Clock) -> list[dict[str, Any]]:
    """The moves as they would be carried out now, each on the map that those before it leave; nothing is changed."""
    journal = Journal(place.moves_file, clock)
    current, found = present_map(place), []
    content = settings_of(place, current) if task.settings else None
    with contextlib.closing(journal):
        for name in task.moves:
            way = task.way(name, current, content)
            context = MoveContext(
                place, journal, clock, term=journal.epoch + 1, move_id="plan", way=way, standing=current
            )
            found.append(await _said(await build(name, context)))
            current = way.wanted
    return found


async def _said(move: Move) -> dict[str, Any]:
    return {
        "name": move.name,
        "title": move.title,
        "no_return": move.no_return,
        "facts": move.facts,
        "stages": [asdict(line) for line in await say(move)],
    }
