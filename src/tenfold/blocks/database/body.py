"""Driving a transaction's body: a coroutine that awaits nothing but its `tx`.

On SQLite `tx` never suspends, so a proper body runs to its end in one `send`. A body that suspends awaited something
else, and would make every other writer wait for it; it is closed, and the error names the line.
"""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine
from contextvars import Context
from types import FrameType
from typing import Any

from tenfold.core.errors import ContractError


def drive(body: Coroutine[Any, Any, Any], context: Context) -> Any:
    """Runs the body to its end in `context`: its result, what it raised, or TF-TX-1 when it awaited anything else."""
    try:
        context.run(body.send, None)
    except StopIteration as stop:
        return stop.value
    error = _foreign_await(body)
    with contextlib.suppress(BaseException):  # what its `finally` raises cannot matter any more: nothing is kept
        body.close()
    raise error


def _foreign_await(body: Coroutine[Any, Any, Any]) -> ContractError:
    frame: FrameType | None = getattr(body, "cr_frame", None)
    where = f"{frame.f_code.co_filename}, line {frame.f_lineno}" if frame is not None else "an unknown line"
    name = getattr(body, "__qualname__", "the body")
    return ContractError(
        f"The transaction body {name} awaits something other than its tx ({where}).",
        hint="Every writer waits while it does. Await it before the transaction, or after it.",
        code="TF-TX-1",
    )
