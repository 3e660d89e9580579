"""The front door in tenfold.toml: `[balancer]`, `[tls]` and the `[[route]]`s, and what in them contradicts itself.

All of it counts from step 3 on; before that it is read, checked and kept, and waits.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from msgspec import Struct, field

from tenfold.topology.door_rules import Addresses, HostName, UrlPath, Weights
from tenfold.topology.rules import Duration, Key, OneOf, Text, WholeNumber, YesNo

SELF_SIGNED = "self-signed"
"""The certificate that Tenfold makes itself, for trying out."""

ROUTES_MAX = 100


class BalancerSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[balancer]`: how requests are shared out among web servers, from step 3 on."""

    strategy: Annotated[
        Literal["round-robin", "least-connections", "client-address"],
        Key(
            OneOf(("round-robin", "least-connections", "client-address")),
            "Who gets the next request. The one with the fewest open is right where requests differ in length.",
        ),
    ] = "least-connections"
    weights: Annotated[
        tuple[int, ...],
        Key(
            Weights(),
            "Shares of the web servers in the order of their names, 1 for each that is not listed.",
        ),
    ] = ()
    server_connections: Annotated[
        int,
        Key(
            WholeNumber(1, 100_000),
            "How many requests one web server works on at once; more wait in the queue.",
        ),
    ] = 1000
    queue: Annotated[
        int,
        Key(
            WholeNumber(1, 1_000_000),
            "How many requests may wait at one balancer; more get 503 with Retry-After at once.",
        ),
    ] = 10_000
    compression: Annotated[bool, Key(YesNo(), "Text and JSON are packed for clients that take it.")] = True
    header_timeout_s: Annotated[
        float,
        Key(Duration("100ms", "5m"), "How long a client may take for the head of its request; a slow one gets 408."),
    ] = field(default=10.0, name="header_timeout")
    slow_start_s: Annotated[
        float,
        Key(Duration("0s", "10m"), "How long a web server that comes back gets less than its share; caches fill."),
    ] = field(default=5.0, name="slow_start")


class TlsSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[tls]`: a second public address, encrypted, from step 3 on. Without the table there is none."""

    certificate: Annotated[
        str | None,
        Key(
            Text(r"[^\x00-\x1f\x7f]{0,1023}[^\x00-\x1f\x7f/]", '"self-signed", or the path of a PEM file with its key'),
            "Seen from the folder of tenfold.toml, unless it is absolute. Browsers warn of a self-signed one.",
            "none",
        ),
    ] = None
    port: Annotated[
        int, Key(WholeNumber(1, 65535), "High enough to need no privilege; the plain address stays where it is.")
    ] = 8443
    redirect: Annotated[
        bool,
        Key(YesNo(), "Whether the plain address only points here; off, so that what works goes on."),
    ] = False


class RouteSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[route]]`: what goes to another service behind the same door, from step 3 on."""

    host: Annotated[str, Key(HostName(), "Requests for this host only.", "any")] = ""
    path: Annotated[str, Key(UrlPath(), 'Requests for this path and all below it: "/a" fits "/a/b" and not "/ab".')] = (
        "/"
    )
    to: Annotated[tuple[str, ...], Key(Addresses(), "Where they go; several addresses share the load.")]
    strip: Annotated[bool, Key(YesNo(), 'Whether `path` is taken off first: "/a/b" arrives as "/b".')] = False
    check: Annotated[
        str,
        Key(
            Text(r"/[A-Za-z0-9._~/-]{0,199}", 'a path such as "/readyz"'),
            "What an address must answer with a 2xx or 3xx to be sent anything.",
        ),
    ] = "/readyz"

    def __str__(self) -> str:
        return f"{self.host}{self.path}"


Fault = tuple[str, str]
"""What contradicts itself in one sentence, and what to do."""


def faults_of(routes: Sequence[RouteSpec], tls: TlsSpec, public: tuple[str, int]) -> Iterator[Fault]:
    """What cannot be meant: routes that are never reached or lead back to `public` (host, port), ports used twice."""
    ports = {public[1]}
    if tls.certificate is not None:
        if tls.port == public[1]:
            yield (
                f"tls.port: found {tls.port}, which is public.port; allowed: another",
                "Set one of them elsewhere.",
            )
        ports.add(tls.port)
    for number, route in enumerate(routes, 1):
        if (route.host, route.path) == ("", "/"):
            yield (
                f"route {number}: it takes every request, so that none would reach this service",
                "Give it a host or a path.",
            )
        for address in route.to:
            if _leads_back(address, public[0], ports):
                yield (
                    f"route {number}: {address} is the public address of this service, so requests would go in circles",
                    "Name the address of the other service in `to`.",
                )
        yield from _hidden(number, route, routes)


def _hidden(number: int, route: RouteSpec, routes: Sequence[RouteSpec]) -> Iterator[Fault]:
    for before, other in enumerate(routes[: number - 1], 1):
        if (other.host, other.path) == (route.host, route.path):
            yield (
                f"route {number}: {route} has been given to route {before} already, and the first that fits wins",
                "Remove one of them. Several addresses in one `to` share the load.",
            )
        elif _takes_all_of(other, route):
            yield (
                f"route {number}: nothing reaches it, because route {before} ({other}) takes all of {route} before it",
                f"Put route {number} before route {before}, or remove it.",
            )


def _takes_all_of(first: RouteSpec, second: RouteSpec) -> bool:
    """Whether every request that fits `second` fits `first`."""
    below = first.path in ("/", second.path) or second.path.startswith(first.path + "/")
    return below and first.host in ("", second.host)


def _leads_back(address: str, host: str, ports: set[int]) -> bool:
    """Whether an address ("host:port") is that of the public socket, as far as the names tell."""
    name, _, port = address.rpartition(":")
    name = name.strip("[]")
    if int(port) not in ports:
        return False
    if _is_any(name) or _is_any(host):  # the socket answers on every address, and nobody can listen beside it
        return _is_any(name) or is_loopback(name) or name == host
    same = "localhost" in (name, host.lower()) and is_loopback(name) and is_loopback(host)
    return same or name == host.lower()


def _is_any(host: str) -> bool:
    return host in ("0.0.0.0", "::")  # noqa: S104 (compared, not bound)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there; a name that we cannot be sure of is not."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
