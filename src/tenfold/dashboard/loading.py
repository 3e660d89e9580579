"""Load from the page: `tenfold load` as a child of the keeper, so that it neither dies with the page nor outlives the
deployment. Another rate replaces it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from tenfold.control.crew import CHANGES_STAGE, Crew, is_kept
from tenfold.control.place import Place
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import UsageError
from tenfold.dashboard.ended import sentence_of
from tenfold.dashboard.picture.model import LoadNow
from tenfold.hosts.records import Launch, Records

NODE = "load"
RATE_MAX, SECONDS_MAX = 2000.0, 600.0
"""Requests a second, and for how long: enough to see something move, too little to be forgotten."""
STARTS_S = 3.0
"""How long it is watched for an end that comes at once: a service that nobody here can ask, say."""
_RATE, _UNTIL = "TENFOLD_LOAD_RATE", "TENFOLD_LOAD_UNTIL_US"
_GRACE_S = 5.0

Facts = dict[str, Any]


def check(rate: float, seconds: float) -> None:
    """Raises `UsageError` for more load than the page may make."""
    if not 0 <= rate <= RATE_MAX:
        raise UsageError(f"The page sends 0 to {RATE_MAX:g} requests a second.", hint="`tenfold load` sends more.")
    if not 1 <= seconds <= SECONDS_MAX:
        raise UsageError(
            f"The page sends load for 1 to {SECONDS_MAX:g} seconds.", hint="`tenfold load` goes on longer."
        )


class Loading:
    """The load of one deployment's page."""

    def __init__(self, place: Place, crew: Crew, clock: Clock) -> None:
        self._place = place
        self._crew = crew
        self._clock = clock
        self._turn = asyncio.Lock()

    async def change(self, rate: float, seconds: float) -> LoadNow | None:
        """Sends so many requests a second from now on, none for 0. Raises why it cannot be sent."""
        check(rate, seconds)
        async with self._turn:
            await self._crew.stop(NODE, _GRACE_S)
            if not rate:
                return None
            until_us = self._clock.wall_us() + round(seconds * 1e6)
            await self._crew.ask("spawn", **asdict(self._launch(rate, seconds, until_us)))
            ended = await self._crew.ask("wait", timeout_s=STARTS_S + 5, node=NODE, limit_s=STARTS_S)
            if ended["finished"] and ended["exit_code"]:
                raise sentence_of(NODE, ended)
            return LoadNow(rate, seconds)

    def _launch(self, rate: float, seconds: float, until_us: int) -> Launch:
        words = ("--dir", str(self._place.root), "load", "--rate", f"{rate:g}", "--seconds", f"{seconds:g}")
        return Launch(
            node=NODE,
            argv=(sys.executable, "-P", "-m", "tenfold.cli.main", *words),
            cwd=str(self._place.root),
            env={_RATE: f"{rate:g}", _UNTIL: str(until_us)},
            restart=False,
            grace_s=_GRACE_S,
            stage=CHANGES_STAGE,
        )


def load_now(place: Place, children: Iterable[Facts], clock: Clock = SYSTEM_CLOCK) -> LoadNow | None:
    """The load that runs, by the keeper's record of it; None when there is none."""
    if not any(fact["node"] == NODE and is_kept(fact) for fact in children):
        return None
    with contextlib.suppress(KeyError, ValueError):
        launch = next((each.launch for each in Records(place.run).read_all() if each.launch.node == NODE), None)
        if launch is not None:
            left_s = (int(launch.env[_UNTIL]) - clock.wall_us()) / 1e6
            return LoadNow(float(launch.env[_RATE]), max(0.0, left_s))
    return None
