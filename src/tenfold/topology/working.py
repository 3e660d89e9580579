"""Which processes run jobs and deliver events: workers where there are some, else the web servers."""

from __future__ import annotations

from tenfold.topology.map import Map


def works(current: Map | None, node: str) -> bool:
    """Whether the process `node` (empty outside of a deployment) runs jobs under this map."""
    if current is None:
        return True
    found = current.node(node)
    workers = [each for each in current.nodes if each.role == "worker" and each.traffic == "on"]
    if workers:
        return found is not None and found in workers
    return found is None or (found.role == "web" and found.traffic == "on")
