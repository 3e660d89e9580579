"""The map: the topology that runs, as every process of the deployment reads it.

A map has an epoch that only grows; a process that holds an older one adopts the newer. The map is a hint (design 5.1):
being wrong costs a retry, never a write.

Processes of the version before and of the version after read the same file while a deployment changes over, so a field
that is unknown here is ignored, and a field that is added later has a default.
"""

from __future__ import annotations

import posixpath
from typing import Annotated, Any, Literal

import msgspec

from tenfold.core.errors import SpecError
from tenfold.topology.dashboard import DashboardMap, dashboard_map
from tenfold.topology.door import SELF_SIGNED, TlsSpec
from tenfold.topology.files import FilesMap, files_map
from tenfold.topology.limits import LimitMap, limit_map
from tenfold.topology.sessions import SessionsMap, sessions_map
from tenfold.topology.spec import Scalar, Spec
from tenfold.topology.steps import step_of


class NodeMap(msgspec.Struct, frozen=True):
    """A running process of a tier.

    `address` ("host:port") is where other nodes reach it; empty where nobody does. `version` is the version of the
    service's code that it runs (a folder of `.tenfold/versions`); empty for the folder of tenfold.toml itself.
    """

    name: str
    role: str
    host: str = "local"
    address: str = ""
    version: str = ""
    traffic: Literal["on", "off"] = "on"
    """Whether clients (to a worker: jobs) come to it. A new process is `off` until it has shown that it works, one that
    leaves is again."""


class TlsMap(msgspec.Struct, frozen=True):
    """The encrypted public address, from step 3 on. `certificate` is the absolute path of a PEM file with its key."""

    port: int
    certificate: str
    redirect: bool
    """Whether the plain address only points to this one."""


BODY_MAX = 1024**3
"""The most that a body limit can be, in bytes: what balancers refuse without asking a web server."""


class PublicMap(msgspec.Struct, frozen=True, omit_defaults=True):
    """The public address; `body_limit` in bytes. `door` is the role that accepts connections there."""

    host: str
    port: int
    body_limit: int
    door: Literal["web", "balancer"] = "web"
    tls: TlsMap | None = None


class RouteMap(msgspec.Struct, frozen=True):
    """What goes to another service behind the same door; the first that fits wins, all else goes to this service.

    `host` is a name, or empty for any; `path` begins with `/` and fits itself and what is below it. `to` are addresses
    ("host:port"), `check` the path that says whether one is ready. `strip`: the path is taken off before it is sent on.
    """

    host: str
    path: str
    to: tuple[str, ...]
    strip: bool
    check: str


Strategy = Literal["round-robin", "least-connections", "client-address"]


class BalancerMap(msgspec.Struct, frozen=True):
    """How the balancers share out requests, from step 3 on; `_s` are seconds."""

    strategy: Strategy = "least-connections"
    weights: tuple[int, ...] = ()
    """Of the web servers in the order of their names, 1 where there are fewer; 1 to 256."""
    server_connections: int = 1000
    """Requests that one web server works on at once; more wait in the queue."""
    queue: int = 10_000
    """Requests that wait at one balancer, at most; more get 503 with Retry-After at once."""
    compression: bool = True
    header_timeout_s: float = 10.0
    """How long a client may take for the head of its request."""
    slow_start_s: float = 5.0
    """How long a web server that came back is given less than its share."""


class WebMap(msgspec.Struct, frozen=True):
    """The web tier; `_s` are seconds."""

    processes: int
    access_log: bool
    metrics: Literal["loopback", "public", "off"]
    drain_limit_s: float
    keep_alive_s: float


class WorkersMap(msgspec.Struct, frozen=True):
    """The processes that run jobs and deliver events; without any, the web servers do both."""

    processes: int = 0


DatabaseBackend = Literal["sqlite", "postgres"]


