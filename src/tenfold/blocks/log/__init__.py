"""The log block: structured lines that know which request they belong to.

    tf.log.info("link made", code=code)

One JSON object a line on standard error, batched for up to 50 ms (`tenfold.core.lines`); `error` is written at once. A
line never raises and never waits: what cannot be said is left out, what cannot be written is counted. A process that is
killed loses the lines of its last 50 ms.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from tenfold.blocks.database.scope import current_scope
from tenfold.blocks.log.policy import LEVELS, Level, encoded, fill, stamp
from tenfold.blocks.log.records import LineHandler, name_work, of_record
from tenfold.core.clock import Clock
from tenfold.core.lines import Lines, standard_error
from tenfold.core.randomness import SYSTEM_RANDOMNESS, Randomness
from tenfold.core.trace import Trace, Traces
from tenfold.topology.map import Map

__all__ = ["LineHandler", "Log", "LogStats", "of_record"]


@dataclass(frozen=True, slots=True)
class LogStats:
    """What one process has logged through `tf.log`."""

    lines: dict[str, int] = field(metadata={"label": "level"})
    """By level."""
    cut: int
    """Lines of which something was left out, because it was too much."""
    lines_dropped: int
    """Lines that the disk or the reader did not take."""


class Log:
    """The log of one service. From any thread."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        randomness: Randomness = SYSTEM_RANDOMNESS,
        *,
        node: str = "",
        lines: Lines | None = None,
    ) -> None:
        self._clock = clock
        self._traces = Traces(randomness)
        self._own = {"logger": name, "node": node} if node else {"logger": name}
        self._lines = lines
        self._level: Level = "info"
        self._threshold = LEVELS["info"]
        self._count = dict.fromkeys(LEVELS, 0)
        self._cut = 0

    def debug(self, message: str, /, **fields: Any) -> None:
        """For whoever looks for a fault; not written unless `[log] level = "debug"`."""
        if self._threshold <= 10:
            self._write("debug", message, fields)

    def info(self, message: str, /, **fields: Any) -> None:
        """What happened, in the ordinary course of things."""
        if self._threshold <= 20:
            self._write("info", message, fields)

    def warning(self, message: str, /, **fields: Any) -> None:
        """What somebody may want to look at."""
        if self._threshold <= 30:
            self._write("warning", message, fields)

    def error(self, message: str, /, **fields: Any) -> None:
        """What failed. A field that is an exception brings its traceback. The line is written before this returns."""
        self._write("error", message, fields)

    @property
    def level(self) -> Level:
        """The lowest level that is written."""
        return self._level

    def trace(self) -> Trace:
        """The trace of the running request or job; outside of one, a new one each time."""
        scope = current_scope()
        if scope is None:
            return self._traces.next()
        if scope.trace is None:
            scope.trace = self._traces.next()
        return scope.trace

    def traceparent(self) -> str:
        """The header `traceparent` for a call to another service, so that its lines are found with these."""
        return self.trace().traceparent

    def adopt(self, new: Map) -> None:
        """Goes by a newer map: its level holds from the next line on, for records of the standard library too."""
        self._level = new.log.level
        self._threshold = LEVELS[self._level]
        root = logging.getLogger()
        if any(isinstance(handler, LineHandler) for handler in root.handlers):
            root.setLevel(self._threshold)

    def stats(self) -> LogStats:
        """What this process has logged."""
        return LogStats(dict(self._count), self._cut, 0 if self._lines is None else self._lines.dropped)

    def flush(self) -> None:
        """Writes what waits."""
        if self._lines is not None:
            self._lines.flush()

    def _write(self, level: str, message: str, fields: dict[str, Any]) -> None:
        line: dict[str, Any] = {"time": stamp(self._clock.wall_us()), "level": level, "message": "", **self._own}
        scope = current_scope()
        if scope is not None:
            if scope.trace is None:
                scope.trace = self._traces.next()
            name_work(line, scope.request_id, scope.trace)
        self._count[level] += 1
        self._cut += fill(line, message, fields)
        lines = self._lines
        if lines is None:
            lines = self._lines = standard_error()
        lines.add(encoded(line), now=level == "error")
