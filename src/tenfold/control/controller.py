"""The controller: brings a deployment up, changes it while it runs, and says how it stands.

A child of the keeper, so it is started again when it dies, and no request notices: it stands beside the traffic, never
in its way. On start it finishes or undoes what it left open, unasked. It answers on `run/controller.sock` (wire.py):

- `status`: `state` is `starting`, `running` or `failed` (with `error`), `doing` says what is under way in words;
- `apply`: makes the deployment what tenfold.toml says now; `changed` lists what that was;
- `retry`: brings it up once more after it has failed;
- `migrate`: brings the database to the shape that the code on disk expects; the report of the migration.
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

from tenfold.control.changes import Changes, free_name, open_replace
from tenfold.control.crew import Crew
from tenfold.control.place import Place, next_map
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import TenfoldError, Unavailable, UsageError
from tenfold.core.journal import Journal
from tenfold.core.redact import redact
from tenfold.hosts import wire
from tenfold.topology.map import Map, NodeMap

NODE = "controller"
IDLE_S = 30.0


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
        self._operations: dict[str, Callable[[], Awaitable[wire.Message]]] = {
            "status": self._status,
            "apply": self._apply,
            "retry": self._retry,
            "migrate": self._migrate,
        }

    async def run(self) -> None:
        """Serves until SIGTERM."""
        leave = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, leave.set)
        listener = wire.listen_unix(self._place.run / f"{NODE}.sock")
        server = await asyncio.start_unix_server(self._converse, sock=listener, limit=wire.MAX_LINE)
        self._work = asyncio.create_task(self._bring_up())
        await leave.wait()
        self._work.cancel()
        server.close()
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
        wanted = self._place.wanted(spec, previous, after=self._journal.epoch)
        if previous is None:
            return wanted
        first = (NodeMap(free_name([]), "web"),)
        return next_map(previous, msgspec.structs.replace(wanted, nodes=first))

    # Operations

    async def _status(self) -> wire.Message:
        return {
            "node": NODE,
            "pid": os.getpid(),
            "ready": self._state == "running",
            "state": self._state,
            "doing": self._doing,
            "error": self._error,
            "epoch": self._map.epoch if self._map else 0,
        }

    async def _apply(self) -> wire.Message:
        async with self._one_at_a_time:
            current = self._running_map()
            try:
                self._map, changed = await self._changes.apply(current)
                if not await self._crew.web_nodes():
                    await self._changes.revive(self._map)
            except TenfoldError:
                self._map = self._place.read_map()
                raise
            return {"epoch": self._map.epoch, "changed": [str(change) for change in changed]}

    async def _retry(self) -> wire.Message:
        if self._state == "failed":
            self._state, self._error = "starting", None
            self._work = asyncio.create_task(self._bring_up())
        return {}

    async def _migrate(self) -> wire.Message:
        async with self._one_at_a_time:
            self._running_map()
            report = await self._crew.migrate()
            self._note("migrated", report=report)
            return {"report": report}

    def _running_map(self) -> Map:
        if self._map is None or self._state != "running":
            raise Unavailable(f"The deployment is not up yet: {self._doing}.", hint="Wait for `tenfold up`.")
        return self._map

    # Conversations

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(await self._answer(reader, writer))
            await writer.drain()
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        try:
            if not wire.may_ask(wire.peer_uid(writer.get_extra_info("socket"))):
                raise UsageError("This deployment belongs to another user.", code="TF-NOT-YOURS")
            message = wire.decode(await asyncio.wait_for(reader.readline(), IDLE_S))
            operation = self._operations.get(str(message.get("op")))
            if operation is None:
                raise UsageError(
                    f"The controller does not know {message.get('op')!r}.",
                    hint=f"It knows {', '.join(self._operations)}.",
                )
            return wire.encode({"ok": True, **await operation()})
        except TenfoldError as error:
            return wire.refusal(error)
        except ValueError:
            return wire.refusal(UsageError(f"A line may have {wire.MAX_LINE} bytes."))


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
