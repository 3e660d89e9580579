"""Where HAProxy sends requests: the service's web servers, those to wait for, and other services. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from tenfold.engines.haproxy.frontends import ID, SECRET_HEADER, route_backend
from tenfold.engines.haproxy.pages import BUSY, return_words
from tenfold.engines.haproxy.plan import Plan
from tenfold.engines.haproxy.quoting import milliseconds, quoted, section
from tenfold.engines.haproxy.servers import HOLD, LAST_RESORT, WEB, Wanted, hold_options, web_options
from tenfold.topology.map import RouteMap

HOLD_STEP_S = 0.25
"""Between two attempts to reach a web server that is being started again."""
BODY_WAIT_S = 30.0
"""How long the beginning of a keyed body is waited for, so that the request can be sent again."""
STREAM_S = 3600.0
"""How long an event stream or a WebSocket may be silent."""
_REST = r"/\1"
_SAFE = "acl safe method GET HEAD OPTIONS"
_RETRY_ON = "retry-on conn-failure empty-response response-timeout"
_BALANCE = {
    "round-robin": ("balance roundrobin",),
    "least-connections": ("balance leastconn",),
    "client-address": ("balance source", "hash-type consistent sdbm avalanche"),
}


def web(plan: Plan, servers: Iterable[Wanted]) -> str:
    """The web servers that are well. Safe and keyed requests are sent again when a server dies under them."""
    balancer = plan.current.balancer
    return section(
        f"backend {WEB}",
        *_BALANCE[balancer.strategy],
        _SAFE,
        "acl keyed req.hdr(idempotency-key) -m found",
        f"http-request deny deny_status 413 if {{ req.body_size gt {plan.current.public.body_limit} }}",
        f"http-request {return_words(BUSY, ID)} if {{ queue({WEB}) ge {max(1, balancer.queue)} }}",
        f"http-request set-header {SECRET_HEADER} {plan.secret}",
        "http-request set-var(txn.again) bool(true) if keyed !safe",
        f"http-request wait-for-body time {milliseconds(BODY_WAIT_S)} if keyed !safe",
        "http-request disable-l7-retry if !safe !keyed",
        f"http-request set-timeout server {milliseconds(STREAM_S)} if {{ req.hdr(accept) -m sub text/event-stream }}",
        _RETRY_ON,
        "option httpchk",
        f"http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host {quoted(plan.current.service)} "
        f"hdr {SECRET_HEADER} {plan.secret}",
        "http-check expect status 200",
        *(f"server {one.name} {one.address} weight {one.weight} {web_options(plan.current)}" for one in servers),
        f"server {LAST_RESORT} abns@{plan.again} backup",
    )


def hold(plan: Plan, servers: Iterable[Wanted]) -> str:
    """The same servers without a check: each is tried, and tried again, as long as a write may be held."""
    attempts = math.ceil(plan.current.database.hold_s / HOLD_STEP_S)
    return section(
        f"backend {HOLD}",
        "balance leastconn",
        f"timeout connect {milliseconds(HOLD_STEP_S)}",
        f"retries {attempts}",
        "retry-on conn-failure",
        "option redispatch 1",
        f"http-request set-timeout server {milliseconds(STREAM_S)} if {{ req.hdr(accept) -m sub text/event-stream }}",
        *(f"server {one.name} {one.address} weight {one.weight} {hold_options(plan.current)}" for one in servers),
    )


def route(place: int, wanted: RouteMap) -> str:
    """Another service. Nobody knows what it does with keys, so only safe requests are sent to it again."""
    path, host = wanted.path.rstrip("/"), wanted.host or "localhost"
    pattern = f"^{re.escape(path)}/*(.*)$"
    strips = wanted.strip and path
    return section(
        f"backend {route_backend(place)}",
        "balance leastconn",
        _SAFE,
        "http-request disable-l7-retry unless safe",
        f"http-request set-timeout server {milliseconds(STREAM_S)} if {{ req.hdr(accept) -m sub text/event-stream }}",
        f"http-request replace-path {quoted(pattern)} {quoted(_REST)}" if strips else "",
        _RETRY_ON,
        "option httpchk",
        f"http-check send meth GET uri {quoted(wanted.check)} ver HTTP/1.1 hdr Host {quoted(host)}",
        "http-check expect status 200-399",
        *(f"server to-{number} {address} {_ROUTE_OPTIONS}" for number, address in enumerate(wanted.to, 1)),
    )


_ROUTE_OPTIONS = "init-addr libc,none check inter 2s fastinter 500ms downinter 1s fall 3 rise 1"
