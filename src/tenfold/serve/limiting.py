"""Requests that limits count by themselves, before anything else is done for them.

One over the limit is answered with 429; or, where the limit says so, it becomes a job, and is answered with 202 and the
job's id.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from tenfold.blocks.database.scope import RequestScope, enter_scope, leave_scope
from tenfold.blocks.limits import Decision, Limits
from tenfold.serve.exchange import Exchange, Scope
from tenfold.serve.health import INTERNAL_PATHS
from tenfold.serve.hot import Response

DEFERRED_BYTES = 64 * 1024
"""A request with a larger body is refused instead of deferred: the body is kept in the database."""

DEFERRED_HEADERS = frozenset(
    {b"content-type", b"content-language", b"accept", b"accept-language", b"idempotency-key", b"user-agent"}
)
"""What a job gets of the request's headers: no cookie, no password, no key."""

_ACCEPTED = [(b"cache-control", b"no-store")]


async def counted(limits: Limits, scope: Scope) -> Decision | None:
    """Charges the limits that count this request; None when none does. The response will carry what is left."""
    if scope["path"] in INTERNAL_PATHS or scope.get("method") == "OPTIONS":
        return None
    decision = await limits.count_request(scope)
    if decision is not None:
        limits.show(decision)
    return decision


async def answered(limits: Limits, exchange: Exchange) -> bool:
    """Counts a request. True when it is over a limit that defers, and has been answered with the id of its job.

    Raises `LimitExceeded` when it is over a limit that refuses; those count what becomes a job, too.
    """
    decision = await counted(limits, exchange.scope)
    if decision is None or decision.allowed:
        return False
    task = limits.task_for(decision)
    if not task or exchange.head.length > DEFERRED_BYTES:
        raise limits.exceeded(decision)
    bound = await limits.count_request(exchange.scope, to_defer=True)
    if bound is not None and not bound.allowed:
        raise limits.exceeded(bound)
    job = await _deferred(limits, exchange, task)
    if job is None:
        raise limits.exceeded(decision)
    await exchange.respond(Response.json({"deferred": True, "job": job}, 202, _ACCEPTED))
    return True


async def _deferred(limits: Limits, exchange: Exchange, task: str) -> str | None:
    """The id of the job that the request has become; None when it is too large for that."""
    key = exchange.head.key()
    body = await exchange.read_up_to(DEFERRED_BYTES)
    if body is None:
        return None
    if key is not None:
        await exchange.identify(key)
    whose = {"user": await limits.who(), "address": limits.address()}
    entered = enter_scope(_scope_of_job(exchange.request))
    try:
        return await limits.defer(task, {**request_facts(exchange.scope, body), **whose})
    finally:
        leave_scope(entered)


def _scope_of_job(request: RequestScope) -> RequestScope:
    """A scope for the job's own transaction: the same request makes the same job, and a later one that is not deferred
    any more finds nothing of it under the ordinals of its own transactions."""
    key = None if request.idempotency_key is None else f"{request.idempotency_key}\0deferred"
    scope = RequestScope(request_id=request.request_id, idempotency_key=key, fingerprint=request.fingerprint)
    scope.trace = request.trace
    return scope


def request_facts(scope: Scope, body: bytes) -> dict[str, Any]:
    """What a job is told of the request: JSON-able; the body as text, or in base64 when it is none."""
    headers = {
        name.decode("ascii"): value.decode("latin-1") for name, value in scope["headers"] if name in DEFERRED_HEADERS
    }
    facts = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope.get("query_string", b"").decode("latin-1"),
        "headers": headers,
    }
    try:
        return {**facts, "body": body.decode("utf-8"), "encoding": "utf-8"}
    except UnicodeDecodeError:
        return {**facts, "body": b64encode(body).decode("ascii"), "encoding": "base64"}
