"""The map: the topology that runs, as every process of the deployment reads it.

A map has an epoch that only grows; a process that holds an older one adopts the newer. The map is a hint (design 5.1):
being wrong costs a retry, never a write.
"""

from __future__ import annotations

import posixpath
from typing import Any, Literal

import msgspec

from tenfold.core.errors import SpecError
from tenfold.topology.spec import Scalar, Spec


class NodeMap(msgspec.Struct, frozen=True):
    """A running process of a tier. `address` is where other nodes reach it; empty where nobody does."""

    name: str
    role: str
    host: str = "local"
    address: str = ""


class PublicMap(msgspec.Struct, frozen=True):
    """The public address; `body_limit` in bytes."""

    host: str
    port: int
    body_limit: int


class WebMap(msgspec.Struct, frozen=True):
    """The web tier; `_s` are seconds."""

    processes: int
    access_log: bool
    metrics: Literal["loopback", "public", "off"]
    drain_limit_s: float
    keep_alive_s: float


class DatabaseMap(msgspec.Struct, frozen=True):
    """The database; `path` is absolute."""

    backend: Literal["sqlite"]
    path: str
    hold_s: float
    queue: int


class CacheMap(msgspec.Struct, frozen=True):
    """Bounds of each process's cache."""

    entries: int
    bytes: int


class LogMap(msgspec.Struct, frozen=True):
    """Rotation of each node's log; `rotate_size` in bytes."""

    rotate_size: int
    keep: int


class Map(msgspec.Struct, frozen=True):
    """The running topology. `root` is the folder of tenfold.toml, `state` its .tenfold; both absolute."""

    epoch: int
    service: str
    app: str
    step: int
    root: str
    state: str
    public: PublicMap
    web: WebMap
    database: DatabaseMap
    cache: CacheMap
    log: LogMap
    settings: dict[str, Scalar]
    nodes: tuple[NodeMap, ...]


def map_of(spec: Spec, *, root: str, state: str, previous: Map | None) -> Map:
    """The map that meets `spec`. The epoch grows by one when anything differs; otherwise `previous` comes back."""
    nodes = tuple(NodeMap(f"web-{number}", "web") for number in range(1, spec.web.processes + 1))
    made = Map(
        epoch=1 if previous is None else previous.epoch,
        service=spec.service.name,
        app=spec.service.app,
        step=1,
        root=root,
        state=state,
        public=PublicMap(spec.public.host, spec.public.port, spec.public.body_limit),
        web=WebMap(
            processes=spec.web.processes,
            access_log=spec.web.access_log,
            metrics=spec.web.metrics,
            drain_limit_s=spec.web.drain_limit,
            keep_alive_s=spec.web.keep_alive,
        ),
        database=DatabaseMap(
            backend="sqlite",
            path=posixpath.normpath(posixpath.join(state, spec.database.path)),
            hold_s=spec.database.hold,
            queue=spec.database.queue,
        ),
        cache=CacheMap(spec.cache.entries, spec.cache.bytes),
        log=LogMap(spec.log.rotate_size, spec.log.keep),
        settings=spec.settings,
        nodes=nodes,
    )
    if previous is None or made == previous:
        return made
    return msgspec.structs.replace(made, epoch=previous.epoch + 1)


_decoder = msgspec.json.Decoder(Map)


def encode(current: Map) -> bytes:
    """JSON that a person can read; `decode` reads it back."""
    return msgspec.json.format(msgspec.json.encode(current), indent=2) + b"\n"


def decode(data: bytes, source: str) -> Map:
    """The map in `data`; `source` names the file in the error. Raises `SpecError`."""
    try:
        found = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SpecError(
            f"{source} is not a map: {error}.",
            hint="`tenfold up` writes it anew from tenfold.toml; remove the damaged file first.",
        ) from None
    if found.epoch < 1:
        raise SpecError(f"{source} is not a map: its epoch is {found.epoch}.", hint="`tenfold up` writes it anew.")
    return found


def to_facts(current: Map) -> dict[str, Any]:
    """The map as plain dicts and lists, for `--json`."""
    return msgspec.to_builtins(current)  # type: ignore[no-any-return]
