"""Which requests may be run again, and when.

A database that goes away in the middle of a request (it restarts, or a move passes) fails what the block cannot begin
anew by itself: several reads that belong together, for one. The web process then runs the whole request again, if its
answer has not begun. GET and HEAD always may be; another handler only when its author says so: what it does outside of
the database (mails, calls to others) would happen twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tenfold.core.errors import TenfoldError
from tenfold.core.randomness import Randomness
from tenfold.core.retry import Backoff

MAX_REPLAYS = 4
"""Another attempt waits for the database inside the block, so a few of them go far."""

_WAITS = Backoff(first_s=0.05, limit_s=1.0)

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_MARK = "__tenfold_replayable__"


def replayable(endpoint: Endpoint) -> Endpoint:
    """Marks an endpoint as safe to run again after a failed attempt that wrote nothing. Returns the endpoint itself."""
    setattr(endpoint, _MARK, True)
    return endpoint


def is_replayable(method: str, endpoint: object = None) -> bool:
    """Whether a request with this method, answered by this endpoint, may be run again."""
    return method in ("GET", "HEAD") or getattr(endpoint, _MARK, False) is True


def is_passing(error: BaseException) -> bool:
    """Whether what failed the request is passing, so that another attempt may succeed; surely nothing was applied.

    Frameworks that run their middleware in task groups wrap the error.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return isinstance(error, TenfoldError) and error.replayable


def wait_before(replay: int, spent_s: float, hold_s: float, randomness: Randomness) -> float | None:
    """Seconds to wait before the n-th other attempt (from 1); None when there shall be none."""
    if replay > MAX_REPLAYS or spent_s >= hold_s:
        return None
    return min(_WAITS.wait_s(replay, randomness), hold_s - spent_s)
