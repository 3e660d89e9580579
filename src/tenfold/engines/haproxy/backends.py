"""Where HAProxy sends requests: the service's web servers, those to wait for, and other services. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from tenfold.engines.haproxy.basis import Basis
from tenfold.engines.haproxy.frontends import ID, REPEATABLE, SECRET_HEADER, route_backend
from tenfold.engines.haproxy.pages import BUSY, REPEATED, return_words
from tenfold.engines.haproxy.quoting import milliseconds, quoted, section
from tenfold.engines.haproxy.servers import HOLD, LAST_RESORT, WEB, Wanted, hold_options, web_options
from tenfold.topology.map import BODY_MAX, RouteMap

HOLD_STEP_S = 0.25
"""Between two attempts to reach a web server that is being started again."""
HOLD_TRIES = 2
"""Attempts on one server before the next one. HAProxy pauses only before it tries the same server again, and with most
ways to share out not even then: two servers that refuse were tried twenty times within 1 ms. By a hash it does."""
BODY_WAIT_S = 30.0
"""How long the beginning of a keyed body is waited for, so that the request can be sent again."""
STREAM_S = 3600.0
"""How long an event stream or a WebSocket may be silent."""
_REST = r"/\1"
# Not after a timeout as well: a request that takes a server a minute would then take it five (measured).
_RETRY_ON = "retry-on conn-failure empty-response"
_BALANCE = {
    "round-robin": ("balance roundrobin",),
    "least-connections": ("balance leastconn",),
    "client-address": ("balance source", "hash-type consistent sdbm avalanche"),
}


def web(basis: Basis, servers: Iterable[Wanted]) -> str:
    """The web servers that are well. Safe and keyed requests are sent again when a server dies under them."""
    balancer = basis.current.balancer
    return section(
        f"backend {WEB}",
        *_BALANCE[balancer.strategy],
        *REPEATABLE,
        # What each route takes is for the web servers to say: their code knows it, and may be of two versions.
        f"http-request deny deny_status 413 if {{ req.body_size gt {BODY_MAX} }}",
        f"http-request {return_words(BUSY, ID)} if {{ queue({WEB}) ge {max(1, balancer.queue)} }}",
        f"http-request set-header {SECRET_HEADER} {basis.secret}",
        f"http-request set-var({REPEATED}) bool(true) if keyed !safe",
        f"http-request wait-for-body time {milliseconds(BODY_WAIT_S)} if keyed !safe",
        "http-request disable-l7-retry if !safe !keyed",
        f"http-request set-timeout server {milliseconds(STREAM_S)} if {{ req.hdr(accept) -m sub text/event-stream }}",
        _RETRY_ON,
        "option httpchk",
        f"http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host {quoted(basis.current.service)} "
        f"hdr {SECRET_HEADER} {basis.secret}",
        "http-check expect status 200",
        *(f"server {one.name} {one.address} weight {one.weight} {web_options(basis.current)}" for one in servers),
        # No connection is kept in reserve: it would keep a HAProxy that leaves connected to itself for a while.
        f"server {LAST_RESORT} abns@{basis.again} backup pool-max-conn 0",
    )


def hold(basis: Basis, servers: Iterable[Wanted]) -> str:
    """The same servers without a check: each is tried, and tried again, as long as a write may be held."""
    attempts = HOLD_TRIES * math.ceil(basis.current.database.hold_s / HOLD_STEP_S)
    return section(
        f"backend {HOLD}",
        "balance hdr(x-request-id)",
        "hash-type consistent",
        f"timeout connect {milliseconds(HOLD_STEP_S)}",
        f"retries {attempts}",
        "retry-on conn-failure",
        # A server that dies under a request leaves `web` without an answer, too: that one knows what to send again.
        "errorfile 502 /dev/null",
        f"option redispatch {HOLD_TRIES}",
        f"http-request set-timeout server {milliseconds(STREAM_S)} if {{ req.hdr(accept) -m sub text/event-stream }}",
        *(f"server {one.name} {one.address} weight {one.weight} {hold_options(basis.current)}" for one in servers),
    )


def route(place: int, wanted: RouteMap) -> str:
    """Another service. Nobody knows what it does with keys, so only safe requests are sent to it again."""
    path, host = wanted.path.rstrip("/"), wanted.host or "localhost"
    pattern = f"^{re.escape(path)}/*(.*)$"
    strips = wanted.strip and path
    return section(
        f"backend {route_backend(place)}",
        "balance leastconn",
        REPEATABLE[0],
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
