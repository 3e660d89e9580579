"""Which web servers HAProxy is to know, and with which options: the same words in the config and at run time. Pure."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

from tenfold.topology.map import Map, NodeMap

WEB = "web"
"""The backend of the service's web servers: those that their health check finds well."""
HOLD = "hold"
"""The backend with the same servers unchecked: asked, and waited for, while none of `WEB` is well."""
LAST_RESORT = "last-resort"
"""The server of `WEB` that leads to `HOLD`; it is in every config and no node has its name."""
WEIGHT_LIMIT = 256


@dataclass(frozen=True, slots=True)
class Wanted:
    """A web server that is to be known. `drain`: it keeps what it has begun and gets nothing new."""

    name: str
    address: str
    weight: int
    standing: Literal["ready", "drain"] = "ready"


def wanted_servers(current: Map, ejected: Set[str] = frozenset()) -> tuple[Wanted, ...]:
    """The web servers that requests may go to: those with an address and traffic. Those in `ejected` get nothing new.

    Weights are the map's, in the order of the names of all web nodes; nodes whose traffic is off keep their place.
    """
    weights = current.balancer.weights
    return tuple(
        Wanted(
            node.name,
            node.address,
            min(weights[place], WEIGHT_LIMIT) if place < len(weights) else 1,
            "drain" if node.name in ejected else "ready",
        )
        for place, node in enumerate(in_order(current))
        if node.address and node.traffic == "on"
    )


def in_order(current: Map) -> list[NodeMap]:
    """The web nodes by their names, web-2 before web-10."""
    return sorted(current.of_role("web"), key=lambda node: (len(node.name), node.name))


def web_options(current: Map) -> str:
    """What follows the address of a server of `WEB`.

    A connection that is refused marks it down at once (on one machine nobody listens then), and its health check finds
    it again within a third of a second. A server that does not answer its check for 6 s or so is down as well.
    """
    slow = math.ceil(current.balancer.slow_start_s * 1000)
    return " ".join(
        (
            f"maxconn {current.balancer.server_connections}",
            "check inter 1s fastinter 250ms downinter 250ms fall 3 rise 1",
            "observe layer4 error-limit 1 on-error mark-down",
            *((f"slowstart {slow}ms",) if slow else ()),
        )
    )


def hold_options(current: Map) -> str:
    """What follows the address of a server of `HOLD`."""
    return f"maxconn {current.balancer.server_connections}"


def is_fixed(address: str) -> bool:
    """Whether "host:port" has an IP address for a host: names are looked up only when a config is read."""
    try:
        ipaddress.ip_address(address.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return True
