"""What a fault may cost: the rule for each kind of fault and each role, and whether it covers a request that failed.

Pure. Everything that is not covered here is a failure, whatever happened at the time.
"""

from __future__ import annotations

from enum import StrEnum

from tenfold.prove.history import Operation, Window

SLACK_US = 50_000
"""How much later than a victim was seen to be gone its end may reach a client."""

_ALIASES = {"db": "database", "primary": "database"}
IDS = "ids"
"""The workload whose requests a clock that stands back may refuse."""


class Cost(StrEnum):
    """What a fault may cost its clients."""

    NOTHING = "nothing"
    OPEN = "open"
    """Requests that were open when the victim died."""
    UNREPEATABLE = "unrepeatable"
    """Of those, what nobody may send again for the client: writes without a key, and what had begun its response."""
    CONNECTIONS = "connections"
    """Requests on connections that were there before the fault."""
    IDS = "ids"
    """Requests for ids."""
    ALL = "all"
    """Everything while it lasts."""


_COSTS = {
    ("kill", "haproxy"): Cost.OPEN,
    ("pause", "haproxy"): Cost.CONNECTIONS,
}
_COSTS_OF_KIND = {"disk-full": Cost.ALL, "clock-step": Cost.IDS}


def role_of(window: Window) -> str:
    """The role of a fault's victim; in an old history, what its target says."""
    named = window.role or window.target.partition("-")[0]
    return _ALIASES.get(named, named)


def cost_of(window: Window) -> Cost:
    """What that fault, or move, may cost."""
    role = role_of(window)
    if (window.kind, role) == ("kill", "web"):
        return Cost.UNREPEATABLE if window.balanced else Cost.OPEN
    return _COSTS.get((window.kind, role)) or _COSTS_OF_KIND.get(window.kind, Cost.NOTHING)


def open_at_the_end_of(window: Window, operation: Operation, slack_us: int = SLACK_US) -> bool:
    """Whether an operation was open when the victim of a kill died (between the blow and the slack after its end)."""
    return operation.since_us <= died_us(window) + slack_us and operation.end_us >= window.start_us


def died_us(window: Window) -> int:
    """When the victim was gone, as far as it is known."""
    return max(window.start_us, window.fell_us)


def repeatable(operation: Operation) -> bool:
    """Whether somebody between client and server may send it again: it only reads, or it has a key; and its response
    had not begun."""
    return (operation.safe or operation.keyed) and not operation.begun


def excused(operation: Operation, window: Window, slack_us: int = SLACK_US) -> bool:
    """Whether that fault explains that this request failed."""
    cost = cost_of(window)
    if cost is Cost.NOTHING or (cost is Cost.IDS and operation.workload != IDS):
        return False
    if cost in (Cost.OPEN, Cost.UNREPEATABLE):
        return open_at_the_end_of(window, operation, slack_us) and not (
            cost is Cost.UNREPEATABLE and repeatable(operation)
        )
    overlaps = operation.since_us <= window.end_us and operation.end_us >= window.start_us
    if cost is Cost.CONNECTIONS:
        # The other balancer takes every new connection, so only what hung on this one can have suffered.
        return 0 < operation.opened_us <= window.start_us + slack_us and overlaps
    return overlaps
