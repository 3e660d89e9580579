"""The controller: brings a deployment up, changes it while it runs, and says how it stands.

A child of the keeper, so it is started again when it dies, and no request notices: it stands beside the traffic, never
in its way. On start it finishes or undoes what it left open, unasked. It answers on `run/controller.sock` (wire.py):

- `status`: `state` is `starting`, `running` or `failed` (with `error`), `doing` says what is under way in words;
- `apply`: makes the deployment what tenfold.toml says now; `changed` lists what that was;
- `retry`: brings it up once more after it has failed;
- `migrate`: brings the database to the shape that the code on disk expects; the report of the migration;
- `plan`: what would change (`to` is `climb`, `descend`, `finalize` or empty: what tenfold.toml and the commands want);
- `climb`, `descend`, `finalize`: begin the move that leads there, with `step` and `only`; empty when nothing is to do;
- `abort`: undo the open move; `move`: how far the last one is; `moves`: all that there were.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tenfold.control.answering import answer_on
from tenfold.control.changes import Changes, free_name, open_replace
from tenfold.control.crew import Crew
from tenfold.control.engine import ensure_server
from tenfold.control.moving import Moving, facts_of
from tenfold.control.place import Place, next_map
from tenfold.control.wishes import Wish, wish_of
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import SpecError, TenfoldError, Unavailable
from tenfold.core.journal import Journal
from tenfold.core.redact import redact
from tenfold.hosts import wire
from tenfold.moves.base import State
from tenfold.topology.map import Map, NodeMap
from tenfold.topology.wants import wants_of

NODE = "controller"


class Controller:
    """The process of one deployment."""

    def __init__(self, place: Place, clock: Clock, *, foreground: bool) -> None:
        self._place = place
        self._clock = clock
        self._foreground = foreground
        self._crew = Crew(place, clock)
        self._journal = Journal(place.journal_file, clock)
        self._changes = Changes(place, self._crew, self._note)
        self._map: Map | None = None
        self._state, self._doing = "starting", "starting the controller"
        self._error: wire.Message | None = None
        self._one_at_a_time = asyncio.Lock()
        self._moving = Moving(place, self._crew, clock, self._moved)
        self._operations: dict[str, Callable[[wire.Message], Awaitable[wire.Message]]] = {
            "status": self._status,
            "apply": self._apply,
            "retry": self._retry,
            "migrate": self._migrate,
            "plan": self._plan,
            "climb": self._move_there,
            "descend": self._move_there,
            "finalize": self._move_there,
            "abort": self._abort,
            "move": self._move,
            "moves": self._moves,
        }

    async def run(self) -> None:
        """Serves until SIGTERM."""
        leave = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, leave.set)
        server = await answer_on(self._place.run / f"{NODE}.sock", NODE, self._operations)
        self._work = asyncio.create_task(self._bring_up())
        await leave.wait()
        self._work.cancel()
        server.close()
        await self._moving.stop()
        with suppress(asyncio.CancelledError):
            await self._work

    def _note(self, what: str, **fields: Any) -> None:
        """One line of the journal, on disk before anything else happens; no secret gets there."""
        epoch = max(int(fields.get("epoch", 0)), self._journal.epoch, 1)
        self._journal.append(what, redact(fields), epoch)

    def _say(self, doing: str) -> None:
        self._doing = doing
        print(doing, flush=True)

    # Bringing up

    async def _bring_up(self) -> None:
        try:
            async with self._one_at_a_time:
                self._map = await self._resume() or await self._begin()
            self._state = "running"
            self._say(f"{self._map.service} runs")
            self._moving.carry_on()
        except TenfoldError as error:
            self._state, self._error = "failed", wire.error_body(error)
            self._note("failed", error=self._error)
            print(f"{error.message} {error.hint}", file=sys.stderr, flush=True)
            if self._foreground:
                await self._crew.ask("shutdown", timeout_s=300.0, code=1)

    async def _resume(self) -> Map | None:
        """Takes over what runs already; None when nothing does."""
        current = self._place.read_map()
        nodes = await self._crew.web_nodes()
        if current is None or not nodes:
            return None
        self._say("taking over what runs")
        await ensure_server(self._place, self._crew, current)
        open_one = open_replace(self._journal.records)
        if open_one is not None:
            current = await self._settle(current, open_one)
        for node in await self._crew.web_nodes():
            await self._crew.until_ready(node)
        await self._changes.take_over(None, current)
        self._note("resumed", epoch=current.epoch, nodes=nodes)
        return current

    async def _settle(self, current: Map, left: dict[str, Any]) -> Map:
        """Finishes or undoes the replacement that a controller before us left open."""
        before = msgspec.convert(left["before"], Map)
        if left["forward"]:
            await self._changes.finish_replace(before, current, left["old"])
            return current
        return await self._changes.undo_replace(before, current, left["new"])

    async def _begin(self) -> Map:
        """A fresh start: map, migrations, the first web process."""
        previous = self._place.read_map()
        wanted = await self._first_map(previous)
        node = wanted.nodes[0].name
        self._note("start", epoch=wanted.epoch, service=wanted.service)
        self._place.write_map(wanted)
        await self._crew.ask("rotation", size=wanted.log.rotate_size, keep=wanted.log.keep)
        if wanted.database.server is not None:
            self._say("starting the database")
            await ensure_server(self._place, self._crew, wanted)
        if not self._moving.state().open:  # an open move has its own idea of the tables; it goes on once this is up
            self._say("bringing the database up to date")
            self._note("migrated", report=await self._crew.migrate())
        self._say(f"starting {node}")
        await self._crew.start_web(wanted, node)
        self._note("started", epoch=wanted.epoch, node=node)
        return wanted

    async def _first_map(self, previous: Map | None) -> Map:
        """The map of a fresh start, with the port that the keeper really listens on."""
        spec = self._place.read_spec()
        if spec.public.port == 0:
            port = int((await self._crew.ask("hello"))["port"])
            spec = msgspec.structs.replace(spec, public=msgspec.structs.replace(spec.public, port=port))
        if previous is None:
            self._refuse_lost_map()
        wanted = self._place.wanted(spec, previous, after=self._journal.epoch)
        if previous is None:
            return wanted
        first = (NodeMap(free_name([]), "web"),)
        return next_map(previous, msgspec.structs.replace(wanted, nodes=first))

    def _refuse_lost_map(self) -> None:
        """Without a map a deployment begins on its first step, which would be the wrong database for this one."""
        wants = self._place.read_wants()
        if wants is not None and wants.database != "sqlite":
            raise SpecError(
                f"The map {self._place.map_file} is lost, and the data of this service is on a database server.",
                hint="Put it back from a backup. (Without wants.json beside it, it would begin anew and empty.)",
                code="TF-MAP-LOST",
            )

    # Operations

    async def _status(self, _message: wire.Message) -> wire.Message:
        return {
            "node": NODE,
            "pid": os.getpid(),
            "ready": self._state == "running",
            "state": self._state,
            "doing": self._doing,
            "error": self._error,
            "epoch": self._map.epoch if self._map else 0,
            "move": self._moving.brief(),
        }

    async def _apply(self, _message: wire.Message) -> wire.Message:
        async with self._one_at_a_time:
            current = self._running_map()
            try:
                self._map, changed = await self._changes.apply(current, self._moving.refuse_while_open)
                if not await self._crew.web_nodes():
                    await self._changes.revive(self._map, migrate=not self._moving.state().open)
            except TenfoldError:
                self._map = self._place.read_map()
                raise
            self._moving.carry_on()
            return {"epoch": self._map.epoch, "changed": [str(change) for change in changed]}

    async def _retry(self, _message: wire.Message) -> wire.Message:
        if self._state == "failed":
            self._state, self._error = "starting", None
            self._work = asyncio.create_task(self._bring_up())
        return {}

    async def _migrate(self, _message: wire.Message) -> wire.Message:
        async with self._one_at_a_time:
            self._running_map()
            self._moving.refuse_while_open()
            report = await self._crew.migrate()
            self._note("migrated", report=report)
            return {"report": report}

    def _running_map(self) -> Map:
        """The map on the disk: a mover may have written it since we did."""
        if self._map is None or self._state != "running":
            raise Unavailable(f"The deployment is not up yet: {self._doing}.", hint="Wait for `tenfold up`.")
        self._map = self._place.read_map() or self._map
        return self._map

    # Moves

    async def _plan(self, message: wire.Message) -> wire.Message:
        async with self._one_at_a_time:
            current = self._running_map()
            wish = self._wish(current, message)
            open_one = self._moving.state()
            _wanted, plan = self._changes.planned(current)
            moves = () if open_one.open else wish.moves
            return {
                "service": current.service,
                "step": current.step,
                "to_step": wish.step,
                "changes": [str(change) for change in plan.changes],
                "moves": [await self._moving.plan(name, wish.wants) for name in moves],
                "open": facts_of(open_one) if open_one.open else None,
                "empty": plan.empty and not wish.moves and not open_one.open,
            }

    async def _move_there(self, message: wire.Message) -> wire.Message:
        async with self._one_at_a_time:
            current = self._running_map()
            self._moving.refuse_while_open()
            wish = self._wish(current, {**message, "to": message["op"]})
            if not wish.moves:
                return {"move": None, "to_step": wish.step}
            (name,) = wish.moves
            before = self._place.read_wants() or wants_of(current)
            self._place.write_wants(wish.wants)
            try:
                return {"move": facts_of(await self._moving.start(name, wish.wants)), "to_step": wish.step}
            except TenfoldError:
                self._place.write_wants(before)
                raise

    def _wish(self, current: Map, message: wire.Message) -> Wish:
        return wish_of(current, self._place.read_wants(), message)

    async def _abort(self, _message: wire.Message) -> wire.Message:
        return {"move": facts_of(await self._moving.abort())}

    async def _move(self, _message: wire.Message) -> wire.Message:
        return {"move": await self._moving.facts()}

    async def _moves(self, _message: wire.Message) -> wire.Message:
        return {"moves": self._moving.history()[-100:]}

    async def _moved(self, state: State) -> None:
        """A move is closed: what is wanted is what runs now, also when it was undone."""
        if state.id and (found := self._place.read_map()) is not None:
            self._map = found
            self._place.write_wants(wants_of(found))
            if found.epoch > self._journal.epoch:
                self._note("moved", epoch=found.epoch, id=state.id, result=state.result)


def main(argv: list[str] | None = None) -> int:
    """Runs the controller of one deployment; exit 3 with one JSON line on stderr when it cannot start."""
    parser = argparse.ArgumentParser(prog="tenfold.control.controller")
    parser.add_argument("--root", type=Path, required=True, help="the folder of tenfold.toml")
    parser.add_argument("--host", help="instead of public.host")
    parser.add_argument("--port", type=int, help="instead of public.port; 0 takes any free one")
    parser.add_argument("--foreground", action="store_true", help="end the keeper when the service cannot start")
    found = parser.parse_args(argv)
    os.umask(0o077)
    try:
        place = Place(found.root.resolve(), found.host, found.port)
        controller = Controller(place, SYSTEM_CLOCK, foreground=found.foreground)
        asyncio.run(controller.run())
    except TenfoldError as error:
        print(json.dumps({"error": wire.error_body(error)}), file=sys.stderr, flush=True)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
