"""The error log of a process: one JSON object a line on standard error, so that traces stay with their request."""

from __future__ import annotations

import logging
import os

import msgspec

from tenfold.blocks.log import LineHandler
from tenfold.core.errors import TenfoldError
from tenfold.core.lines import standard_error
from tenfold.hosts.wire import error_body


def log_to_stderr(*no_news: type[Exception]) -> None:
    """Sends the logs of the process, its libraries' and the service's own, to standard error, as `tf.log` writes there.

    `no_news`: exceptions that were reported with their reason already; a trace of one would say nothing more.
    """
    handler = LineHandler(standard_error(), node=os.environ.get("TENFOLD_NODE", ""))
    handler.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], no_news)))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)


def error_line(error: BaseException) -> str:
    """The last line of a process that cannot go on, for `tenfold up` to show; what was logged before is written now."""
    standard_error().flush()
    if not isinstance(error, TenfoldError):
        error = TenfoldError(f"{type(error).__name__}: {error}", hint="See the lines above.", code="TF-INTERNAL")
    return msgspec.json.encode({"error": error_body(error)}).decode("utf-8", "replace")
