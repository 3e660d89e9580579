"""The spec: the topology that is wanted, as a person writes it in `tenfold.toml`.

`parse_spec` is the only way in. Whatever it returns is complete (every default filled in), within bounds, and without
a contradiction; what only a later step brings waits for it (targets.waiting). Whatever it refuses, it refuses with one
sentence that names the file, the line or the key, what was found and what is allowed. Every key of the file is a field
below or in door.py, with its rule and its reason.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Struct, field

from tenfold.core.errors import SpecError
from tenfold.core.redact import Secret
from tenfold.core.units import escaped, shown
from tenfold.topology.dashboard import DashboardSpec
from tenfold.topology.door import ROUTES_MAX, BalancerSpec, RouteSpec, TlsSpec, faults_of
from tenfold.topology.files import FilesSpec
from tenfold.topology.limits import LIMITS_MAX, LimitSpec, faults_of_limits, limit_map
from tenfold.topology.pools import LEAST
from tenfold.topology.rules import (
    REFUSALS,
    Duration,
    Host,
    Key,
    OneOf,
    Plain,
    ServerUrl,
    Size,
    Text,
    WholeNumber,
    YesNo,
)
from tenfold.topology.sessions import SessionsSpec

Scalar = bool | int | float | str
"""What a service's own setting may be."""

_PAGE = "docs/configuration.md lists every key."


class ServiceSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[service]`: which service this is. The only table that must be there."""

    name: Annotated[
        str,
        Key(
            Text(
                r"[a-z][a-z0-9-]{0,30}", 'a lower-case name such as "shortener": a letter, then at most 30 of a-z 0-9 -'
            ),
            "Names the database file and everything that is shown about the service; the same as in `Tenfold(name)`.",
        ),
    ]
    app: Annotated[
        str,
        Key(
            Text(
                r"(?a:[A-Za-z_][\w.]*:[A-Za-z_]\w*)",
                '"package.module:attribute", such as "shortener.app:app" (what `tf.asgi(...)` returned)',
            ),
            "Where the app is found, seen from the folder of tenfold.toml.",
        ),
    ]


class PublicSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[public]`: the one address that clients know."""

    host: Annotated[
        str,
        Key(Host(), 'The machine itself only, until somebody decides otherwise; "0.0.0.0" opens it to the network.'),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        Key(
            WholeNumber(0, 65535, " (0 = any free port)"),
            "High enough to need no privilege, and what people try first.",
        ),
    ] = 8000
    body_limit: Annotated[
        int,
        Key(
            Size("1KB", "1GB"),
            "A larger request body is answered with 413: enough for forms and JSON, cheap to refuse.",
        ),
    ] = 1024 * 1024


class WebSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[web]`: the processes that run the app."""

    processes: Annotated[
        int,
        Key(
            WholeNumber(1, 64),
            "One process is one core. Several from step 3 (load balancer) on, and then at least 2; before it, 1 runs.",
        ),
    ] = 1
    access_log: Annotated[
        bool, Key(YesNo(), "One line a request; cheap enough to leave on, and missed when it is off.")
    ] = True
    metrics: Annotated[
        Literal["loopback", "public", "off"],
        Key(
            OneOf(("loopback", "public", "off")),
            "Who may read /metrics; figures of a service are nobody else's business.",
        ),
    ] = "loopback"
    drain_limit_s: Annotated[
        float,
        Key(
            Duration("0s", "1h"),
            "How long a leaving process waits for requests and jobs it has begun; longer than any request should take.",
        ),
    ] = field(default=30.0, name="drain_limit")
    keep_alive_s: Annotated[
        float,
        Key(
            Duration("1s", "60s"),
            "How long an idle connection stays open; with more, a balancer reuses it as it closes.",
        ),
    ] = field(default=60.0, name="keep_alive")


class WorkersSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[workers]`: the processes that run jobs and deliver events beside the web processes."""

    processes: Annotated[
        int,
        Key(
            WholeNumber(0, 64),
            "With none, the web processes do it. A process of its own is worth it when jobs make answers slow.",
        ),
    ] = 0


class DatabaseSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[database]`: where the data is, and how long writes wait when they must."""

    path: Annotated[
        str | None,
        Key(
            Text(r"[^\x00-\x1f\x7f]{0,1023}[^\x00-\x1f\x7f/]", 'the path of a file, such as "data/shortener.db"'),
            "Seen from `.tenfold`, unless it is absolute. On a local disk: network file systems lose writes.",
            '"data/<name>.db"',
        ),
    ] = None
    hold_s: Annotated[
        float,
        Key(
            Duration("0s", "10m"),
            "How long work waits at a closed gate before it gets 503; longer than a failover takes.",
        ),
    ] = field(default=25.0, name="hold")
    queue: Annotated[
        int,
        Key(WholeNumber(1, 1_000_000), "How many writes may wait at once; more get 503 with Retry-After at once."),
    ] = 10_000
    url: Annotated[
        Secret | None,
        Key(
            ServerUrl(),
            "The PostgreSQL server that `tenfold climb 2` moves to. Without it, Tenfold runs one itself.",
            "none",
        ),
    ] = None
    pool: Annotated[
        int,
        Key(
            WholeNumber(2, 1000),
            "Connections for transactions, of all web and worker processes together; reads open half as many more.",
        ),
    ] = 16


class CacheSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[cache]`: the cache inside each process. Whichever bound is met first holds."""

    entries: Annotated[int, Key(WholeNumber(1, 100_000_000), "How many entries a process keeps.")] = 100_000
    bytes: Annotated[int, Key(Size("64KB", "1TB"), "How much memory the entries may take in a process.")] = field(
        default=64 * 1024 * 1024
    )
    eviction: Annotated[
        Literal["sieve", "lru", "lfu", "fifo"],
        Key(
            OneOf(("sieve", "lru", "lfu", "fifo")),
            "What goes when it is full. The default keeps what is read again when a scan passes by.",
        ),
    ] = "sieve"


class LogSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[log]`: the files under `.tenfold/logs`."""

    rotate_size: Annotated[
        int, Key(Size("64KB", "16GB"), "A log file that has grown so large is set aside and a new one begun.")
    ] = 16 * 1024 * 1024
    keep: Annotated[
        int, Key(WholeNumber(1, 1000), "How many files set aside are kept for each process; the oldest goes first.")
    ] = 5
    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Key(
            OneOf(("debug", "info", "warning", "error")),
            "The lowest level that is written, by `tf.log` and by Python's `logging`; a change holds at once.",
        ),
    ] = "info"


class MetricsSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[metrics]`: where the numbers are sent, besides `/metrics`. Who may read that is `web.metrics`."""

    otlp: Annotated[
        str | None,
        Key(
            Text(r"https?://[^\s\x00-\x1f\x7f@?#]{1,500}", 'an address such as "http://collector:4318/v1/metrics"'),
            "An OpenTelemetry collector to which each process sends its numbers (OTLP over HTTP, JSON).",
            "none",
        ),
    ] = None
    every_s: Annotated[
        float,
        Key(Duration("1s", "1h"), "How often they are sent; a collector that is away costs a try each time."),
    ] = field(default=15.0, name="every")


class Spec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The topology that is wanted: complete, within bounds, without a contradiction."""

    service: ServiceSpec
    public: PublicSpec = field(default_factory=PublicSpec)
    web: WebSpec = field(default_factory=WebSpec)
    workers: WorkersSpec = field(default_factory=WorkersSpec)
    database: DatabaseSpec = field(default_factory=DatabaseSpec)
    cache: CacheSpec = field(default_factory=CacheSpec)
    sessions: SessionsSpec = field(default_factory=SessionsSpec)
    files: FilesSpec = field(default_factory=FilesSpec)
    log: LogSpec = field(default_factory=LogSpec)
    metrics: MetricsSpec = field(default_factory=MetricsSpec)
    dashboard: DashboardSpec = field(default_factory=DashboardSpec)
    balancer: BalancerSpec = field(default_factory=BalancerSpec)
    tls: TlsSpec = field(default_factory=TlsSpec)
    routes: tuple[RouteSpec, ...] = ()
    """`[[route]]`, in the order of the file: the first that fits wins."""
    limits: tuple[LimitSpec, ...] = ()
    """`[[limit]]`: those that count a request all count it."""
    settings: dict[str, Scalar] = field(default_factory=dict)
    """`[settings]`: the service's own, read with `tf.setting(name, default)`; free names, plain values."""


TABLES: Mapping[str, type[Struct]] = {
    "service": ServiceSpec,
    "public": PublicSpec,
    "web": WebSpec,
    "workers": WorkersSpec,
    "database": DatabaseSpec,
    "cache": CacheSpec,
    "sessions": SessionsSpec,
    "files": FilesSpec,
    "log": LogSpec,
    "metrics": MetricsSpec,
    "dashboard": DashboardSpec,
    "balancer": BalancerSpec,
    "tls": TlsSpec,
}
"""The tables with fixed keys that are there once, in the order of the documentation."""

