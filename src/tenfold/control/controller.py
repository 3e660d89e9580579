"""The controller: brings a deployment up, changes it while it runs, and says how it stands.

A child of the keeper, so it is started again when it dies, and no request notices: it stands beside the traffic, never
in its way. On start it finishes or undoes what it left open, unasked. It answers on `run/controller.sock` (wire.py):

- `status`: `state` is `starting`, `running` or `failed` (with `error`), `doing` says what is under way in words;
- `apply`: makes the deployment what tenfold.toml says now, and waits for its end; `changed` lists what that was;
- `retry`: brings it up once more after it has failed;
- `migrate`: brings the database to the shape that the code in the folder expects; the report of the migration;
- `plan`: what would change; `to` is `climb`, `descend`, `finalize`, `scale`, `deploy`, `rollback`, or empty for what
  tenfold.toml and the commands want, each with its fields as below;
- `climb`, `descend` (`step`, `only`), `finalize`, `scale` (`web`, `worker`), `deploy` (`source`, by default the
  folder), `rollback` (`version`, by default the one before): begin the moves that lead there. `move` is the first, None
  when nothing is to do; `then` are those that follow it by themselves when it is finished;
- `abort`: undo the open move; `move`: how far the last one is, what follows (`then`), and why that could not (`error`);
  `moves`: all that there were; `versions`: the versions of the code, and who runs them.
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

from tenfold.control.answering import answer_on
from tenfold.control.bringing_up import BringingUp
from tenfold.control.changes import Changes
from tenfold.control.coding import Coding
from tenfold.control.commands import Commands
from tenfold.control.crew import Crew
from tenfold.control.moving import Moving
from tenfold.control.page import see_to_page
from tenfold.control.place import Place
from tenfold.control.session_keys import SessionKeys
from tenfold.control.telling import facts_of
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import TenfoldError, Unavailable
from tenfold.core.journal import Journal
from tenfold.core.redact import redact
from tenfold.hosts import wire
from tenfold.moves.base import State
from tenfold.topology.map import Map

NODE = "controller"


class Controller:
    """The process of one deployment."""

    def __init__(self, place: Place, clock: Clock, *, foreground: bool) -> None:
        self._place = place
        self._foreground = foreground
        self._crew = Crew(place, clock)
        self._journal = Journal(place.journal_file, clock)
        self._map: Map | None = None
        self._state, self._doing = "starting", "starting the controller"
        self._error: wire.Message | None = None
        self._one_at_a_time = asyncio.Lock()
        self._session_keys = SessionKeys(place, clock)
        self._moving = Moving(place, self._crew, clock, self._moved)
        coding = Coding(place, clock)
        self._bringing_up = BringingUp(place, self._crew, coding, self._note, self._say)
        self._commands = Commands(
            place,
            self._note,
            moving=self._moving,
            changes=Changes(place, self._crew, self._note),
            coding=coding,
            bringing_up=self._bringing_up,
        )
        self._operations: dict[str, Callable[[wire.Message], Awaitable[wire.Message]]] = {
            "status": self._status,
            "apply": self._apply,
            "retry": self._retry,
            "migrate": self._migrate,
            "plan": self._plan,
            **dict.fromkeys(("climb", "descend", "finalize", "scale", "deploy", "rollback"), self._move_there),
            "abort": self._abort,
            "move": self._move,
            "moves": self._moves,
            "versions": self._versions,
        }

    async def run(self) -> None:
        """Serves until SIGTERM."""
        leave = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, leave.set)
        server = await answer_on(self._place.run / f"{NODE}.sock", NODE, self._operations)
        await self._session_keys.start()
        self._work = asyncio.create_task(self._bring_up())
        await leave.wait()
        self._work.cancel()
        server.close()
        await self._session_keys.stop()
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

    async def _bring_up(self) -> None:
        try:
            async with self._one_at_a_time:
                move_open = self._moving.state().open
                found = await self._bringing_up.resume(move_open=move_open)
                self._map = found or await self._bringing_up.begin(after=self._journal.epoch, move_open=move_open)
            await self._see_to_page(self._map)
            self._state = "running"
            self._say(f"{self._map.service} runs")
            self._moving.carry_on()
        except TenfoldError as error:
            self._state, self._error = "failed", wire.error_body(error)
            self._note("failed", error=self._error)
            print(f"{error.message} {error.hint}", file=sys.stderr, flush=True)
            if self._foreground:
                await self._crew.ask("shutdown", timeout_s=300.0, code=1)

    async def _see_to_page(self, current: Map) -> None:
        """The dashboard comes last, and what keeps it from starting fails nothing."""
        try:
            await see_to_page(self._place, self._crew, current)
        except TenfoldError as error:
            self._note("page", error=wire.error_body(error))

    async def _moved(self, state: State) -> None:
        """A move is closed: what it leads to is begun, or what is wanted is what runs now."""
        async with self._one_at_a_time:
            found = self._place.read_map()
            if found is None or self._moving.state().id != state.id:
                return
            self._map = found
            if found.epoch > self._journal.epoch:
                self._note("moved", epoch=found.epoch, id=state.id, result=state.result)
            await self._commands.moved(found, state)

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
        if (under_way := self._moving.state()).open and under_way.facts.get("settings"):
            self._running_map()
            await self._moving.closed(under_way.id)  # of a command before this one, which nobody waits for any more
        async with self._one_at_a_time:
            try:
                changed, begun = await self._commands.apply(self._running_map())
            finally:
                self._map = self._place.read_map()
            if begun is None:
                self._moving.carry_on()
        if begun is not None:
            closed = await self._moving.closed(begun.id)
            if closed.result != "finished":
                raise self._moving.undone_because(closed)
        await self._see_to_page(self._running_map())
        return {"epoch": self._running_map().epoch, "changed": [str(change) for change in changed]}

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

    async def _plan(self, message: wire.Message) -> wire.Message:
        async with self._one_at_a_time:
            return await self._commands.plan(self._running_map(), message)

    async def _move_there(self, message: wire.Message) -> wire.Message:
        async with self._one_at_a_time:
            return await self._commands.begin(self._running_map(), {**message, "to": message["op"]})

    async def _abort(self, _message: wire.Message) -> wire.Message:
        return {"move": facts_of(await self._moving.abort())}

    async def _move(self, _message: wire.Message) -> wire.Message:
        state = self._moving.state()
        return {"move": await self._moving.told(state), **self._commands.what_follows(state)}

    async def _moves(self, _message: wire.Message) -> wire.Message:
        return {"moves": self._moving.history()[-100:]}

    async def _versions(self, _message: wire.Message) -> wire.Message:
        return {"versions": await self._commands.versions(self._running_map())}


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
