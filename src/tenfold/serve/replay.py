"""The mark of handlers that may be run again.

While a move passes, a request whose handler met a closed gate is held and run again. GET and HEAD always may be;
another handler only when its author says so: what it does outside of the database (mails, calls to others) would happen
twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_MARK = "__tenfold_replayable__"


def replayable(endpoint: Endpoint) -> Endpoint:
    """Marks an endpoint as safe to run again after a failed attempt that wrote nothing. Returns the endpoint itself."""
    setattr(endpoint, _MARK, True)
    return endpoint


def is_replayable(method: str, endpoint: object = None) -> bool:
    """Whether a request with this method, answered by this endpoint, may be run again."""
    return method in ("GET", "HEAD") or getattr(endpoint, _MARK, False) is True
