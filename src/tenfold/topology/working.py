"""Which nodes run the service's code, and which of them run jobs and deliver events: workers where there are some, else
the web servers."""

from __future__ import annotations

from typing import Final

from tenfold.topology.map import Map, NodeMap

CODED: Final = ("web", "worker")
"""The roles whose processes import the service: they are replaced when its code or a setting of theirs changes."""


def coded(current: Map) -> tuple[NodeMap, ...]:
    """The nodes that run the service's code, web servers first."""
    return tuple(node for role in CODED for node in current.of_role(role))


def works(current: Map | None, node: str) -> bool:
    """Whether the process `node` (empty outside of a deployment) runs jobs under this map."""
    if current is None:
        return True
    working = [each for each in current.of_role("worker") if each.traffic == "on"]
    if working:
        return any(each.name == node for each in working)
    return not node or any(each.name == node and each.traffic == "on" for each in current.of_role("web"))
