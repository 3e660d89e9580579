"""From the servers that HAProxy has to those that it is to have, by commands of its runtime API. Pure.

The order of the commands never leaves HAProxy without a server in between: first the new ones, then what others lose.
A server that is wanted no longer is drained, and deleted in a later round when nothing is under way on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tenfold.engines.haproxy.runtime import ServerState
from tenfold.engines.haproxy.servers import HOLD, LAST_RESORT, WEB, Wanted, hold_options, is_fixed, web_options
from tenfold.topology.map import Map

BACKENDS = (WEB, HOLD)
FACTS = "# facts: "
"""Begins the line of a config that `needs_reload` goes by."""


class Place(NamedTuple):
    """A server in a backend."""

    backend: str
    name: str

    def __str__(self) -> str:
        return f"{self.backend}/{self.name}"


def commands(
    current: Map, wanted: Iterable[Wanted], observed: Iterable[ServerState], busy: Mapping[Place, int] | None = None
) -> tuple[str, ...]:
    """The commands, in order, that bring HAProxy nearer to `wanted`; none when it is there.

    `busy` is the number of connections in use and in reserve on each server; servers that are not in it are not
    deleted in this round. Told twice, or told again after a part of it was carried out, it comes to the same end.
    """
    there = {Place(one.backend, one.name): one for one in observed if _ours(one)}
    ahead = [one for one in wanted if one.standing == "ready"] + [one for one in wanted if one.standing != "ready"]
    made: list[str] = []
    for one in ahead:
        # HOLD first: as soon as a server takes requests, those that fail on it have where to go.
        made += _hold(current, one, there.get(Place(HOLD, one.name)))
        made += _web(current, one, there.get(Place(WEB, one.name)))
    names = {one.name for one in ahead}
    for place, state in there.items():
        if place.name not in names:
            made += _leaving(place, state, (busy or {}).get(place))
    return tuple(made)


def settled(wanted: Sequence[Wanted], observed: Iterable[ServerState]) -> bool:
    """Whether new requests go to the wanted servers and to no other: what the answer to a map promises."""
    there = {one.name: one for one in observed if _ours(one) and one.backend == WEB}
    names = {one.name for one in wanted}
    return all(
        one.name in there and there[one.name].standing == one.standing and there[one.name].address == one.address
        for one in wanted
    ) and all(state.standing != "ready" for name, state in there.items() if name not in names)


def _ours(state: ServerState) -> bool:
    return state.backend in BACKENDS and state.name != LAST_RESORT


def _web(current: Map, one: Wanted, there: ServerState | None) -> list[str]:
    place = Place(WEB, one.name)
    if there is None:
        # Drained before it is enabled: one that is to get nothing gets nothing, not even for a moment.
        drained = [f"set server {place} state drain"] if one.standing == "drain" else [f"enable server {place}"]
        return [_added(place, one, web_options(current)), f"enable health {place}", *drained]
    return _changed(place, one, there, one.standing)


def _hold(current: Map, one: Wanted, there: ServerState | None) -> list[str]:
    place = Place(HOLD, one.name)
    if there is None:
        return [_added(place, one, hold_options(current)), f"enable server {place}"]
    return _changed(place, one, there, "ready")


def _added(place: Place, one: Wanted, options: str) -> str:
    return f"add server {place} {one.address} weight {one.weight} {options}"


def _changed(place: Place, one: Wanted, there: ServerState, standing: str) -> list[str]:
    made = []
    if there.address != one.address:
        host, _, port = one.address.rpartition(":")
        made.append(f"set server {place} addr {host.strip('[]')} port {port}")
    if there.weight != one.weight:
        made.append(f"set server {place} weight {one.weight}")
    if there.standing != standing:
        # A server whose making was cut short has no health check running; told twice it does no harm.
        made += [f"enable health {place}"] if there.standing == "maint" and place.backend == WEB else []
        made.append(f"set server {place} state {standing}")
    return made


def _leaving(place: Place, there: ServerState, busy: int | None) -> list[str]:
    if there.standing == "ready":
        return [f"set server {place} state drain"]
    if busy != 0:
        return []
    last = [] if there.standing == "maint" else [f"set server {place} state maint"]
    return [*last, f"del server {place}"]


def facts_in(config: str) -> str:
    """What a config says beside its web servers, as a short text; empty when it is not one of ours."""
    line = next((line for line in config.splitlines() if line.startswith(FACTS)), "")
    return line.removeprefix(FACTS)


def needs_reload(running: str, wanted: str, servers: Iterable[Wanted]) -> bool:
    """Whether the config `running` becomes `wanted` only by a reload: something beside the web servers differs, or a
    server has a name for an address, which the runtime API does not look up."""
    return (
        not facts_in(running)
        or facts_in(running) != facts_in(wanted)
        or not all(is_fixed(one.address) for one in servers)
    )
