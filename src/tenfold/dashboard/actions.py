"""What the page does to the deployment: the command line's commands, through the same doors.

Moves are asked of the controller. Faults and their healing are `tenfold break` and `heal`, as children of the keeper:
what has been begun is undone even when the dashboard dies over it.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import asdict
from typing import Any, Literal

import msgspec

from tenfold.control.crew import CHANGES_STAGE, Crew
from tenfold.control.place import Place
from tenfold.control.standing import CONTROLLER
from tenfold.control.words import plan_words
from tenfold.core.clock import Clock
from tenfold.core.errors import NotFound, Unavailable, UsageError
from tenfold.dashboard.ended import sentence_of
from tenfold.hosts import wire
from tenfold.hosts.records import NODE_NAME, Launch

PLAN_LIMIT_S, BEGIN_LIMIT_S = 180.0, 180.0
FAULT_MAX_S = 120.0
FAULT_LIMIT_S = 200.0
"""How long a fault may take until the deployment is whole again, beside how long it lasts."""
_AGAIN_S = 0.3

TAKES_AWAY = {
    ("return_to_sqlite", "settle"),
    ("drop_way_back", "drop_capture"),
    ("drop_way_back", "archive"),
    ("take_balancers", "stop_balancers"),
    ("change_nodes", "leave"),
    ("change_nodes", "contract"),
}
"""The stages of moves that take something away for good; their own sentences say what."""

Facts = dict[str, Any]


class Change(msgspec.Struct, forbid_unknown_fields=True):
    """What is asked for, as the command line would: `to` and what belongs to it."""

    to: Literal["climb", "descend", "scale", "deploy", "rollback", "finalize", "abort"]
    step: int | str | None = None
    web: int | None = None
    worker: int | None = None
    version: str | None = None

    def fields(self) -> Facts:
        """What goes to the controller with it."""
        named = {"step": self.step, "web": self.web, "worker": self.worker, "version": self.version}
        given = {name: value for name, value in named.items() if value is not None}
        return given | ({"step": str(self.step)} if self.step is not None else {})


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """One fault on one node, for `for_s` seconds where it lasts at all."""

    node: str
    how: Literal["kill", "pause", "restart", "clock-step", "disk-full"] = "kill"
    for_s: float = 10.0


def destroyed(plan: Facts) -> list[dict[str, str]]:
    """What a plan takes away for good: the stages, by name and in their sentences. Pure."""
    return [
        {"move": str(move["name"]), "stage": str(stage["stage"]), "says": str(stage["says"])}
        for move in plan.get("moves", ())
        for stage in move["stages"]
        if (move["name"], stage["stage"]) in TAKES_AWAY
    ]


class Actions:
    """What can be done to one deployment."""

    def __init__(self, place: Place, crew: Crew, clock: Clock) -> None:
        self._place = place
        self._crew = crew
        self._clock = clock
        self._turn = asyncio.Lock()

    async def ask(self, op: str, limit_s: float, **fields: object) -> wire.Message:
        """One operation of the controller."""
        return await wire.ask(self._place.run / f"{CONTROLLER}.sock", {"op": op, **fields}, limit_s)

    async def plan(self, change: Change) -> Facts:
        """What it would do, in words, and what it would take away for good. Raises why it cannot be done."""
        if change.to == "abort":
            raise UsageError("An abort has no plan: it undoes what the open move has done.")
        plan = await self.ask("plan", PLAN_LIMIT_S, to=change.to, **change.fields())
        plan.pop("ok", None)
        return {"plan": plan, "words": plan_words({**plan, "changes": []}), "destroys": destroyed(plan)}

    async def do(self, change: Change) -> Facts:
        """Begins it; the first move of it, None when nothing is to do."""
        answer = await self.ask(change.to, BEGIN_LIMIT_S, **change.fields())
        return {"move": answer["move"], "then": answer.get("then", [])}

    async def break_(self, fault: Fault) -> Facts:
        """Makes a fault, and returns when the deployment is whole again: `detail` in words, `effect` whether it had
        one."""
        if not NODE_NAME.match(fault.node):
            raise NotFound(f"There is no node {fault.node[:60]!r}.")
        if not 0 <= fault.for_s <= FAULT_MAX_S:
            raise UsageError(f"A fault from the page lasts {FAULT_MAX_S:g} seconds at most.")
        words = ("break", fault.node, "--how", fault.how, "--for", f"{fault.for_s:g}s", "--yes", "--json")
        report = await self._command("break", words, FAULT_LIMIT_S + fault.for_s)
        return {"detail": str(report.get("detail", "")), "effect": bool(report.get("effect"))}

    async def heal(self) -> Facts:
        """Undoes every fault that is still in force; `done` says which."""
        report = await self._command("heal", ("heal", "--json"), FAULT_LIMIT_S)
        return {"done": report.get("done", [])}

    # Commands as children of the keeper

    async def _command(self, node: str, words: tuple[str, ...], limit_s: float) -> Facts:
        """Runs a command to its end; what it reports. Raises the sentence that it ended with."""
        if self._turn.locked():
            raise UsageError("A fault is under way.", hint="Wait for its end.", code="TF-DASHBOARD-BUSY")
        async with self._turn:
            if (running := await self._crew.facts(node)) is not None and running["state"] not in ("ended", "failed"):
                raise UsageError("A fault is under way.", hint="Wait for its end.", code="TF-DASHBOARD-BUSY")
            await self._crew.stop(node, 0.0)
            await self._crew.ask("spawn", **asdict(self._launch(node, words)))
            ended = await self._ended(node, limit_s)
            await self._crew.stop(node, 0.0)  # so that nobody is told of it any more
        report = ended["report"] or {}
        if "error" not in report and report:
            return dict(report)
        raise sentence_of(node, ended)

    async def _ended(self, node: str, limit_s: float) -> Facts:
        """How it ended. The keeper may be what is broken: then its successor is asked."""
        until_s = self._clock.monotonic() + limit_s
        while self._clock.monotonic() < until_s:
            with contextlib.suppress(wire.NotRunning, wire.NoAnswer):
                ended = await self._crew.ask("wait", timeout_s=15.0, node=node, limit_s=10.0)
                if ended["finished"]:
                    return ended
                continue
            await asyncio.sleep(_AGAIN_S)
        raise Unavailable(f"`tenfold {node}` did not end in time.", hint=f"See `tenfold logs {node}`.")

    def _launch(self, node: str, words: tuple[str, ...]) -> Launch:
        return Launch(
            node=node,
            argv=(sys.executable, "-P", "-m", "tenfold.cli.main", "--dir", str(self._place.root), *words),
            cwd=str(self._place.root),
            restart=False,
            grace_s=5.0,
            stage=CHANGES_STAGE,
        )


def decoded(body: bytes, kind: type[Any]) -> Any:
    """A body as what it should be. Raises `UsageError` that says what is wrong with it."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"The page asked for something that is not understood: {error}.") from None
