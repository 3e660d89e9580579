"""The spec: the topology that is wanted, read from tenfold.toml.

Only `[service]` is required; everything else has a default that works. An error names the file, the line or the path in
it, what was found and what is allowed.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from typing import Any, Literal

import msgspec

from tenfold.core.errors import SpecError
from tenfold.core.units import shown
from tenfold.topology.rules import RULES, SECTIONS, SETTINGS, Rule

Scalar = bool | int | float | str

_HINT = "Correct the file and run the command again; docs/configuration.md explains every key."
_SETTING = re.compile(r"[A-Za-z_][\w-]{0,60}", re.ASCII)
_MAX_FILE = 1_000_000


class ServiceSpec(msgspec.Struct, frozen=True):
    """`[service]`."""

    name: str
    app: str


class PublicSpec(msgspec.Struct, frozen=True):
    """`[public]`; `body_limit` in bytes."""

    host: str
    port: int
    body_limit: int


class WebSpec(msgspec.Struct, frozen=True):
    """`[web]`; durations in seconds."""

    processes: int
    access_log: bool
    metrics: Literal["loopback", "public", "off"]
    drain_limit: float
    keep_alive: float


class DatabaseSpec(msgspec.Struct, frozen=True):
    """`[database]`; `hold` in seconds."""

    path: str
    hold: float
    queue: int


class CacheSpec(msgspec.Struct, frozen=True):
    """`[cache]`."""

    entries: int
    bytes: int


class LogSpec(msgspec.Struct, frozen=True):
    """`[log]`; `rotate_size` in bytes."""

    rotate_size: int
    keep: int


class Spec(msgspec.Struct, frozen=True):
    """What a person asked for, with all defaults filled in."""

    service: ServiceSpec
    public: PublicSpec
    web: WebSpec
    database: DatabaseSpec
    cache: CacheSpec
    log: LogSpec
    settings: dict[str, Scalar]


def parse_spec(text: str, source: str) -> Spec:
    """The spec in `text`; `source` is the file's name for error messages. Raises `SpecError`."""
    found = _toml(text, source)
    _refuse_unknown(found, source)
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for rule in RULES:
        values[rule.section][rule.key] = _value(rule, found, source)
    values["database"]["path"] = values["database"]["path"].replace("<name>", values["service"]["name"])
    if values["web"]["processes"] > 1:
        raise _error(
            source,
            f"web.processes: found {values['web']['processes']}; allowed on this step: 1. Several web processes need "
            "step 3, the load balancer",
        )
    return msgspec.convert(values | {SETTINGS: _settings(found, source)}, Spec)


def _error(source: str, what: str) -> SpecError:
    return SpecError(f"{source}: {what}.", hint=_HINT)


def _toml(text: str, source: str) -> dict[str, Any]:
    if len(text) > _MAX_FILE:
        raise _error(source, f"the file has {len(text):,} characters; allowed: {_MAX_FILE:,}")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _error(source, f"this is not valid TOML: {str(error).rstrip('.')}") from None


def _refuse_unknown(found: dict[str, Any], source: str) -> None:
    known = (*SECTIONS, SETTINGS)
    for section, content in found.items():
        if section not in known:
            raise _error(source, f"unknown section [{section}]; {_meant(section, known, 'there are')}")
        if not isinstance(content, dict):
            raise _error(source, f"{section}: found {shown(content)}; allowed: a table, [{section}]")
        if section != SETTINGS:
            _refuse_unknown_keys(section, content, source)


def _refuse_unknown_keys(section: str, content: dict[str, Any], source: str) -> None:
    keys = [rule.key for rule in RULES if rule.section == section]
    for key in content:
        if key not in keys:
            raise _error(source, f'unknown key "{key}" in [{section}]; {_meant(key, keys, "it has")}')


def _meant(word: str, known: Any, otherwise: str) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f'did you mean "{near[0]}"?' if near else f"{otherwise}: {', '.join(known)}"


def _value(rule: Rule, found: dict[str, Any], source: str) -> Any:
    section = found.get(rule.section, {})
    if rule.key not in section:
        if rule.default is None:
            raise _error(source, f"{rule.path} is missing; allowed: {rule.allowed}")
        return rule.read(rule.default)
    try:
        return rule.read(section[rule.key])
    except ValueError as error:
        raise _error(source, f"{rule.path}: {error}") from None


def _settings(found: dict[str, Any], source: str) -> dict[str, Scalar]:
    settings = found.get(SETTINGS, {})
    for name, value in settings.items():
        if not _SETTING.fullmatch(name):
            raise _error(source, f'settings: found the name "{name}"; allowed: letters, digits, - and _')
        if not isinstance(value, bool | int | float | str):
            raise _error(source, f"settings.{name}: found {shown(value)}; allowed: a text, a number, true or false")
    return dict(settings)
