"""Who is told that there is something to do: this process at once, the others on the database within milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any

from tenfold.blocks.database import Database
from tenfold.blocks.tasks.policy import State

TOPIC = "tf:tasks"
NEW, LATER, LANE, URGENT = f"{TOPIC}|new", f"{TOPIC}|later", f"{TOPIC}|lane", f"{TOPIC}|urgent"
"""A job that is due, one for later, one of a task with a limit, one that goes before others."""

CANCEL = f"{TOPIC}|cancel|"
TOGETHER_S = 0.02
"""Others are told once in this time at most, beside the transactions, so that no writer waits for it."""


class Bell:
    """Rung after commits. What it rings here is `heard`; `tell_others` says whether others need to be told of jobs."""

    def __init__(self, database: Database) -> None:
        self.heard: Callable[[str], None] = _nobody
        self.tell_others: Callable[[], bool] = _always
        self._database = database
        self._telling: dict[str, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._told_at = -TOGETHER_S

    def rung_for(self, row: Mapping[str, Any]) -> None:
        """A job was enqueued, and its transaction is committed."""
        if row["state"] == State.SCHEDULED:
            self.ring(LATER)
        elif row["lane"]:
            self.ring(LANE)
        else:
            self.ring(URGENT if row["priority"] > 0 else NEW)

    def ring(self, what: str) -> None:
        """Tells this process, and the others when they need to know."""
        self.heard(what)
        if self.tell_others():
            self.tell(what)

    def tell(self, what: str) -> None:
        """Tells the others soon."""
        self._telling[what] = None
        if self._timer is None:
            loop = asyncio.get_running_loop()
            wait_s = max(self._told_at + TOGETHER_S - loop.time(), 0.0)
            self._timer = loop.call_later(wait_s, self._tell, context=Context())

    def _tell(self) -> None:
        self._timer = None
        self._told_at = asyncio.get_running_loop().time()
        telling, self._telling = list(self._telling), {}
        if self._database.is_open:
            self._database.announce(telling)

    def stop(self) -> None:
        """Tells at once what was to be told."""
        if self._timer is not None:
            self._timer.cancel()
            self._tell()


def _nobody(what: str) -> None:
    pass


def _always() -> bool:
    return True
