"""Moves as part of a proof: steps, scaling and deploys under load, with the mover left alone or killed on the way."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tenfold.core.clock import Clock
from tenfold.core.errors import Unavailable, UsageError
from tenfold.hosts.identity import identity_of, open_pidfd, send_signal
from tenfold.prove.faults import Made
from tenfold.topology.map import Map
from tenfold.topology.steps import STEPS, find_step

MOVE = "move"
MOVE_KILLED = "move-killed"
SCALE = "scale"
DEPLOY = "deploy"
CHANGES = (SCALE, DEPLOY)
"""What changes the web tier and stays on its step: more servers and as many as before, another version and back."""
KINDS = (MOVE, MOVE_KILLED, *CHANGES)
"""`move` to a step, and the same with its mover killed once; the changes."""

FINISHED = "finished"
LIMIT_S = 600.0
LOOK_S = 0.01


@dataclass(frozen=True, slots=True)
class MoveFacts:
    """How what was begun stands: whether a move is open or still to come, in which stage the newest one is, its mover's
    process (0: none), how it ended (`finished`, or another word and why)."""

    open: bool
    stage: str
    pid: int
    outcome: str


class Movable(Protocol):
    """What moves need of the deployment. The methods block; they are called beside the loop."""

    def step(self) -> int:
        """The step that it is on."""
        ...

    def highest(self) -> int:
        """The highest step that this machine can climb to."""
        ...

    def begin_move(self, step: int) -> None:
        """Begins the move to a step and returns."""
        ...

    def begin_change(self, kind: str, *, back: bool) -> None:
        """Begins a change of the web tier, or the way back from it, and returns."""
        ...

    def move_facts(self) -> MoveFacts:
        """How that stands."""
        ...


def beside(home: int, highest: int) -> int:
    """The step that a run which began on step `home` moves to and comes back from: the next one, if there is one."""
    if home < highest:
        return home + 1
    return home - 1 if home > 1 else 2


def refuse_gap(current: Map) -> None:
    """Raises `UsageError` for a deployment with a step above a gap (`climb --only NAME`): moves cannot come back there.

    A climb to the step beside it would fill the gap, and the descent from there takes the step above away too.
    """
    alone = [step for step in STEPS if step.number > current.step and step.holds(current)]
    if alone:
        gap = find_step(current.step + 1)
        raise UsageError(
            f"{current.service} has step {alone[0].number} ({alone[0].title}) without step {gap.number} ({gap.title}):"
            " moves away from there do not lead back.",
            hint=f"`tenfold climb {gap.number}` fills the gap, or run it without --moves.",
            code="TF-PROVE-GAP",
        )


class Mover:
    """Moves one deployment, away and back in turn."""

    def __init__(self, deployment: Movable, clock: Clock) -> None:
        self._deployment = deployment
        self._clock = clock
        self._home = 0
        self._away: set[str] = set()

    async def make(self, kind: str, target: str, *, strikes: Callable[[], object] = lambda: None) -> Made:
        """Moves to the step beside the one where the run began, or back to it; or changes the web tier, or back. Waits
        for the end; raises `Unavailable` when that is not what was wanted.

        With `move-killed`, the mover gets SIGKILL in its stage of the number `target` (from 1); a move that ends before
        is not hurt, and then the fault had no effect.
        """
        began = self._clock.monotonic()
        if kind in CHANGES:
            return await self._change(kind, strikes, began)
        step = await self._next_step()
        strikes()
        await asyncio.to_thread(self._deployment.begin_move, step)
        killed_in = await self._killed(int(target)) if kind == MOVE_KILLED else None
        ended = await self._ended()
        if await asyncio.to_thread(self._deployment.step) != step:
            raise Unavailable(
                f"The move to step {step} ended with: {ended.outcome}.",
                hint="Look with `tenfold moves` and at the logs.",
            )
        told = f"on step {step} after {self._clock.monotonic() - began:.2f} s"
        if kind == MOVE:
            return Made(True, told)
        where = f"mover killed in {killed_in}" if killed_in else "the mover was never killed"
        return Made(bool(killed_in), f"{told}, {where}")

    async def _next_step(self) -> int:
        here = await asyncio.to_thread(self._deployment.step)
        self._home = self._home or here
        other = beside(self._home, await asyncio.to_thread(self._deployment.highest))
        return other if here == self._home else self._home

    async def _change(self, kind: str, strikes: Callable[[], object], began: float) -> Made:
        back = kind in self._away
        strikes()
        await asyncio.to_thread(lambda: self._deployment.begin_change(kind, back=back))
        ended = await self._ended()
        if not ended.outcome.startswith(FINISHED):
            raise Unavailable(
                f"The change '{kind}' ended with: {ended.outcome}.", hint="Look with `tenfold moves` and at the logs."
            )
        self._away ^= {kind}
        return Made(True, f"{kind}{' back' if back else ''} took {self._clock.monotonic() - began:.2f} s")

    async def _killed(self, at_stage: int) -> str | None:
        """Kills the mover in its stage of that number; the stage's name, or None when all ended before."""
        seen: list[str] = []
        until = self._clock.monotonic() + LIMIT_S
        while self._clock.monotonic() < until:
            facts = await asyncio.to_thread(self._deployment.move_facts)
            if not facts.open:
                return None
            if facts.stage and facts.stage not in seen:
                seen.append(facts.stage)
            if facts.pid and len(seen) >= at_stage:
                if _kill(facts.pid):
                    return facts.stage
            else:
                await asyncio.sleep(LOOK_S)
        return None

    async def _ended(self) -> MoveFacts:
        until = self._clock.monotonic() + LIMIT_S
        while self._clock.monotonic() < until:
            facts = await asyncio.to_thread(self._deployment.move_facts)
            if not facts.open:
                return facts
            await asyncio.sleep(LOOK_S * 5)
        raise Unavailable(f"The move did not end within {LIMIT_S:g} s.", hint="Look with `tenfold moves`.")


def _kill(pid: int) -> bool:
    identity = identity_of(pid)
    pidfd = open_pidfd(identity) if identity is not None else None
    if pidfd is None:
        return False
    try:
        send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    return True
