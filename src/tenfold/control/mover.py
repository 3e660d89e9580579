"""`python -m tenfold.control.mover --root R`: carries out one move, or goes on with the one that is open.

A child of the keeper that the controller starts; it may die at any point, and the next one goes on from the journal
(`.tenfold/moves.jsonl`), under a higher term: one that was only paused is refused at its next record, map or
transaction. With `--plan` it only says what its moves would do, one after the other. On `run/mover.sock` it answers
`status` and `abort`.

Exit 0 when the move is closed (finished or undone, as its last line says) or planned; 1 with `{"error": {...}}` as its
last line when it could not begin or go on.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import msgspec

from tenfold.control.answering import answer_on
from tenfold.control.move_context import MoveContext, Way
from tenfold.control.moving import NODE, REST
from tenfold.control.place import Place
from tenfold.control.task import Task, build, planned, present_map, settings_of, task_of
from tenfold.control.telling import move_open, refuse_abort
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import TenfoldError, UsageError
from tenfold.core.files import FileLock
from tenfold.core.journal import Journal
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.hosts import wire
from tenfold.moves.base import Kind, Move, State, fold
from tenfold.moves.driver import Aborted, Doing, error_facts, opening, walk
from tenfold.moves.progress import Tracker
from tenfold.moves.registry import find_builder

_CLEAN_UP_S = 10.0
"""How long a stage that was cut off may take to end."""
_LOOK_S = 0.02
PLANS_AT = 10
"""How much lower than those that serve the priority of a process is that only plans."""


class Mover:
    """One life of a mover."""

    def __init__(self, place: Place, task: Task, clock: Clock) -> None:
        self._place = place
        self._task = task
        self._clock = clock
        self._journal = Journal(place.moves_file, clock)
        self._tracker = Tracker(clock, self._save)
        self._looking: asyncio.Task[None] | None = None
        self._back = asyncio.Event()
        if task.back:
            self._back.set()

    async def run(self) -> State:
        """The closed move. Raises what kept it from beginning or from going on."""
        with contextlib.closing(self._journal):
            operations = {"status": self._status, "abort": self._abort}
            server = await answer_on(self._place.run / f"{NODE}.sock", NODE, operations)
            try:
                move, term = await (self._begin() if self._task.moves else self._go_on())
                return await walk(move, self._state(), self._hands(term))
            finally:
                if self._looking is not None:
                    self._looking.cancel()
                server.close()

    def _state(self) -> State:
        return fold(self._journal.records)

    async def _begin(self) -> tuple[Move, int]:
        """A new move: looked at before it is opened, so that one that cannot begin leaves nothing."""
        known = self._journal.epoch
        if self._state().open:
            raise move_open(self._state())
        name, *then = self._task.moves
        current = present_map(self._place)
        way = self._task.way(name, current, settings_of(self._place, current) if self._task.settings else None)
        move_id = f"{name}-{known + 1}"
        context = self._context(known + 1, move_id, way)
        self._tracker.begin("", "looking at what there is")
        move = await build(name, context)
        move.facts.update({"then": then, "made": self._task.made, "settings": self._task.settings})
        tables = tables_digest(context) if context.knows_tables else ""
        data = {**opening(move, move_id), **msgspec.to_builtins(way), "tables": tables}
        term = self._claim(Kind.BEGIN, data, known)
        context.opened = True
        return move, term

    async def _go_on(self) -> tuple[Move, int]:
        """The open move: taken over first, so that whoever was at it before stops."""
        known, state = self._journal.epoch, self._state()
        if not state.open:
            raise UsageError("No move is open.", hint="`tenfold moves` lists those that were.", code="TF-NO-MOVE")
        began = next(record.data for record in reversed(self._journal.records) if record.kind == Kind.BEGIN)
        term = self._claim(Kind.TERM, {"pid": os.getpid()}, known)
        try:
            context = self._context(term, state.id, msgspec.convert(began, Way))
        except msgspec.ValidationError:
            raise _begun_elsewhere(state) from None
        context.opened = True
        move = await find_builder(state.move)(context)
        if [stage.name for stage in move.stages] != list(state.stages):
            raise _begun_elsewhere(state)
        if began.get("tables") and began["tables"] != tables_digest(context):
            self._why_back = "The tables of the service's code have changed since the move began."
        return move, term

    _why_back = ""

    def _context(self, term: int, move_id: str, way: Way) -> MoveContext:
        context = MoveContext(self._place, self._journal, self._clock, term=term, move_id=move_id, way=way)
        self._looking = asyncio.create_task(context.latency.run(), name="latency")
        return context

    def _claim(self, kind: str, data: dict[str, Any], after: int) -> int:
        """Under the map's lock: a mover before us has either written its map already, or finds us here."""
        with FileLock(self._place.run / "map.lock"):
            return self._journal.claim(kind, data, after=after).epoch

    def _hands(self, term: int) -> Doing:
        return Doing(
            self._journal,
            term,
            self._tracker,
            within=self._within,
            wait=self._wait,
            wants_back=self._wants_back,
        )

    def _wants_back(self) -> str:
        return "It was aborted." if self._back.is_set() else self._why_back

    async def _wait(self, failures: int) -> None:
        """The rest before something is tried again; an abort does not wait for its end."""
        delay_s = REST.wait_s(failures, SYSTEM_RANDOMNESS)
        await asyncio.sleep(delay_s)

    async def _within(self, work: Awaitable[Any], limit_s: float, abortable: bool) -> Any:
        """See `moves.driver.Within`."""
        task = asyncio.ensure_future(work)
        asked = asyncio.ensure_future(self._back.wait())
        waiting = {task, asked} if abortable else {task}
        try:
            await asyncio.wait(waiting, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            await _cut_off(task)
            if asked.done() and abortable:
                raise Aborted("It was aborted.")
            raise TimeoutError
        finally:
            asked.cancel()
            if not task.done():
                await _cut_off(task)

    def _save(self, facts: dict[str, Any]) -> None:
        """For who looks when this process is gone. Not synced: it is no record, and a sync would cost hold time."""
        draft = self._place.progress_file.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            draft.write_text(json.dumps({**facts, "at_us": self._clock.wall_us()}))
            draft.replace(self._place.progress_file)

    # What it answers

    async def _status(self, _message: wire.Message) -> wire.Message:
        return {"node": NODE, "pid": os.getpid(), "ready": True, "progress": self._tracker.facts()}

    async def _abort(self, _message: wire.Message) -> wire.Message:
        """Answers when the turn is on the disk, or refuses when it is too late."""
        while True:
            state = self._state()
            if state.back or state.result:
                return {"result": state.result}
            refuse_abort(state)
            if state.open:
                self._back.set()
            await asyncio.sleep(_LOOK_S)


def _begun_elsewhere(state: State) -> UsageError:
    return UsageError(
        f"The move {state.move} was begun by another version of Tenfold, with other stages.",
        hint="Finish it with that version, or abort it there.",
        code="TF-MOVE",
    )


async def _cut_off(task: asyncio.Future[Any]) -> None:
    """Cancels a stage and waits until it has cleaned up; what it raises then is not news."""
    task.cancel()
    await asyncio.wait({task}, timeout=_CLEAN_UP_S)
    if task.done() and not task.cancelled():
        task.exception()


def tables_digest(context: MoveContext) -> str:
    """The fingerprint of the service's tables."""
    from tenfold.control.tables import digest_of  # noqa: PLC0415 - most moves need no SQLAlchemy, which takes long

    return digest_of(context.metadata)


def main(argv: list[str] | None = None) -> int:
    """The command line of this module; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="tenfold.control.mover")
    parser.add_argument("--root", type=Path, required=True, help="the folder of tenfold.toml")
    parser.add_argument("--moves", default="", help="begin the first of these; without any, go on with the open one")
    parser.add_argument("--wants", default="{}", help="where they lead, as JSON")
    parser.add_argument("--settings", action="store_true", help="they take over what tenfold.toml says now")
    parser.add_argument("--made", default="", help="the version of the code that was made for them")
    parser.add_argument("--plan", action="store_true", help="only say what would be done")
    parser.add_argument("--back", action="store_true", help="undo it")
    found = parser.parse_args(argv)
    os.umask(0o077)
    try:
        task = task_of(found.moves, found.wants, settings=found.settings, made=found.made, back=found.back)
        said = asyncio.run(_work(Place(found.root.resolve()), task, plan=found.plan))
    except asyncio.CancelledError:
        return 130
    except Exception as error:  # noqa: BLE001 - the controller reads the reason from the last line
        body = wire.error_body(error) if isinstance(error, TenfoldError) else error_facts(error)
        sys.stderr.write(json.dumps({"error": body}) + "\n")
        return 1
    sys.stdout.write(json.dumps(said) + "\n")
    return 0


async def _work(place: Place, task: Task, *, plan: bool) -> dict[str, Any]:
    current = asyncio.current_task()
    assert current is not None, "asyncio.run makes a task"
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, current.cancel)
    if plan:
        os.nice(PLANS_AT)  # it only reads, and nobody waits for it but a person
        return {"plans": await planned(place, task, SYSTEM_CLOCK)}
    state = await Mover(place, task, SYSTEM_CLOCK).run()
    return {"move": state.move, "id": state.id, "result": state.result, "reason": state.reason}


if __name__ == "__main__":
    sys.exit(main())
