"""The two doors of HAProxy: the public one, and the one that it comes to itself. Pure."""

from __future__ import annotations

import re

from tenfold.engines.haproxy.basis import Basis
from tenfold.engines.haproxy.pages import BUSY, MADE_HERE, REPEATED, return_words
from tenfold.engines.haproxy.quoting import quoted, section
from tenfold.engines.haproxy.servers import HOLD, WEB
from tenfold.topology.map import RouteMap

PUBLIC = "public"
"""The frontend that clients come to."""
CLOSE_PUBLIC = f"shutdown frontend {PUBLIC}"
"""The command that ends it for good: nobody is accepted any more, who is there is led out with the next answer."""
CLOSED = "STOP"
"""Its status from then on."""
AGAIN = "again"
"""The frontend that HAProxy itself comes to, with requests that no healthy server is there for."""
SECRET_HEADER = "x-tenfold-door"  # noqa: S105 - the header's name
ID = "%[unique-id]"
REPEATABLE = ("acl safe method GET HEAD OPTIONS", "acl keyed req.hdr(idempotency-key) -m found")
"""What may be sent to a second server when a first one died with it: it changes nothing, or its key makes it once."""
_COMPRESSED = (
    "text/html text/plain text/css text/csv text/xml text/javascript application/javascript application/json "
    "application/problem+json application/xml application/manifest+json image/svg+xml"
)


def route_backend(place: int) -> str:
    """The backend of the map's route number `place`, from 0."""
    return f"route-{place + 1}"


def public(basis: Basis) -> str:
    """Where clients come in: what they say of themselves gives way to what is seen; then the first route that fits."""
    return section(
        f"frontend {PUBLIC}",
        f"bind fd@{basis.listen_fd}",
        _tls_bind(basis),
        "unique-id-format %[uuid()]",
        "unique-id-header X-Request-Id",
        f"http-request set-var({REPEATED}) bool(false)",
        *_headers(basis),
        *_redirect(basis),
        # A page of ours for a write that may have been sent more than once cannot say that it was not applied.
        f"http-after-response set-status 502 if {{ status 503 }} {{ res.hdr({MADE_HERE}) -m found }} "
        f"{{ var({REPEATED}) -m bool }}",
        f"http-after-response del-header {MADE_HERE}",
        *_compression(basis),
        *(_use(place, route) for place, route in enumerate(basis.current.routes)),
        f"default_backend {WEB}",
    )


def again(basis: Basis) -> str:
    """Where requests wait while no web server is well. Only HAProxy itself knows the way in."""
    return section(
        f"frontend {AGAIN}",
        f"bind abns@{basis.again}" if basis.again_fd is None else f"bind fd@{basis.again_fd}",
        "unique-id-format %[req.hdr(x-request-id)]",
        *REPEATABLE,
        f"http-request set-var({REPEATED}) bool(false)",
        f"http-request set-var({REPEATED}) bool(true) if keyed !safe",
        f"http-request deny deny_status 403 unless {{ req.hdr({SECRET_HEADER}) -m str {basis.secret} }}",
        f"http-request {return_words(BUSY, ID)} if {{ be_conn({HOLD}) ge {max(1, basis.current.balancer.queue)} }}",
        f"default_backend {HOLD}",
    )


def _tls_bind(basis: Basis) -> str:
    tls = basis.current.public.tls
    if tls is None or basis.tls_fd is None:
        return ""
    return f"bind fd@{basis.tls_fd} ssl crt {quoted(tls.certificate)} alpn h2,http/1.1"


def _headers(basis: Basis) -> list[str]:
    dropped = ["X-Request-Id", "Forwarded", "X-Real-IP", SECRET_HEADER, MADE_HERE]
    return [
        *(f"http-request del-header {name}" for name in dropped),
        "http-request del-header X-Forwarded- -m beg",
        # Some frameworks take an underscore for a hyphen, so these would be believed as well.
        "http-request del-header X_Forwarded_ -m beg",
        "http-request del-header X_Real_IP",
        "http-request set-header X-Forwarded-For %[src]",
        "http-request set-header X-Forwarded-Host %[req.hdr(host)] if { req.hdr(host) -m found }",
        "http-request set-header X-Forwarded-Port %[dst_port]",
        "http-request set-header X-Forwarded-Proto http",
        "http-request set-header X-Forwarded-Proto https if { ssl_fc }",
    ]


def _redirect(basis: Basis) -> list[str]:
    tls = basis.current.public.tls
    if tls is None or basis.tls_fd is None or not tls.redirect:
        return []
    port = "" if tls.port == 443 else f":{tls.port}"
    host = "%[req.hdr(host),regsub(:[0-9]*$,)]"
    return [
        f"http-request redirect code 308 location https://{host}{port}%[pathq] "
        "if { req.hdr(host) -m found } !{ ssl_fc }"
    ]


def _compression(basis: Basis) -> list[str]:
    # The types are listed, because the last bytes of each piece of a stream wait in the compressor for the next one.
    # A rule on the response comes too late: HAProxy has decided before it (measured with no-transform).
    if not basis.current.balancer.compression:
        return []
    return ["compression algo gzip", f"compression type {_COMPRESSED}"]


def _use(place: int, route: RouteMap) -> str:
    terms = [f"{{ req.hdr(host),host_only -i -m str {quoted(route.host)} }}"] if route.host else []
    path = route.path.rstrip("/")
    terms += [f"{{ path -m reg {quoted(f'^{re.escape(path)}(/|$)')} }}"] if path else []
    return f"use_backend {route_backend(place)}" + (f" if {' '.join(terms)}" if terms else "")
