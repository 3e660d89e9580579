"""The difference between what runs and what is wanted, as an ordered list of changes.

Each field of the map is *live* (running processes take it over with the new epoch), needs *new processes* (started
beside the old ones, which drain), or needs a *new start* of the deployment (the public socket or the data move).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from tenfold.topology.map import Map


class Effect(Enum):
    """What it takes to bring a change about; later members include the earlier ones."""

    LIVE = "taken over by running processes"
    NEW_PROCESSES = "new web processes start beside the old ones, which drain"
    NEW_START = "needs `tenfold down` and `tenfold up`"


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs: its path, what it was and what it becomes."""

    path: str
    was: Any
    becomes: Any
    effect: Effect

    def __str__(self) -> str:
        return f"{self.path}: {self.was!r} becomes {self.becomes!r} ({self.effect.value})"


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


_NEW_START = frozenset(
    {"service", "root", "state", "step", "public.host", "public.port", "database.backend", "database.path"}
)
_NEW_PROCESSES = frozenset({"app", "web.keep_alive_s"})
_NOT_COMPARED = frozenset({"epoch"})


def effect_of(path: str) -> Effect:
    """What a change of the field at `path` takes."""
    if path in _NEW_START:
        return Effect.NEW_START
    return Effect.NEW_PROCESSES if path in _NEW_PROCESSES else Effect.LIVE


def diff(current: Map | None, wanted: Map) -> Plan:
    """What leads from `current` (None: nothing runs) to `wanted`; changes in the order of the map's fields."""
    if current is None:
        return Plan(start=True, changes=())
    was, becomes = _fields(current), _fields(wanted)
    paths = dict.fromkeys((*was, *becomes))
    changes = (
        Change(path, was.get(path), becomes.get(path), effect_of(path))
        for path in paths
        if path not in _NOT_COMPARED and was.get(path) != becomes.get(path)
    )
    return Plan(start=False, changes=tuple(changes))


def _fields(whole: Map) -> dict[str, Any]:
    """Field paths and values; one path for each key of a table."""
    found: dict[str, Any] = {}
    for name in whole.__struct_fields__:
        value = getattr(whole, name)
        if isinstance(value, msgspec.Struct):
            found.update({f"{name}.{key}": getattr(value, key) for key in value.__struct_fields__})
        elif isinstance(value, dict):
            found.update({f"{name}.{key}": item for key, item in value.items()})
        else:
            found[name] = value
    return found
