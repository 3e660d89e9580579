"""HAProxy's whole configuration, as text. Pure: a map in, a file out.

What is not plain in it is explained in docs/decisions: `retry-what-is-safe`, `nobody-well-means-everybody`,
`runtime-before-reload`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from tenfold.engines.haproxy import backends, frontends
from tenfold.engines.haproxy.basis import CONNECTIONS, Basis, Identity
from tenfold.engines.haproxy.frontends import ID
from tenfold.engines.haproxy.pages import PAGES, error_line
from tenfold.engines.haproxy.quoting import milliseconds, quoted, section
from tenfold.engines.haproxy.reconcile import FACTS
from tenfold.engines.haproxy.servers import Wanted, wanted_servers
from tenfold.topology.map import Map

__all__ = ["Identity", "render"]

AS_WE_ARE = Identity()
BUFFER = 32_768
"""Bytes of a request or response in memory: heads must fit, and bodies up to about this size can be sent again."""
HEADERS = 128
CONNECT_S = 0.5
"""Also the pause before the last web server is tried again."""
RETRIES = 4
"""So that a request that two servers died under, one after the other, still reaches the last resort."""
SLACK_S = 10.0
"""Beyond what a web server holds a request for: it should be the one that answers."""
LEAST_ANSWER_S = 60.0
_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
_SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
_LOG = "%ID %ci %HM %HPO %ST %b/%s times=%TR/%Tw/%Tc/%Tr/%Ta end=%tsc retries=%rc queue=%sq/%bq"


def render(
    current: Map,
    node: str,
    *,
    listen_fd: int,
    tls_fd: int | None = None,
    admin: str,
    secret: str,
    identity: Identity = AS_WE_ARE,
    generation: int = 1,
    descriptors: int = 2 * CONNECTIONS + 1000,
    threads: int = 0,
    again: tuple[str, int] | None = None,
) -> str:
    """The config of the balancer `node`.

    `listen_fd`, `tls_fd`: the inherited listeners (the latter only where the map has TLS); `admin`: the path of the
    admin socket, seen from HAProxy's working directory; `secret`: what proves to a web server that a request comes from
    a balancer; `generation`: counts HAProxy's lives, so that two that overlap do not share a name; `descriptors`: how
    many files it may open; `threads`: 0 for one on each core; `again`: name and descriptor of an inherited abstract
    socket on which HAProxy comes to itself, so that one that drains comes to its successor.
    """
    name, again_fd = again or (_again_name(current, node, secret, generation), None)
    basis = Basis(current, node, listen_fd, tls_fd, admin, secret, identity, descriptors, threads, name, again_fd)
    head = f"# Written by Tenfold for {node}; it writes it anew with every change.\n{FACTS}{_facts(basis)}\n"
    return head + "\n" + _text(basis, wanted_servers(current))


def _facts(basis: Basis) -> str:
    """A digest of all that only a reload changes: which web servers there are does not count, nor does what every life
    has its own; one made up stands for them, because their options do count."""
    plain = _text(replace(basis, again="x", admin="x"), (Wanted("any", "0.0.0.0:1", 1),))
    return hashlib.blake2b(plain.encode(), digest_size=16).hexdigest()


def _again_name(current: Map, node: str, secret: str, generation: int) -> str:
    """The abstract socket of this deployment, node and life alone; not to be guessed."""
    seed = f"{secret} {current.state} {node} {generation}".encode()
    return "tenfold-" + hashlib.blake2b(seed, digest_size=12).hexdigest()


def _text(basis: Basis, servers: Sequence[Wanted]) -> str:
    parts = [_global(basis), _defaults(basis), frontends.public(basis), frontends.again(basis)]
    parts += [backends.web(basis, servers), backends.hold(basis, servers)]
    parts += [backends.route(place, route) for place, route in enumerate(basis.current.routes)]
    return "\n".join(parts)


def _global(basis: Basis) -> str:
    identity = basis.identity
    return section(
        "global",
        f"maxconn {basis.connections}",
        f"nbthread {basis.threads}" if basis.threads else "",
        f"user {quoted(identity.user)}" if identity.user else "",
        f"group {quoted(identity.group)}" if identity.group else "",
        f"hard-stop-after {milliseconds(basis.current.web.drain_limit_s)}",
        f"stats socket {quoted('unix@' + basis.admin)} mode 600 level admin",
        "stats timeout 10s",
        "log stdout format raw daemon notice",
        f"tune.bufsize {BUFFER}",
        f"tune.http.maxhdr {HEADERS}",
        # A thread takes no idle connection of another, which could be dead without its knowing: after a kill such ones
        # used up all attempts of a request within milliseconds.
        "tune.idle-pool.shared off",
        "tune.ssl.default-dh-param 2048",
        "spread-checks 5",
        "ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets",
        f"ssl-default-bind-ciphers {_CIPHERS}",
        f"ssl-default-bind-ciphersuites {_SUITES}",
    )


def _defaults(basis: Basis) -> str:
    current = basis.current
    answer_s = max(current.database.hold_s + SLACK_S, LEAST_ANSWER_S)
    return section(
        "defaults",
        "mode http",
        "log global",
        "option dontlognull",
        "option dontlog-normal",
        "option log-separate-errors",
        f"log-format {quoted(_LOG)}",
        "option idle-close-on-response",
        "option redispatch 1",
        "option splice-auto",
        "http-reuse safe",
        f"retries {RETRIES}",
        f"timeout http-request {milliseconds(current.balancer.header_timeout_s)}",
        f"timeout http-keep-alive {milliseconds(current.web.keep_alive_s)}",
        f"timeout client {milliseconds(answer_s)}",
        "timeout client-fin 10s",
        f"timeout connect {milliseconds(CONNECT_S)}",
        "timeout check 2s",
        f"timeout queue {milliseconds(answer_s)}",
        f"timeout server {milliseconds(answer_s)}",
        f"timeout tunnel {milliseconds(backends.STREAM_S)}",
        *(error_line(page, ID) for page in PAGES),
    )
