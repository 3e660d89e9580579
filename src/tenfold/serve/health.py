"""`/healthz`, `/readyz` and `/metrics`: answered before any route of the service."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Literal

from tenfold.core.errors import NotFound
from tenfold.serve.head import RELAYED, is_forwarding
from tenfold.serve.hot import Response
from tenfold.serve.metrics import METRICS_CONTENT_TYPE
from tenfold.serve.numbers import Numbers
from tenfold.serve.otlp import CONTENT_TYPE as OTLP_CONTENT_TYPE

INTERNAL_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})

_NOT_STORED = (b"cache-control", b"no-store")

ALIVE = Response.json({"alive": True}, headers=[_NOT_STORED])


def readiness(ready: bool, reason: str) -> Response:
    """200 when requests can be served, else 503 with the reason; for load balancers."""
    value = {"ready": True} if ready else {"ready": False, "reason": reason}
    return Response.json(value, 200 if ready else 503, headers=[_NOT_STORED])


def metrics_response(
    numbers: Numbers, scope: Mapping[str, Any], allowed: Literal["loopback", "public", "off"]
) -> Response:
    """The numbers, or `NotFound` for a peer that may not see them (which is also what `off` looks like).

    Prometheus' text; OpenTelemetry's JSON for `?format=otlp` and for who accepts nothing but JSON.
    """
    if allowed == "off" or (allowed == "loopback" and not is_local(scope)):
        raise NotFound("There is nothing at this path.")
    if _wants_otlp(scope):
        return Response(200, [(b"content-type", OTLP_CONTENT_TYPE), _NOT_STORED], numbers.otlp())
    headers = [(b"content-type", METRICS_CONTENT_TYPE), _NOT_STORED]
    return Response(200, headers, numbers.text())


def _wants_otlp(scope: Mapping[str, Any]) -> bool:
    if b"format=otlp" in scope.get("query_string", b"").split(b"&"):
        return True
    accepted = [value for name, value in scope["headers"] if name == b"accept"]
    return [value.partition(b";")[0].strip().lower() for value in accepted] == [OTLP_CONTENT_TYPE]


def is_local(scope: Mapping[str, Any]) -> bool:
    """Whether the request comes from this machine itself: over loopback, and not through a proxy on this machine (a
    balancer is one), which would make the whole world look local."""
    client = scope.get("client")
    if not client or RELAYED in scope or any(name == b"via" or is_forwarding(name) for name, _ in scope["headers"]):
        return False
    try:
        address = ip_address(client[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
