"""Records of the standard library's `logging`, in the form of our own lines."""

from __future__ import annotations

import logging
from typing import Any

from tenfold.blocks.database.scope import current_scope
from tenfold.blocks.log.policy import TRACE_CHARACTERS, encoded, fill, stamp, trace_of
from tenfold.core.lines import Lines, standard_error
from tenfold.core.trace import Trace

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "request", "taskName"}


def name_work(line: dict[str, Any], request_id: str, trace: Trace | None) -> None:
    """Says which request and trace the line belongs to."""
    if request_id:
        line["request"] = request_id
    if trace is not None:
        line["trace_id"], line["span_id"] = trace.trace_id, trace.span_id


def of_record(record: logging.LogRecord, node: str = "") -> bytes:
    """The line of a record; its `extra` fields are the line's."""
    scope = current_scope()
    line = {"time": stamp(_created_us(record)), "level": record.levelname.lower(), "message": "", "logger": record.name}
    if node:
        line["node"] = node
    request = getattr(record, "request", "") or ("" if scope is None else scope.request_id)
    name_work(line, str(request), None if scope is None else scope.trace)
    fill(line, _message(record), {name: value for name, value in vars(record).items() if name not in _STANDARD})
    _add_trace(line, record)
    return encoded(line)


def _message(record: logging.LogRecord) -> object:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - arguments that do not fit their message: the line is worth more than they are
        return record.msg


def _created_us(record: logging.LogRecord) -> int:
    try:
        return round(record.created * 1e6)
    except (ValueError, OverflowError):  # made by hand, with a time that is none
        return 0


def _add_trace(line: dict[str, Any], record: logging.LogRecord) -> None:
    if record.exc_info and record.exc_info[1] is not None:
        line["trace"] = trace_of(record.exc_info[1])
    elif record.exc_text:
        line["trace"] = record.exc_text[-TRACE_CHARACTERS:]


class LineHandler(logging.Handler):
    """Sends records to the lines of standard error. Errors are written at once."""

    def __init__(self, lines: Lines | None = None, *, node: str = "") -> None:
        super().__init__()
        self._lines = lines
        self._node = node

    def emit(self, record: logging.LogRecord) -> None:
        """Takes the record; never fails."""
        try:
            line = of_record(record, self._node)
        except Exception:  # noqa: BLE001 - a record whose very attributes fail
            self.handleError(record)
            return
        self._to().add(line, now=record.levelno >= logging.ERROR)

    def flush(self) -> None:
        """Writes what waits."""
        self._to().flush()

    def _to(self) -> Lines:
        if self._lines is None:
            self._lines = standard_error()
        return self._lines
