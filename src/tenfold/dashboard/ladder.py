"""What stands beside the picture: the steps, the advice from the last ten minutes, the moves that there were."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tenfold.control.advice.advising import advise
from tenfold.control.advice.brings import brings
from tenfold.control.advice.model import Advice
from tenfold.control.advice.phrases import say
from tenfold.control.figures.model import Figures
from tenfold.control.figures.store import FigureStore
from tenfold.control.standing import CONTROLLER
from tenfold.core.clock import Clock
from tenfold.dashboard.collector import Collector
from tenfold.dashboard.gathering import Gathering
from tenfold.dashboard.reading import history_of, steps_of
from tenfold.dashboard.redacting import Redactor
from tenfold.topology.dashboard import Mode
from tenfold.topology.map import Map
from tenfold.topology.steps import STEPS

HISTORY_S = 600.0
"""The advice goes by the last ten minutes."""

SAID_S = 5.0
"""What the figures say is worked out this often at most, however many look; figures are stored no oftener."""

AHEAD = 2
"""So many steps are looked ahead."""

Facts = dict[str, Any]


@dataclass(frozen=True)
class Said:
    """What the figures say: the advice, and what the next steps would bring, by their numbers."""

    advice: Advice | None = None
    brings: dict[int, list[Facts]] = field(default_factory=dict)


class Ladder:
    """The ladder of one deployment, from what was seen last."""

    def __init__(
        self,
        collector: Collector,
        gathering: Gathering,
        store: FigureStore,
        mode: Mode,
        *,
        clock: Clock,
        redactor: Redactor,
    ) -> None:
        self._collector = collector
        self._gathering = gathering
        self._store = store
        self._mode = mode
        self._clock = clock
        self._redactor = redactor
        self._known: dict[str, list[Facts]] = {}
        self._said = Said()
        self._said_of: Map | None = None
        self._said_at_s = 0.0
        self._turn = asyncio.Lock()

    async def facts(self) -> Facts:
        """Everything of it. Of a controller that is away it is what it said last."""
        current = self._collector.current
        moves, versions, said = await asyncio.gather(self._ask("moves"), self._ask("versions"), self.said())
        return {
            "step": current.step if current else 0,
            "steps": [{**step, "brings": said.brings.get(step["number"], [])} for step in steps_of(current)],
            "advice": said.advice,
            "history": self._redactor.facts(history_of(moves)),
            "versions": versions,
            "mode": self._mode,
            "web": len(self.nodes_of("web")),
            "workers": len(self.nodes_of("worker")),
        }

    def nodes_of(self, role: str) -> list[str]:
        """The nodes of a tier, by the newest map."""
        current = self._collector.current
        return [node.name for node in current.of_role(role)] if current else []

    async def _ask(self, op: str) -> list[Facts]:
        answer = await self._gathering.ask(CONTROLLER, op)
        if answer is not None:
            self._known[op] = list(answer[op])
        return self._known.get(op, [])

    async def said(self) -> Said:
        """What the figures say, no older than `SAID_S`; nothing where there is no map."""
        async with self._turn:
            current = self._collector.current
            old = self._clock.monotonic() - self._said_at_s >= SAID_S
            if current is not None and (old or current is not self._said_of):
                self._said = await asyncio.to_thread(self._say, current)
                self._said_of, self._said_at_s = current, self._clock.monotonic()
            return self._said if current is not None else Said()

    def _say(self, current: Map) -> Said:
        history = self._store.recent(HISTORY_S)
        return Said(advise(current, history), brought(current, history, data_bytes=_data_bytes(current)))


def brought(current: Map, history: Sequence[Figures], *, data_bytes: int = 0) -> dict[int, list[Facts]]:
    """What the next two steps would bring here, by their numbers: each sentence in English, and as words for other
    languages. Pure."""
    following = [step for step in STEPS if step.exists and step.number > current.step][:AHEAD]
    told = {step.number: brings(step, current, history, data_bytes=data_bytes) for step in following}
    return {
        number: [{"sentence": say(words), "words": words} for words in sentences] for number, sentences in told.items()
    }


def _data_bytes(current: Map) -> int:
    """The size of the database's file with what is not yet merged into it; 0 where the data is not in a file."""
    size = 0
    for path in (current.database.path, f"{current.database.path}-wal"):
        with contextlib.suppress(OSError):
            size += os.stat(path).st_size if current.database.backend == "sqlite" else 0
    return size
