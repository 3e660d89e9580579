"""`[dashboard]` in tenfold.toml: the page that shows the running deployment, and what it may do."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Struct

from tenfold.topology.rules import Host, Key, OneOf, WholeNumber

Mode = Literal["full", "read-only", "off"]

HOST, PORT = "127.0.0.1", 8001


class DashboardSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[dashboard]`: the page that shows the running deployment, and what it may do."""

    host: Annotated[
        str,
        Key(Host(), "Who can open it can change the deployment; elsewhere than on the machine it asks for a token."),
    ] = HOST
    port: Annotated[
        int,
        Key(
            WholeNumber(0, 65535, " (0 = any free port)"),
            "When another program has it, the page is on a free one, which `tenfold up` and `status` tell.",
        ),
    ] = PORT
    mode: Annotated[
        Mode,
        Key(
            OneOf(("full", "read-only", "off")),
            "With read-only it shows and changes nothing; with off there is no such process.",
        ),
    ] = "full"


class DashboardMap(msgspec.Struct, frozen=True):
    """Where the page is, as far as that was free, and what it may do."""

    host: str = HOST
    port: int = PORT
    mode: Mode = "full"


def dashboard_map(spec: DashboardSpec) -> DashboardMap:
    """What processes see of it."""
    return DashboardMap(spec.host, spec.port, spec.mode)
