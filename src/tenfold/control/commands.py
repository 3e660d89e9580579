"""What commands do to a deployment that runs: planned, begun as moves, followed by the moves that come after them.

The wants are written before a move begins and say where the whole row of moves leads (`.tenfold/wants.json`); when one
is finished, the next follows by itself. When one is undone, the row ends, and what is wanted is what runs again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from tenfold.control.bringing_up import BringingUp
from tenfold.control.changes import Changes, refuse_new_start
from tenfold.control.coding import Coding
from tenfold.control.moving import Moving
from tenfold.control.place import Place
from tenfold.control.telling import facts_of
from tenfold.control.wishes import Wish, change_of, following, wish_of
from tenfold.core.errors import TenfoldError
from tenfold.hosts import wire
from tenfold.moves.base import State
from tenfold.topology.diff import Change
from tenfold.topology.map import Map
from tenfold.topology.targets import needs_new_processes, waiting
from tenfold.topology.wants import wants_of

Note = Callable[..., None]


class Commands:
    """The commands of one deployment; `note` writes a line of the journal before the next thing happens."""

    def __init__(
        self,
        place: Place,
        note: Note,
        *,
        moving: Moving,
        changes: Changes,
        coding: Coding,
        bringing_up: BringingUp,
    ) -> None:
        self._place = place
        self._moving = moving
        self._changes = changes
        self._coding = coding
        self._bringing_up = bringing_up
        self._note = note
        self._chain_error: wire.Message | None = None

    # Looking

    async def plan(self, current: Map, message: wire.Message) -> wire.Message:
        """What a command would do now; nothing is changed."""
        content, plan = self._changes.planned(current)
        version, same = await self._looked_up(current, message)
        wish = self._wish(current, {**message, "version": version}, content)
        state = self._moving.state()
        moves = await self._moving.plan(wish) if wish.moves and not state.open else []
        return {
            "service": current.service,
            "step": current.step,
            "to_step": wish.step,
            "changes": [str(change) for change in plan.changes],
            "waiting": list(waiting(content)) if wish.step < current.step or not moves else [],
            "moves": moves,
            "open": facts_of(state) if state.open else None,
            "empty": plan.empty and not wish.moves and not state.open,
            "version": version,
            "same": same,
        }

    async def versions(self, current: Map) -> list[dict[str, Any]]:
        """Every version of the code, with the nodes that run it."""
        return await self._coding.list(current)

    def what_follows(self, state: State) -> wire.Message:
        """`then`: the moves that come by themselves after a move; `error`: why the next of them could not begin."""
        ends = state.back or state.result == "undone" or self._chain_error is not None
        then = [] if ends or not self._is_wanted_further(state) else state.facts.get("then", [])
        return {"then": list(then), "error": self._chain_error}

    def _is_wanted_further(self, state: State) -> bool:
        """Whether the row of moves goes on after a move that is finished: until the wants are met, or are others."""
        current, wants = self._place.read_map(), self._place.read_wants()
        return state.open or bool(current and wants and following(current, wants, state.move))

    # Beginning

    async def begin(self, current: Map, message: wire.Message) -> wire.Message:
        """Begins what a command wants; the first move, and what follows it."""
        self._moving.refuse_while_open()
        content, plan = self._changes.planned(current)
        if message["to"] == "deploy":
            refuse_new_start(plan.changes)
        version, same, made = await self._chosen(current, message)
        answer = {"version": version, "same": same}
        wish = self._wish(current, {**message, "version": version}, content)
        if not wish.moves:
            if made:
                await self._coding.remove(version)
            return {"move": None, "to_step": wish.step, "then": [], **answer}
        begun = await self._start(current, replace(wish, made=version if made else ""))
        return {"move": facts_of(begun), "to_step": wish.step, "then": list(wish.moves[1:]), **answer}

    async def apply(self, current: Map) -> tuple[tuple[Change, ...], State | None]:
        """Makes the running deployment what tenfold.toml says: what changes, and the move that was begun for it.

        Without a move it is done when this returns. Raises `SpecError` for a spec that is not valid, `UsageError` for a
        change that needs a new start or while a move is open; the deployment is then as it was.
        """
        content, plan = self._changes.planned(current)
        if not plan.empty:
            self._moving.refuse_while_open()
            refuse_new_start(plan.changes)
        elif self._moving.state().open:
            return (), None
        wish = change_of(current, content)
        if wish.moves:
            if needs_new_processes(current, content):
                wish = await self._with_new_code(current, wish)
            return plan.changes, await self._start(current, wish)
        if not plan.empty:
            await self._changes.take_over(current, content, plan)
            current = content
        await self._revive(current)
        return plan.changes, None

    async def _with_new_code(self, current: Map, wish: Wish) -> Wish:
        """New processes run the code that is in the folder now."""
        version, made = await self._coding.of_folder(current)
        wants = msgspec.structs.replace(wish.wants, version=version)
        return replace(wish, wants=wants, made=version if made else "")

    async def _revive(self, current: Map) -> None:
        """Starts what the keeper had given up; when no web server was left, with the code as it is now."""
        missing = await self._bringing_up.missing(current)
        if not missing:
            return
        self._note("revive", epoch=current.epoch, nodes=[node.name for node in missing])
        if len([node for node in missing if node.role == "web"]) == len(current.of_role("web")):
            version, _made = await self._coding.of_folder(current)
            current = await self._bringing_up.with_version(current, version)
            missing = await self._bringing_up.missing(current)
        names = {node.name for node in missing}
        await self._bringing_up.start_all(current, [node for node in current.nodes if node.name in names])

    async def _start(self, current: Map, wish: Wish) -> State:
        before = self._place.read_wants() or wants_of(current)
        self._chain_error = None
        self._place.write_wants(wish.wants)
        try:
            return await self._moving.start(wish)
        except TenfoldError:
            self._place.write_wants(before)
            if wish.made:
                await self._coding.remove(wish.made)
            raise

    def _wish(self, current: Map, message: wire.Message, content: Map) -> Wish:
        return wish_of(current, self._place.read_wants(), message, content)

    async def _chosen(self, current: Map, message: wire.Message) -> tuple[str, bool, bool]:
        """The version that a command means, whether it runs already, and whether it was made for the command."""
        running, made = wants_of(current).version, False
        if message["to"] == "deploy":
            source = message.get("source")
            version, made = await self._coding.of(Path(str(source)) if source else None, current)
        elif message["to"] == "rollback":
            version = await self._coding.chosen(str(message.get("version") or ""), current)
        else:
            return "", False, False
        return version, version == running, made

    async def _looked_up(self, current: Map, message: wire.Message) -> tuple[str, bool]:
        """As `_chosen`, without making a version: one that is new has the name that it would get."""
        to, running = message.get("to"), wants_of(current).version
        if to == "deploy":
            source = message.get("source")
            version = await self._coding.name_of(Path(str(source)) if source else None, current)
        elif to == "rollback":
            version = await self._coding.chosen(str(message.get("version") or ""), current)
        else:
            return "", False
        return version, version == running

    # Going on

    async def moved(self, current: Map, state: State) -> None:
        """A move is closed, and this is the map: the next one of its row begins, or the row has ended."""
        wants = self._place.read_wants() or wants_of(current)
        moves = following(current, wants, state.move) if state.result == "finished" else ()
        await self._bringing_up.settle(current)
        if moves:
            await self._go_on(current, Wish(wants, moves, current.step))
        elif state.id:
            self._place.write_wants(wants_of(current))
        made = str(state.facts.get("made", ""))
        if state.result == "undone" and made and made not in _versions_in(current):
            await self._coding.remove(made)  # it failed, and it was made for this move alone
        await self._coding.served(current)
        await self._coding.tidy(_versions_in(current))

    async def _go_on(self, current: Map, wish: Wish) -> None:
        try:
            await self._start(current, wish)
        except (wire.NotRunning, wire.NoAnswer):
            self._place.write_wants(wish.wants)  # a keeper that was killed; it is tried again with the next one
            raise
        except TenfoldError as error:
            self._chain_error = wire.error_body(error)
            self._note("not-begun", move=wish.moves[0], error=self._chain_error)
            self._place.write_wants(wants_of(current))


def _versions_in(current: Map) -> set[str]:
    return {node.version for node in current.nodes}
