"""The numbers of the events block."""

from __future__ import annotations

from dataclasses import dataclass, field

from tenfold.core.gauge import GAUGE


@dataclass(frozen=True, slots=True)
class SubscriberStats:
    """One subscriber, as this process sees it since it started."""

    name: str
    here: bool
    """Whether this process delivers to it."""

    delivered: int
    failures: int
    oldest_s: float = field(metadata=GAUGE)
    """Age in seconds of the oldest event in the batch in hand; 0 without one. It grows while the handler fails."""

    error: str
    """The last failure; empty without one."""


@dataclass(frozen=True, slots=True)
class EventsStats:
    """Counts of this process since it started. `dropped`: recorded events that were lost for want of a database."""

    published: int
    recorded: int
    buffered: int = field(metadata=GAUGE)
    flushes: int
    dropped: int
    pruned: int
    subscribers: tuple[SubscriberStats, ...]


@dataclass(frozen=True, slots=True)
class SubscriberState:
    """One subscriber, as the database has it.

    `behind` is how many rows of the log it has still to pass, of any topic: a published event each, or up to 200
    recorded ones. `unused`: no process has asked for it for an hour, and none of this one's code names it.
    """

    name: str
    position: int
    behind: int
    attempts: int
    error: str
    parked: int
    unused: bool
