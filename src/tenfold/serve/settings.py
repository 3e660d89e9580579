"""The part of the map that serve goes by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tenfold.topology.map import Map

DEFAULT_BODY_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Settings in force. A new map changes all but `keep_alive_s` without a new process."""

    body_limit: int = DEFAULT_BODY_LIMIT
    """Bytes of a request's body; more is answered with 413. A service that takes uploads raises it in tenfold.toml."""

    access_log: bool = True
    """Whether requests are logged (web processes only; under another server its own log does that)."""

    metrics: Literal["loopback", "public", "off"] = "loopback"
    """Who may read /metrics. Numbers about a service are not for everyone, so loopback peers only unless told."""

    drain_limit_s: float = 30.0
    """How long a process that leaves waits for its clients, in seconds."""

    hold_s: float = 25.0
    """How long a request may wait, in seconds, for a database that is away."""

    keep_alive_s: float = 60.0
    """How long a connection may be idle, in seconds; not more than 60 behind HAProxy."""


def settings_of(current: Map | None) -> ServeSettings:
    """The settings in a map; the defaults without one."""
    if current is None:
        return ServeSettings()
    return ServeSettings(
        body_limit=current.public.body_limit,
        access_log=current.web.access_log,
        metrics=current.web.metrics,
        drain_limit_s=current.web.drain_limit_s,
        hold_s=current.database.hold_s,
        keep_alive_s=current.web.keep_alive_s,
    )
