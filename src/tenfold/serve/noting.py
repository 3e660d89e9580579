"""What is noted of a request that was slow or failed: its route, and where its time went."""

from __future__ import annotations

import os
from typing import Any

from tenfold.blocks.database.scope import RequestScope
from tenfold.serve.exchange import Exchange
from tenfold.serve.head import EVENTS
from tenfold.serve.metrics import INTERNAL, known_method
from tenfold.serve.noted import Noted
from tenfold.serve.told import Spent, Told

TEXT = 100
"""Characters of a route, an error or an id at most."""

SERVICE_FAILED = 500
_NODE = os.environ.get("TENFOLD_NODE", "")


def note(noted: Noted, exchange: Exchange, status: int, took_s: float, *, now: float, wall_us: int) -> None:
    """Keeps a request that has ended, if it is one to keep. What Tenfold itself is asked, and how long a stream of
    events was open, says nothing about how fast the service answers."""
    noted.tick(now)
    if exchange.route == INTERNAL:
        return
    slow = took_s > noted.above_s and EVENTS not in exchange.scope
    if not slow and status < SERVICE_FAILED:
        return
    told = told_of(exchange, status, took_s, wall_us)
    if slow:
        noted.slow(told, took_s, now)
    if status >= SERVICE_FAILED:
        noted.failed(told)


def told_of(exchange: Exchange, status: int, took_s: float, wall_us: int) -> Told:
    """What is told of a request."""
    request = exchange.request
    return Told(
        request=request.request_id[:TEXT],
        node=_NODE,
        route=_route(exchange.route, exchange.scope)[:TEXT],
        method=known_method(exchange.scope["method"]),
        status=status,
        ended_us=wall_us,
        took_ms=_ms(took_s),
        spent=spent_of(request, exchange.replays),
        error=exchange.failure[:TEXT],
    )


def spent_of(request: RequestScope, replays: int) -> Spent:
    """Where its time went."""
    return Spent(
        gate_ms=_ms(request.gate_s),
        database_ms=_ms(request.database_s),
        database_calls=request.database_calls,
        cache_hits=request.cache_hits,
        cache_loads=request.cache_loads,
        cache_ms=_ms(request.cache_s),
        replays=replays,
    )


def _route(route: str, scope: Any) -> str:
    """A hot route's template; of what the framework answered its template or the name of its endpoint, where it says
    so (FastAPI and Starlette do)."""
    template = getattr(scope.get("route"), "path", "")
    if route != "app" or (isinstance(template, str) and template):
        return template if route == "app" else route
    return getattr(scope.get("endpoint"), "__name__", route)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
