"""The two doors of HAProxy: the public one, and the one that it comes to itself. Pure."""

from __future__ import annotations

import re

from tenfold.engines.haproxy.pages import BUSY, MADE_HERE, return_words
from tenfold.engines.haproxy.plan import Plan
from tenfold.engines.haproxy.quoting import quoted, section
from tenfold.engines.haproxy.servers import HOLD, WEB
from tenfold.topology.map import RouteMap

PUBLIC = "public"
"""The frontend that clients come to."""
AGAIN = "again"
"""The frontend that HAProxy itself comes to, with requests that no healthy server is there for."""
SECRET_HEADER = "x-tenfold-door"  # noqa: S105 - the header's name
ID = "%[unique-id]"
_COMPRESSED = (
    "text/html text/plain text/css text/csv text/xml text/javascript application/javascript application/json "
    "application/problem+json application/xml application/manifest+json image/svg+xml"
)


def route_backend(place: int) -> str:
    """The backend of the map's route number `place`, from 0."""
    return f"route-{place + 1}"


def public(plan: Plan) -> str:
    """Where clients come in: what they say of themselves gives way to what is seen; then the first route that fits."""
    return section(
        f"frontend {PUBLIC}",
        f"bind fd@{plan.listen_fd}",
        _tls_bind(plan),
        "unique-id-format %[uuid()]",
        "unique-id-header X-Request-Id",
        *_headers(plan),
        *_redirect(plan),
        # A page of ours for a write that may have been sent more than once cannot say that it was not applied.
        f"http-after-response set-status 502 if {{ status 503 }} {{ res.hdr({MADE_HERE}) -m found }} "
        "{ var(txn.again) -m bool }",
        f"http-after-response del-header {MADE_HERE}",
        *_compression(plan),
        *(_use(place, route) for place, route in enumerate(plan.current.routes)),
        f"default_backend {WEB}",
    )


def again(plan: Plan) -> str:
    """Where requests wait while no web server is well. Only HAProxy itself knows the way in."""
    return section(
        f"frontend {AGAIN}",
        f"bind abns@{plan.again}",
        "unique-id-format %[req.hdr(x-request-id)]",
        f"http-request deny deny_status 403 unless {{ req.hdr({SECRET_HEADER}) -m str {plan.secret} }}",
        f"http-request {return_words(BUSY, ID)} if {{ be_conn({HOLD}) ge {max(1, plan.current.balancer.queue)} }}",
        f"default_backend {HOLD}",
    )


def _tls_bind(plan: Plan) -> str:
    tls = plan.current.public.tls
    if tls is None or plan.tls_fd is None:
        return ""
    return f"bind fd@{plan.tls_fd} ssl crt {quoted(tls.certificate)} alpn h2,http/1.1"


def _headers(plan: Plan) -> list[str]:
    dropped = ["X-Request-Id", "Forwarded", "X-Real-IP", SECRET_HEADER, MADE_HERE]
    return [
        *(f"http-request del-header {name}" for name in dropped),
        "http-request del-header X-Forwarded- -m beg",
        "http-request set-header X-Forwarded-For %[src]",
        "http-request set-header X-Forwarded-Host %[req.hdr(host)] if { req.hdr(host) -m found }",
        "http-request set-header X-Forwarded-Port %[dst_port]",
        "http-request set-header X-Forwarded-Proto http",
        "http-request set-header X-Forwarded-Proto https if { ssl_fc }",
    ]


def _redirect(plan: Plan) -> list[str]:
    tls = plan.current.public.tls
    if tls is None or plan.tls_fd is None or not tls.redirect:
        return []
    port = "" if tls.port == 443 else f":{tls.port}"
    host = "%[req.hdr(host),regsub(:[0-9]*$,)]"
    return [
        f"http-request redirect code 308 location https://{host}{port}%[pathq] "
        "if { req.hdr(host) -m found } !{ ssl_fc }"
    ]


def _compression(plan: Plan) -> list[str]:
    # The types are listed, because what is sent bit by bit (text/event-stream) would wait in the compressor.
    if not plan.current.balancer.compression:
        return []
    return ["compression algo gzip", f"compression type {_COMPRESSED}"]


def _use(place: int, route: RouteMap) -> str:
    terms = [f"{{ req.hdr(host),host_only -i -m str {quoted(route.host)} }}"] if route.host else []
    path = route.path.rstrip("/")
    terms += [f"{{ path -m reg {quoted(f'^{re.escape(path)}(/|$)')} }}"] if path else []
    return f"use_backend {route_backend(place)}" + (f" if {' '.join(terms)}" if terms else "")
