"""What a config is made from: the map, and where this HAProxy stands. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tenfold.topology.map import Map

CONNECTIONS = 50_000
"""Clients of one balancer at once, at most; each takes two descriptors."""
_SPARE_DESCRIPTORS = 500
_WORD = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom HAProxy serves when it is started as root; both empty when it runs as whoever started it."""

    user: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Basis:
    """One config. `again`: the abstract socket on which HAProxy comes to itself, inherited as `again_fd` or
    its own; the rest as in `render`."""

    current: Map
    node: str
    listen_fd: int
    tls_fd: int | None
    admin: str
    secret: str
    identity: Identity
    descriptors: int
    threads: int
    again: str
    again_fd: int | None = None

    def __post_init__(self) -> None:
        assert _WORD.fullmatch(self.secret), "a secret is a plain word"
        assert self.tls_fd is None or self.current.public.tls is not None, "a listener for TLS needs a certificate"

    @property
    def connections(self) -> int:
        """Clients at once: as many as there are descriptors for, because HAProxy would not start with more."""
        return max(100, min(CONNECTIONS, (self.descriptors - _SPARE_DESCRIPTORS) // 2))
