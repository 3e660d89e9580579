"""The maps that moves of web servers, workers and balancers publish: pure changes of the map before."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Literal

import msgspec

from tenfold.topology.map import Map, NodeMap
from tenfold.topology.steps import step_of

Change = Callable[[Map], Map]
Door = Literal["web", "balancer"]
Traffic = Literal["on", "off"]


def with_nodes(current: Map, nodes: tuple[NodeMap, ...]) -> Map:
    """`current` with other nodes."""
    changed = msgspec.structs.replace(current, nodes=nodes)
    return msgspec.structs.replace(changed, step=step_of(changed))


def with_door(current: Map, door: Door) -> Map:
    """`current` with another role at the public address."""
    changed = msgspec.structs.replace(current, public=msgspec.structs.replace(current.public, door=door))
    return msgspec.structs.replace(changed, step=step_of(changed))


def with_addresses(current: Map, addresses: Mapping[str, str]) -> Map:
    """`current` with the private addresses of these nodes; the others keep theirs."""
    moved = (
        msgspec.structs.replace(node, address=addresses[node.name]) if node.name in addresses else node
        for node in current.nodes
    )
    return with_nodes(current, tuple(moved))


def with_traffic(current: Map, names: Collection[str], traffic: Traffic) -> Map:
    """`current` with clients coming to these nodes, or no longer."""
    turned = (msgspec.structs.replace(node, traffic=traffic) if node.name in names else node for node in current.nodes)
    return with_nodes(current, tuple(turned))


def with_more(current: Map, nodes: Collection[NodeMap]) -> Map:
    """`current` with these nodes behind those that it has; one that it has already stays as it is."""
    there = {node.name for node in current.nodes}
    return with_nodes(current, (*current.nodes, *(node for node in nodes if node.name not in there)))


def without(current: Map, names: Collection[str]) -> Map:
    """`current` without these nodes."""
    return with_nodes(current, tuple(node for node in current.nodes if node.name not in names))


def settings_of(content: Map, current: Map) -> Map:
    """All that `content` says, with the nodes of `current`."""
    return with_nodes(content, current.nodes)


def final(wanted: Map, current: Map) -> Map:
    """`wanted`, with the private addresses that its web servers have in `current`."""
    known = {node.name: node.address for node in current.of_role("web")}
    return with_addresses(wanted, {node.name: known.get(node.name, node.address) for node in wanted.of_role("web")})
