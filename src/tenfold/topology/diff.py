"""The difference between what runs and what is wanted, as an ordered list of changes.

Each field of the map is *live* (running processes take it over with the new epoch), needs *new processes* (started
beside the old ones, which drain), needs a *move* (a live change of its own, with stages and a journal), or needs a *new
start* of the deployment (the public socket or the file of the data change).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from tenfold.topology.limits import LimitMap
from tenfold.topology.map import Map, NodeMap, RouteMap, TlsMap


class Effect(Enum):
    """What it takes to bring a change about; later members include the earlier ones."""

    LIVE = "taken over by running processes"
    NEW_PROCESSES = "new processes start beside the old ones, which drain"
    MOVE = "a move brings it about while the service goes on; see `tenfold climb` and `tenfold descend`"
    NEW_START = "needs `tenfold down` and `tenfold up`"


_LIVE, _PROCESSES, _MOVE, _START = Effect.LIVE, Effect.NEW_PROCESSES, Effect.MOVE, Effect.NEW_START

EFFECTS: dict[str, Effect] = {
    "service": _START,
    "app": _PROCESSES,
    "step": _LIVE,  # follows from the other fields; by itself it changes nothing
    "root": _START,
    "state": _START,
    "public.host": _START,
    "public.port": _START,
    "public.body_limit": _LIVE,
    "public.door": _MOVE,
    "public.tls": _LIVE,
    "web.processes": _LIVE,  # of those that run; more and fewer are the move change_nodes
    "web.access_log": _LIVE,
    "web.metrics": _LIVE,
    "web.drain_limit_s": _LIVE,
    "web.keep_alive_s": _PROCESSES,  # fixed when the server is made
    "database.backend": _MOVE,
    "database.path": _START,
    "database.hold_s": _LIVE,
    "database.queue": _LIVE,
    "database.server": _PROCESSES,  # where it is changes only by a move, how many connections by an edit
    "database.standby": _LIVE,
    "database.gate": _LIVE,
    "database.way_back": _LIVE,
    "cache.entries": _LIVE,
    "cache.bytes": _LIVE,
    "cache.eviction": _LIVE,
    "log.rotate_size": _LIVE,
    "log.keep": _LIVE,
    "log.level": _LIVE,
    "settings": _LIVE,
    "nodes": _LIVE,
    "balancer.strategy": _LIVE,
    "balancer.weights": _LIVE,
    "balancer.server_connections": _LIVE,
    "balancer.queue": _LIVE,
    "balancer.compression": _LIVE,
    "balancer.header_timeout_s": _LIVE,
    "balancer.slow_start_s": _LIVE,
    "routes": _LIVE,
    "workers.processes": _LIVE,  # as web.processes
    "metrics.otlp": _LIVE,
    "metrics.every_s": _LIVE,
    "limits": _LIVE,
    "sessions.idle_s": _LIVE,
    "sessions.lifetime_s": _LIVE,
    "sessions.cookie": _LIVE,
    "sessions.secure": _LIVE,
    "files.folder": _START,  # what lies in it has to move too
    "files.quota": _LIVE,
    "files.owner_quota": _LIVE,
    "dashboard.host": _LIVE,  # its process alone is started again
    "dashboard.port": _LIVE,
    "dashboard.mode": _LIVE,
}
"""What a change of each field takes; `settings` and `nodes` stand for each one of theirs. The epoch is not compared."""


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs: its path, what it was and what it becomes (None: not there), and what that takes."""

    path: str
    was: Any
    becomes: Any
    effect: Effect

    def __str__(self) -> str:
        return f"{self.path}: {_words(self.was)} becomes {_words(self.becomes)} ({self.effect.value})"


@dataclass(frozen=True, slots=True)
class Plan:
    """What leads from one map to another. `start` when nothing runs yet."""

    start: bool
    changes: tuple[Change, ...]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.start and not self.changes

    @property
    def effect(self) -> Effect | None:
        """The strongest effect among the changes; None without any."""
        order = list(Effect)
        return max((change.effect for change in self.changes), key=order.index, default=None)


def effect_of(path: str) -> Effect:
    """What a change of the field at `path` takes: "web.metrics", "settings.colour", "nodes.web-1"."""
    return EFFECTS[_entry(path)]


def diff(current: Map | None, wanted: Map) -> Plan:
    """What leads from `current` (None: nothing runs) to `wanted`; changes in the order of the map's fields."""
    if current is None:
        return Plan(start=True, changes=())
    was, becomes = _fields(current), _fields(wanted)
    changes = (
        Change(path, was.get(path), becomes.get(path), effect_of(path))
        for path in dict.fromkeys((*was, *becomes))
        if _differ(was.get(path), becomes.get(path))
    )
    order = list(EFFECTS)
    return Plan(start=False, changes=tuple(sorted(changes, key=lambda change: order.index(_entry(change.path)))))


def _entry(path: str) -> str:
    top = path.partition(".")[0]
    return top if top in ("settings", "nodes") else path


def _differ(was: Any, becomes: Any) -> bool:
    # 1, 1.0 and true are equal in Python, and are different settings.
    return type(was) is not type(becomes) or was != becomes


def _fields(whole: Map) -> dict[str, Any]:
    """Paths and values of all that is compared; one path for each setting and each node."""
    found: dict[str, Any] = {}
    for name in whole.__struct_fields__:
        value = getattr(whole, name)
        if isinstance(value, msgspec.Struct):
            found.update({f"{name}.{key}": getattr(value, key) for key in value.__struct_fields__})
        elif isinstance(value, dict):
            found.update({f"{name}.{key}": item for key, item in value.items()})
        elif name == "nodes":
            found.update({f"nodes.{node.name}": node for node in value})
        elif name != "epoch":
            found[name] = value
    return found


def _words(value: Any) -> str:
    """A value as a person reads it, in TOML's spelling."""
    match value:
        case None:
            return "nothing"
        case NodeMap():
            return _node_words(value)
        case TlsMap():
            return f"port {value.port} with {value.certificate}" + (" and a redirect" if value.redirect else "")
        case (RouteMap(), *_):
            return ", ".join(f"{route.host}{route.path} to {' and '.join(route.to)}" for route in value)
        case (LimitMap(), *_):
            return ", ".join(f"{limit.name} {limit.rate}" for limit in value)
        case _:
            return msgspec.json.encode(value).decode()


def _node_words(node: NodeMap) -> str:
    more = (f"at {node.address}" if node.address else "", f"with version {node.version}" if node.version else "")
    off = "without traffic" if node.traffic == "off" else ""
    return " ".join((f"a {node.role} node on {node.host}", *(words for words in (*more, off) if words)))
