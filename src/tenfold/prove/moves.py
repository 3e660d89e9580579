"""Moves as part of a proof: climb and descend under load, with the mover left alone or killed on the way."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tenfold.core.clock import Clock
from tenfold.core.errors import Unavailable
from tenfold.hosts.identity import identity_of, open_pidfd, send_signal
from tenfold.prove.faults import Made

MOVE = "move"
MOVE_KILLED = "move-killed"
KINDS = (MOVE, MOVE_KILLED)
"""`move` to a step, and the same with its mover killed once."""

LIMIT_S = 600.0
LOOK_S = 0.01


@dataclass(frozen=True, slots=True)
class MoveFacts:
    """How the newest move stands: whether it is open, in which stage, its mover's process (0: none), how it ended."""

    open: bool
    stage: str
    pid: int
    outcome: str


class Movable(Protocol):
    """What moves need of the deployment. The methods block; they are called beside the loop."""

    def step(self) -> int:
        """The step that it is on."""
        ...

    def begin_move(self, step: int) -> None:
        """Begins the move to a step and returns."""
        ...

    def move_facts(self) -> MoveFacts:
        """How that move stands."""
        ...


class Mover:
    """Moves one deployment."""

    def __init__(self, deployment: Movable, clock: Clock) -> None:
        self._deployment = deployment
        self._clock = clock

    async def make(self, kind: str, target: str, *, strikes: Callable[[], object] = lambda: None) -> Made:
        """Moves to the step beside the one that it is on (2 from 1, 1 from 2) and waits for the end.

        With `move-killed`, the mover gets SIGKILL in its stage of the number `target` (from 1); a move that ends before
        is not hurt, and then the fault had no effect.
        """
        step = 1 if await asyncio.to_thread(self._deployment.step) > 1 else 2
        strikes()
        began = self._clock.monotonic()
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

    async def _killed(self, at_stage: int) -> str | None:
        """Kills the mover in its stage of that number; the stage's name, or None when the move ended before."""
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
