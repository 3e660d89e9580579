"""The moves of a deployment as its controller looks after them: started, watched, carried on, aborted, told about.

The work is done by a mover (mover.py), a process of its own; its journal is the truth. A mover that dies with its move
open is followed by another one, after a rest that grows, until the move is closed. Before the point of no return the
controller gives up after a while and says so; after it, never.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict

import msgspec

from tenfold.control.crew import CHANGES_STAGE, Crew
from tenfold.control.place import Place
from tenfold.control.telling import facts_of, move_open, refuse_abort, undone_because
from tenfold.control.wishes import Wish
from tenfold.core.clock import Clock
from tenfold.core.errors import TenfoldError, Unavailable, UsageError
from tenfold.core.journal import Record, read_journal
from tenfold.core.randomness import SYSTEM_RANDOMNESS
from tenfold.core.retry import Backoff
from tenfold.hosts import wire
from tenfold.hosts.records import Launch
from tenfold.moves.base import State, fold, history
from tenfold.topology.wants import wants_of

NODE = "mover"
PLANNER = "planner"
REST = Backoff(first_s=0.2, limit_s=30.0)
START_LIMIT_S = 120.0
"""How long a mover may look at what there is until it has opened its move, in seconds."""
MAX_FRUITLESS = 8
"""Movers that may end in a row without a new record, before the point of no return; then somebody has to look."""
STUCK_S, HELD_STUCK_S = 30.0, 3.0
"""A mover that does not answer for so long is replaced, sooner while writes are held; its successor fences it."""
_WATCH_S = 2.0
_LOOK_S = 0.05


class Moving:
    """The moves of one deployment.

    `ended` is called when one is closed, also once more for the last one when a controller starts. It may begin the
    next one, which is then looked after like the one before.
    """

    def __init__(self, place: Place, crew: Crew, clock: Clock, ended: Callable[[State], Awaitable[None]]) -> None:
        self._place = place
        self._crew = crew
        self._clock = clock
        self._ended = ended
        self._watching: asyncio.Task[None] | None = None
        self._told: set[str] = set()
        self._back = False
        self._problem: wire.Message | None = None
        self._read: tuple[int, tuple[Record, ...]] = (-1, ())

    # Looking

    def records(self) -> tuple[Record, ...]:
        """The journal of the moves; read again when it has grown."""
        with contextlib.suppress(FileNotFoundError):
            size = self._place.moves_file.stat().st_size
            if size != self._read[0]:
                self._read = (size, read_journal(self._place.moves_file))
        return self._read[1]

    def state(self) -> State:
        """The last move; an empty state when there was none."""
        return fold(self.records())

    def refuse_while_open(self) -> None:
        """Raises `UsageError` while a move is open."""
        if (state := self.state()).open:
            raise move_open(state)

    async def told(self, state: State) -> wire.Message | None:
        """The last move with its progress, for the command line; None when there was none."""
        if not state.id:
            return None
        words = {"title": state.title, "says": state.says, "held_since_us": state.held_since_us}
        return {**facts_of(state), **words, "progress": await self._progress(), "problem": self._problem}

    def brief(self) -> wire.Message | None:
        """The open move in a few words, for `status`."""
        state = self.state()
        if not state.open:
            return None
        facts = facts_of(state)
        names = ("id", "move", "stage", "back", "decided", "reason")
        return {**{name: facts[name] for name in names}, "problem": self._problem}

    def history(self) -> list[wire.Message]:
        """Every move that there was, oldest first."""
        return [facts_of(state) for state in history(self.records())]

    async def _progress(self) -> wire.Message | None:
        """What the mover says, or what the last one had said."""
        with contextlib.suppress(TenfoldError):
            answer = await wire.ask(self._place.run / f"{NODE}.sock", {"op": "status"}, 2.0)
            return {**answer["progress"], "pid": answer["pid"]}
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self._place.progress_file.read_bytes())
            return dict(found)
        return None

    # Acting

    async def plan(self, wish: Wish) -> list[wire.Message]:
        """What the moves of a wish would do now, as they say it themselves; each on what those before it leave."""
        ended = await self._crew.run_to_its_end(self._launch(PLANNER, ("--plan", *command_words(wish))), START_LIMIT_S)
        return list((ended["report"] or {})["plans"])

    async def start(self, wish: Wish) -> State:
        """Begins the first move of a wish and returns once it is open; `ended` sees to the others.

        Raises why it cannot begin, and nothing has changed then.
        """
        self.refuse_while_open()
        before = self.state().id
        self._back, self._problem = False, None
        await self._spawn(NODE, *command_words(wish))
        deadline = self._clock.monotonic() + START_LIMIT_S
        while self._clock.monotonic() < deadline:
            if (state := self.state()).id != before:
                self.carry_on()
                return state
            with contextlib.suppress(wire.NotRunning, wire.NoAnswer):  # a keeper that was killed; another one comes
                fact = await self._crew.facts(NODE)
                if (fact is None or fact["state"] in ("ended", "failed")) and self.state().id == before:
                    raise self._crew.failure(NODE, fact or {})
            await asyncio.sleep(_LOOK_S)
        await self._crew.ask("stop", timeout_s=30.0, node=NODE, grace_s=5.0)
        raise Unavailable(
            f"The move {wish.moves[0]} did not begin within {START_LIMIT_S:g} s.", hint="See `tenfold logs mover`."
        )

    async def closed(self, move_id: str) -> State:
        """Waits until that move is closed and `ended` has seen it; its state.

        Raises `Unavailable` when nobody works on it any more.
        """
        while move_id not in self._told:
            if self._watching is None or self._watching.done():
                raise Unavailable("The move is not closed, and nobody works on it.", hint="See `tenfold logs mover`.")
            await asyncio.sleep(_LOOK_S)
        return next(state for state in reversed(history(self.records())) if state.id == move_id)

    def undone_because(self, state: State) -> TenfoldError:
        """Why a move was undone, for whoever waited for it."""
        return undone_because(self.records(), state)

    async def abort(self) -> State:
        """Turns the open move back, and returns when that is certain. Raises `UsageError` when it is too late."""
        if not self.state().open:
            raise UsageError("No move is open.", hint="`tenfold moves` lists those that were.", code="TF-NO-MOVE")
        while (state := self.state()).open and not state.back:
            try:
                refuse_abort(state)
            except UsageError:
                self._back = False
                raise
            self._back = True  # for the next mover, if this one does not live to hear it
            self.carry_on()
            with contextlib.suppress(wire.NotRunning, wire.NoAnswer):
                await wire.ask(self._place.run / f"{NODE}.sock", {"op": "abort"}, 30.0)
            await asyncio.sleep(_LOOK_S)
        return state

    def carry_on(self) -> None:
        """Sees to it that the open move, if there is one, is worked on until it is closed."""
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch(), name="moving")

    async def stop(self) -> None:
        """Stops watching; the mover goes on by itself."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

    async def _watch(self) -> None:
        """Until no move is open and no mover is at work: one that has not opened its move yet counts too."""
        fruitless, seen = 0, len(self.records())
        while True:
            try:
                if await self._works():
                    continue
                state = self.state()
                if not state.open:
                    await self._ended(state)
                    self._told.add(state.id)
                    if self.state().id == state.id:
                        return
                    continue
                await self._note_problem()
                fruitless = fruitless + 1 if len(self.records()) <= seen else 0
                seen = len(self.records())
                if fruitless > MAX_FRUITLESS and not state.decided:
                    return
                if fruitless:
                    await asyncio.sleep(REST.wait_s(fruitless, SYSTEM_RANDOMNESS))
                await self._spawn(NODE, *(["--back"] if self._back else []))
            except TenfoldError as error:  # the keeper was killed; the next one is on its way
                self._problem = wire.error_body(error)
                await asyncio.sleep(REST.longest_s(1))

    async def _works(self) -> bool:
        """Whether a mover is at work, having waited a while for its end."""
        fact = await self._crew.facts(NODE)
        if fact is None or fact["state"] in ("ended", "failed"):
            return False
        await self._crew.ask("wait", timeout_s=_WATCH_S + 5, node=NODE, limit_s=_WATCH_S)
        if await self._is_stuck(HELD_STUCK_S if self._gate_is_held() else STUCK_S):
            await self._crew.ask("stop", timeout_s=30.0, node=NODE, grace_s=0.0)
        return True

    def _gate_is_held(self) -> bool:
        found = self._place.read_map()
        return found is not None and found.database.gate == "held"

    async def _is_stuck(self, limit_s: float) -> bool:
        """Whether the mover is there and does not answer: it was stopped, say, and writes may wait for it."""
        try:
            await wire.ask(self._place.run / f"{NODE}.sock", {"op": "status"}, limit_s)
        except wire.NotRunning:
            return False
        except wire.NoAnswer:
            return True
        return False

    async def _note_problem(self) -> None:
        fact = await self._crew.facts(NODE)
        error = ((fact or {}).get("report") or {}).get("error")
        self._problem = dict(error) if error else None

    async def _spawn(self, node: str, *words: str) -> None:
        fact = await self._crew.facts(node)
        if fact is not None:  # ended, or stopped by hand: a frozen one must not hold up its successor
            await self._crew.ask("stop", timeout_s=30.0, node=node, grace_s=0.0)
        await self._crew.ask("spawn", **asdict(self._launch(node, words)))

    def _version(self) -> str:
        """The version of the code that runs, which a mover imports when it needs the service's tables."""
        current = self._place.read_map()
        return wants_of(current).version if current else ""

    def _launch(self, node: str, words: tuple[str, ...]) -> Launch:
        return Launch(
            node=node,
            argv=(*mover_command(), "--root", str(self._place.root), *words),
            cwd=str(self._place.root),
            env=self._crew.environment(self._version()),
            restart=False,
            socket=node == NODE,
            grace_s=10.0,
            stage=CHANGES_STAGE,
        )


def mover_command() -> tuple[str, ...]:
    """How a mover is started."""
    return (sys.executable, "-P", "-m", "tenfold.control.mover")


def command_words(wish: Wish) -> tuple[str, ...]:
    """The words of the command line that make a mover (or a planner) carry out a wish."""
    wants = msgspec.json.encode(wish.wants).decode()
    words: tuple[str, ...] = ("--moves", ",".join(wish.moves), "--wants", wants)
    words += ("--made", wish.made) if wish.made else ()
    return (*words, "--settings") if wish.settings else words
