"""Driving a transaction's body: a coroutine that awaits nothing but its `tx`.

On SQLite `tx` never suspends, so a proper body runs to its end in one `send`. Elsewhere `tx` suspends with an
`Operation`, which the driver performs before it goes on with the body. A body that suspends with anything else awaited
something foreign, and would make other writers wait for it; it is closed, and the error names the line.
"""

from __future__ import annotations

import inspect
import sysconfig
import types
from collections.abc import Coroutine, Generator, Iterator
from contextvars import Context
from types import FrameType
from typing import Any

from tenfold.core.errors import ContractError

CLOSE_TRIES = 20
"""A body that awaits in each of its `finally` blocks is closed once for each."""

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


class Operation:
    """What a tx asks of its driver; its result is what the tx's method goes on with."""

    __slots__ = ()


@types.coroutine
def asked(operation: Operation) -> Generator[Operation, Any, Any]:
    """Suspends the body until its driver has performed the operation."""
    return (yield operation)


def foreign_await(body: Coroutine[Any, Any, Any], context: Context) -> ContractError:
    """Ends a body that awaits something else than its tx; the error that names the line."""
    error = _foreign_await(body)
    close(body, context)
    return error


def drive(body: Coroutine[Any, Any, Any], context: Context) -> Any:
    """Runs the body to its end in `context`: its result, what it raised, or TF-TX-1 when it awaited anything else."""
    try:
        context.run(body.send, None)
    except StopIteration as stop:
        return stop.value
    raise foreign_await(body, context)


def close(body: Coroutine[Any, Any, Any], context: Context) -> None:
    """Ends a suspended body; what its `finally` does or raises cannot matter any more: nothing of it is kept.

    From the innermost coroutine outwards: one that awaits again while it is closed would stay behind suspended.
    """
    for awaited in reversed(list(_chain(body))):
        for _ in range(CLOSE_TRIES):
            try:
                context.run(awaited.close)
            except RuntimeError:  # it awaited again, in a `finally`
                continue
            except BaseException:  # noqa: BLE001, S110 - see above
                pass
            break


def _chain(body: Any) -> Iterator[Any]:
    """The body, what it awaits, what that awaits, as far as these are coroutines."""
    while inspect.iscoroutine(body):
        yield body
        body = body.cr_await


def _innermost(body: Coroutine[Any, Any, Any]) -> FrameType | None:
    """The frame that awaits, as deep as it is still the service's own code."""
    frames = [awaited.cr_frame for awaited in _chain(body) if awaited.cr_frame is not None]
    own = [frame for frame in frames if not frame.f_code.co_filename.startswith(_LIBRARIES)]
    return next(reversed(own or frames), None)


def _foreign_await(body: Coroutine[Any, Any, Any]) -> ContractError:
    frame = _innermost(body)
    where = f"{frame.f_code.co_filename}, line {frame.f_lineno}" if frame is not None else "an unknown line"
    name = getattr(body, "__qualname__", "the body")
    return ContractError(
        f"The transaction body {name} awaits something other than its tx ({where}).",
        hint="Every writer waits while it does. Await it before the transaction, or after it.",
        code="TF-TX-1",
    )