class ServerMap(msgspec.Struct, frozen=True):
    """Where a database server is. It holds no password: `secret` is the file with it, seen from the map's `state`."""

    host: str
    port: int
    database: str
    user: str
    """The service's role: it reads and writes rows and can do nothing else."""
    secret: str
    pool: int
    """Connections of all processes of the service together, at most."""
    tls: Literal["disable", "prefer", "require", "verify-full"] = "disable"
    supervised: bool = True
    """Whether Tenfold runs the server; else it is one that the user runs."""
    owner: str = ""
    """The role that owns the tables and runs DDL; empty in maps that do not say: then it is `user`."""


class DatabaseMap(msgspec.Struct, frozen=True, omit_defaults=True):
    """The database; `path` is absolute, `hold_s` in seconds, `queue` in writes.

    `backend` is where reads and writes go. A process also opens `standby`, so that it can go there at once when a map
    says so. While `gate` is `held`, new transactions wait (reads go on). `path` stays known on every step.
    Defaults are left out of the file, so that on step 1 it is the file of the first version.
    """

    backend: DatabaseBackend
    path: str
    hold_s: float
    queue: int
    server: ServerMap | None = None
    standby: Literal["", "sqlite", "postgres"] = ""
    gate: Literal["open", "held"] = "open"
    way_back: bool = False
    """Whether the database before this one can still be gone back to without loss (until `finalize`)."""


class CacheMap(msgspec.Struct, frozen=True):
    """Bounds of each process's cache, and what goes when it is full."""

    entries: int
    bytes: int
    eviction: Literal["sieve", "lru", "lfu", "fifo"] = "sieve"


class LogMap(msgspec.Struct, frozen=True):
    """Rotation of each node's log; `rotate_size` in bytes. `level`: the lowest that is written."""

    rotate_size: int
    keep: int
    level: Literal["debug", "info", "warning", "error"] = "info"


class MetricsMap(msgspec.Struct, frozen=True):
    """Where each process sends its numbers (empty: nowhere), and how often."""

    otlp: str = ""
    every_s: float = 15.0


class Map(msgspec.Struct, frozen=True):
    """The running topology. `root` is the folder of tenfold.toml, `state` its .tenfold; both absolute."""

    epoch: Annotated[int, msgspec.Meta(ge=1)]
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
    balancer: BalancerMap = BalancerMap()
    routes: tuple[RouteMap, ...] = ()
    workers: WorkersMap = WorkersMap()
    metrics: MetricsMap = MetricsMap()
    limits: tuple[LimitMap, ...] = ()
    sessions: SessionsMap = SessionsMap()
    files: FilesMap = FilesMap()
    dashboard: DashboardMap = DashboardMap()

    def of_role(self, role: str) -> tuple[NodeMap, ...]:
        """The nodes of one tier."""
        return tuple(node for node in self.nodes if node.role == role)

    def node(self, name: str) -> NodeMap | None:
        """The node of that name, if it is in the map."""
        return next((node for node in self.nodes if node.name == name), None)

    def code_of(self, version: str) -> str:
        """The folder that a version's code is imported from; absolute."""
        return posixpath.join(self.state, "versions", version) if version else self.root


def map_of(spec: Spec, *, root: str, state: str, previous: Map | None, after: int = 0) -> Map:
    """The map that meets `spec`; `root` and `state` are absolute.

    Nodes, door and data stay where they are in `previous`: only moves change them. A first map has one web node,
    whatever the spec says of web processes, because more of them are a move too. The epoch follows from `previous` and
    `after` as `next_map` says; when nothing differs, `previous` itself comes back.
    """
    assert posixpath.isabs(root), "a map holds absolute paths only"
    assert posixpath.isabs(state), "a map holds absolute paths only"
    return next_map(previous, _map(spec, root, state, previous), after=after)


def next_map(previous: Map | None, content: Map, *, after: int = 0) -> Map:
    """`content` under the epoch that comes next; `previous` itself when they say the same.

    The epoch is one above `previous` and above `after`: the highest epoch known from elsewhere (the journal), for the
    case that the map file was lost or is an old copy.
    """
    if previous is not None and previous.epoch >= after and _same(content, previous):
        return previous
    known = 0 if previous is None else previous.epoch
    return msgspec.structs.replace(content, epoch=max(known, after) + 1)


