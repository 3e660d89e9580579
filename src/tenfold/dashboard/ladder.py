"""What stands beside the picture: the steps, the advice from the last ten minutes, the moves that there were."""

from __future__ import annotations

import asyncio
from typing import Any

from tenfold.control.advice.advising import advise
from tenfold.control.advice.model import Advice
from tenfold.control.figures.store import FigureStore
from tenfold.core.errors import TenfoldError
from tenfold.dashboard.actions import Actions
from tenfold.dashboard.collector import Collector
from tenfold.dashboard.reading import history_of, steps_of
from tenfold.topology.dashboard import Mode
from tenfold.topology.map import Map

LIMIT_S = 10.0
HISTORY_S = 600.0
"""The advice goes by the last ten minutes."""

Facts = dict[str, Any]


class Ladder:
    """The ladder of one deployment, from what was seen last."""

    def __init__(self, collector: Collector, actions: Actions, store: FigureStore, mode: Mode) -> None:
        self._collector = collector
        self._actions = actions
        self._store = store
        self._mode = mode

    async def facts(self) -> Facts:
        """Everything of it. What a controller that is away would know is missing; the rest is there."""
        current = self._collector.current
        moves, versions, advice = await asyncio.gather(self._ask("moves"), self._ask("versions"), self._advice())
        return {
            "step": current.step if current else 0,
            "steps": steps_of(current),
            "advice": advice,
            "history": history_of(moves or ()),
            "versions": versions or [],
            "mode": self._mode,
            "web": len(self.nodes_of("web")),
            "workers": len(self.nodes_of("worker")),
        }

    def nodes_of(self, role: str) -> list[str]:
        """The nodes of a tier, by the newest map."""
        current = self._collector.current
        return [node.name for node in current.of_role(role)] if current else []

    async def _ask(self, op: str) -> list[Facts] | None:
        try:
            return list((await self._actions.ask(op, LIMIT_S))[op])
        except TenfoldError:
            return None

    async def _advice(self) -> Advice | None:
        """What is advised now; None where there is no map."""
        current = self._collector.current
        return await asyncio.to_thread(self._advise, current) if current else None

    def _advise(self, current: Map) -> Advice:
        return advise(current, self._store.recent(HISTORY_S))