ROUTE = "route"
LIMIT = "limit"
REPEATED: Mapping[str, tuple[type[Struct], int]] = {ROUTE: (RouteSpec, ROUTES_MAX), LIMIT: (LimitSpec, LIMITS_MAX)}
"""The tables that may be there several times, with how often at most."""

_FREE = "settings"
_NAMES = (*TABLES, *REPEATED, _FREE)

FILE_MAX = 1_000_000
SETTINGS_MAX = 1000
SETTING = Plain()
_SETTING_NAME = Text(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", "a name of at most 64 letters, digits, - and _")


def parse_spec(text: str | bytes, source: str = "tenfold.toml") -> Spec:
    """Reads a spec from the text (or the raw bytes) of a TOML file; `source` is the name that errors begin with.

    Raises `SpecError`: for text that is not UTF-8 or not TOML (with the line), for an unknown key or table (with the
    nearest known one), for a missing key, for a value that is not allowed, and for what contradicts itself.
    """
    document = _toml(_decoded(text, source), source)
    for name in document:
        if name not in _NAMES:
            raise _unknown_at_top(name, document[name], source)
    tables: dict[str, object] = {
        name: _read_table(_Place(source, f"[{name}]", f"{name}."), kind, _table(name, document, source))
        for name, kind in TABLES.items()
    }
    for name in REPEATED:
        tables[f"{name}s"] = _read_repeated(name, document.get(name, []), source)
    tables[_FREE] = _read_settings(_table(_FREE, document, source), source)
    spec = msgspec.convert(tables, Spec)
    _refuse_contradictions(spec, "tls" in document, source)
    return spec


def keys_of(table: type[Struct]) -> dict[str, tuple[Key, msgspec.structs.FieldInfo]]:
    """The keys of a table by the name they have in the file, with their rule and their field."""
    return {info.encode_name: (_key_of(info), info) for info in msgspec.structs.fields(table)}


def _key_of(info: msgspec.structs.FieldInfo) -> Key:
    key = get_args(info.type)[1]
    assert isinstance(key, Key), f"the field {info.name} has no Key"
    return key


def _decoded(raw: str | bytes, source: str) -> str:
    try:
        text = raw if isinstance(raw, str) else raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SpecError(
            f"{source}: line {line}: found the byte 0x{error.object[error.start]:02x}; allowed: TOML in UTF-8.",
            hint="Save the file as UTF-8.",
        ) from None
    if len(text) > FILE_MAX:
        raise SpecError(f"{source}: found {len(text):,} characters; allowed: at most {FILE_MAX:,}.", hint=_PAGE)
    # Editors on Windows begin a file with a byte order mark, which TOML does not know.
    return text.removeprefix("\ufeff")


def _toml(text: str, source: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise SpecError(f"{source}: the lists or tables in it are nested too deeply.", hint=_PAGE) from None
    except ValueError as error:  # the parser's own, or Python's for a number of thousands of digits
        raise SpecError(
            f"{source}: {_place(escaped(str(error)), text)}.",
            hint='Texts need quotes ("...") and each key a line of its own; see https://toml.io.',
        ) from None


def _place(complaint: str, text: str) -> str:
    """The parser's complaint with its place in front: `line 3, column 8: not valid TOML: Invalid value`."""
    match = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", complaint, re.DOTALL)
    if match is None:
        return f"not valid TOML: {complaint}"
    place = f"line {match[2]}, column {match[3]}" if match[2] else f"line {len(text.splitlines()) or 1}, at its end"
    return f"{place}: not valid TOML: {match[1]}"


def _table(name: str, document: Mapping[str, object], source: str) -> dict[str, object]:
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise SpecError(f"{source}: {name}: found {shown(table)}; allowed: a table [{name}].", hint=_PAGE)
    return table


@dataclass(frozen=True)
class _Place:
    """Where a table is: the file, what the table is called in a sentence, and what its keys are called by."""

    source: str
    table: str
    prefix: str


def _read_table(place: _Place, kind: type[Struct], table: Mapping[str, object]) -> dict[str, object]:
    keys = keys_of(kind)
    for key in table:
        if key not in keys:
            raise SpecError(
                f"{place.source}: unknown key {_quoted(key)} in {place.table}; {_suggestion(key, keys)}", hint=_PAGE
            )
    for key, (_, info) in keys.items():
        if info.required and key not in table:
            raise _nothing(f"{place.source}: {place.prefix}{key}", keys[key][0], f"{key} = ... under {place.table}")
    return {key: _read_value(f"{place.prefix}{key}", keys[key][0], found, place.source) for key, found in table.items()}


def _nothing(place: str, key: Key, what: str) -> SpecError:
    return SpecError(f"{place}: found nothing; allowed: {key.rule.allowed}.", hint=f"Add {what}.")


def _read_repeated(name: str, found: object, source: str) -> list[dict[str, object]]:
    kind, most = REPEATED[name]
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise SpecError(f"{source}: {name}: found {shown(found)}; allowed: tables [[{name}]].", hint=_PAGE)
    if len(found) > most:
        raise SpecError(f"{source}: {name}: found {len(found)} tables; allowed: at most {most}.", hint=_PAGE)
    return [
        _read_table(_Place(source, f"[[{name}]] {number}", f"{name} {number}: "), kind, table)
        for number, table in enumerate(found, 1)
    ]


def _read_value(path: str, key: Key, found: object, source: str) -> object:
    try:
        return key.rule.read(found)
    except REFUSALS:
        what = "something else" if key.secret else shown(found)
        raise SpecError(f"{source}: {path}: found {what}; allowed: {key.rule.allowed}.", hint=_PAGE) from None


def _read_settings(table: Mapping[str, object], source: str) -> dict[str, object]:
    if len(table) > SETTINGS_MAX:
        raise SpecError(f"{source}: settings: found {len(table)} keys; allowed: at most {SETTINGS_MAX}.", hint=_PAGE)
    settings: dict[str, object] = {}
    for name, found in table.items():
        try:
            _SETTING_NAME.read(name)
        except ValueError:
            raise SpecError(
                f"{source}: settings: found the key {_quoted(name)}; allowed: {_SETTING_NAME.allowed}.", hint=_PAGE
            ) from None
        settings[name] = _read_value(f"settings.{name}", Key(SETTING, ""), found, source)
    return settings


def _unknown_at_top(name: str, found: object, source: str) -> SpecError:
    if isinstance(found, dict | list):
        return SpecError(f"{source}: unknown table {_quoted(name)}; {_suggestion(name, _NAMES)}", hint=_PAGE)
    kinds: dict[str, type[Struct]] = {
        **{f"[{table}]": kind for table, kind in TABLES.items()},
        **{f"[[{name}]]": kind for name, (kind, _) in REPEATED.items()},
    }
    homes = [heading for heading, kind in kinds.items() if name in keys_of(kind)]
    advice = (
        f"it belongs under {' or '.join(homes)}." if homes else "every key belongs under a table such as [service]."
    )
    return SpecError(f"{source}: unknown key {_quoted(name)} at the top of the file; {advice}", hint=_PAGE)


def _suggestion(found: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(found.lower().replace("-", "_"), names, n=1)
    return f'did you mean "{near[0]}"?' if near else f"allowed: {', '.join(names)}."


def _quoted(name: str) -> str:
    return shown(name).removesuffix(" (text)")


def _refuse_contradictions(spec: Spec, with_tls: bool, source: str) -> None:
    """Refuses what is right key by key and cannot be meant as a whole."""
    if with_tls and spec.tls.certificate is None:
        key, _ = keys_of(TlsSpec)["certificate"]
        raise _nothing(f"{source}: tls.certificate", key, 'certificate = "self-signed" under [tls], to try it out')
    needed = (spec.web.processes + spec.workers.processes) * LEAST
    if spec.database.pool < needed:
        web, workers = spec.web.processes, spec.workers.processes
        those = f"{web} web process{'' if web == 1 else 'es'}" + (f" and {workers} of workers" if workers else "")
        raise SpecError(
            f"{source}: database.pool: found {spec.database.pool}; allowed with {those}: at least {needed}.",
            hint=f"Set pool = {needed} under [database].",
        )
    of_limits = faults_of_limits([limit_map(limit) for limit in spec.limits])
    for sentence, hint in (*faults_of(spec.routes, spec.tls, (spec.public.host, spec.public.port)), *of_limits):
        raise SpecError(f"{source}: {sentence}.", hint=hint)
