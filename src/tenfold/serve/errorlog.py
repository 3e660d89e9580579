"""The error log of a process: one JSON object a line on standard error, so that traces stay with their request."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import msgspec

from tenfold.core.errors import TenfoldError
from tenfold.hosts.wire import error_body


class JsonLines(logging.Formatter):
    """A record as one line: time, level, logger, message, and the request's id and the trace where there are."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        request = getattr(record, "request", "")
        if request:
            line["request"] = request
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode("utf-8", "replace")


def log_to_stderr(*no_news: type[Exception]) -> None:
    """Sends the logs of the process, its libraries' and the service's own, to standard error.

    `no_news`: exceptions that were reported with their reason already; a trace of one would say nothing more.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], no_news)))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


def error_line(error: BaseException) -> str:
    """The last line of a process that cannot go on, for `tenfold up` to show."""
    if not isinstance(error, TenfoldError):
        error = TenfoldError(f"{type(error).__name__}: {error}", hint="See the lines above.", code="TF-INTERNAL")
    return msgspec.json.encode({"error": error_body(error)}).decode("utf-8", "replace")