def _map(spec: Spec, root: str, state: str, previous: Map | None) -> Map:
    running = () if previous is None else previous.nodes
    made = Map(
        epoch=1,
        service=spec.service.name,
        app=spec.service.app,
        step=0,
        root=root,
        state=state,
        public=PublicMap(
            spec.public.host,
            spec.public.port,
            spec.public.body_limit,
            door="web" if previous is None else previous.public.door,
            tls=_tls(spec.tls, root, state),
        ),
        web=WebMap(
            processes=spec.web.processes,
            access_log=spec.web.access_log,
            metrics=spec.web.metrics,
            drain_limit_s=spec.web.drain_limit_s,
            keep_alive_s=spec.web.keep_alive_s,
        ),
        database=_database(spec, state, None if previous is None else previous.database),
        cache=CacheMap(spec.cache.entries, spec.cache.bytes, spec.cache.eviction),
        log=LogMap(spec.log.rotate_size, spec.log.keep, spec.log.level),
        settings=dict(spec.settings),
        nodes=running if any(node.role == "web" for node in running) else (NodeMap("web-1", "web"), *running),
        balancer=BalancerMap(**{name: getattr(spec.balancer, name) for name in BalancerMap.__struct_fields__}),
        routes=tuple(RouteMap(each.host, each.path, each.to, each.strip, each.check) for each in spec.routes),
        workers=WorkersMap(spec.workers.processes),
        metrics=MetricsMap(spec.metrics.otlp or "", spec.metrics.every_s),
        limits=tuple(limit_map(limit) for limit in spec.limits),
        sessions=sessions_map(spec.sessions),
        files=files_map(spec.files),
        dashboard=dashboard_map(spec.dashboard),
    )
    return msgspec.structs.replace(made, step=step_of(made))


def _database(spec: Spec, state: str, running: DatabaseMap | None) -> DatabaseMap:
    path = spec.database.path or f"data/{spec.service.name}.db"
    absolute = posixpath.normpath(posixpath.join(state, path))
    made = DatabaseMap("sqlite", absolute, spec.database.hold_s, spec.database.queue)
    if running is None:
        return made
    # Where the data is changes only by a move; a spec that is edited, or a new start, leaves it where it is.
    server = running.server and msgspec.structs.replace(running.server, pool=spec.database.pool)
    kept = {name: getattr(running, name) for name in ("backend", "standby", "gate", "way_back")}
    return msgspec.structs.replace(made, server=server, **kept)


def _tls(spec: TlsSpec, root: str, state: str) -> TlsMap | None:
    if spec.certificate is None:
        return None
    own = posixpath.join(state, "secrets", "self-signed.pem")
    given = posixpath.normpath(posixpath.join(root, spec.certificate))
    return TlsMap(spec.port, own if spec.certificate == SELF_SIGNED else given, spec.redirect)


def _same(one: Map, other: Map) -> bool:
    # As bytes, because 1, 1.0 and true are equal in Python and are different settings.
    level = msgspec.structs.replace(other, epoch=one.epoch)
    return msgspec.json.encode(one, order="sorted") == msgspec.json.encode(level, order="sorted")


_decoder = msgspec.json.Decoder(Map)


def encode(current: Map) -> bytes:
    """JSON that a person can read; `decode` reads it back."""
    return msgspec.json.format(msgspec.json.encode(current), indent=2) + b"\n"


def decode(data: bytes, source: str) -> Map:
    """The map in `data`; `source` names the file in the error. Raises `SpecError` when it is not a map."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SpecError(
            f"{source} is not a map: {str(error).rstrip('.')}.",
            hint="`tenfold up` writes it anew from tenfold.toml; remove the damaged file first.",
        ) from None


def to_facts(current: Map) -> dict[str, Any]:
    """The map as plain dicts and lists, for `--json`."""
    return msgspec.to_builtins(current)  # type: ignore[no-any-return]
