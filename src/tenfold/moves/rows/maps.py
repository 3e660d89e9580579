"""The maps that the stages of a move publish: pure changes of the map before."""

from __future__ import annotations

from typing import Any

import msgspec

from tenfold.topology.map import Map, ServerMap
from tenfold.topology.steps import step_of


def _database(current: Map, **changes: Any) -> Map:
    changed = msgspec.structs.replace(current, database=msgspec.structs.replace(current.database, **changes))
    return msgspec.structs.replace(changed, step=step_of(changed))


def standing_by_postgres(current: Map, server: ServerMap) -> Map:
    """Every process opens PostgreSQL beside SQLite."""
    return _database(current, server=server, standby="postgres")


def without_standby(current: Map) -> Map:
    """The map before a connection was made: whoever works on PostgreSQL keeps its address."""
    gone: dict[str, Any] = {"server": None} if current.database.backend == "sqlite" else {}
    return _database(current, standby="", **gone)


def standing_by_sqlite(current: Map) -> Map:
    """Every process opens SQLite beside PostgreSQL."""
    return _database(current, standby="sqlite")


def held(current: Map) -> Map:
    """New writes wait."""
    return _database(current, gate="held")


def open_gate(current: Map) -> Map:
    """Writes go on where they were."""
    return _database(current, gate="open")


def on_postgres(current: Map) -> Map:
    """The work goes to PostgreSQL, which every process has open already, and the way back is open."""
    assert current.database.server is not None, "the map has named the server since the processes opened it"
    return _database(current, backend="postgres", standby="", gate="open", way_back=True)


def on_sqlite(current: Map) -> Map:
    """The work goes to SQLite again; where PostgreSQL is stays known until nothing of ours is left there."""
    return _database(current, backend="sqlite", standby="", gate="open", way_back=False)


def without_server(current: Map) -> Map:
    """PostgreSQL is forgotten."""
    return _database(current, server=None)


def without_way_back(current: Map) -> Map:
    """The way back is closed."""
    return _database(current, way_back=False)


def with_way_back(current: Map) -> Map:
    """The way back is still open."""
    return _database(current, way_back=True)
