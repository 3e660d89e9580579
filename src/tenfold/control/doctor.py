"""What this machine has and lacks: a list of findings, each with what to do about it."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tenfold.control.door import SELF_SIGNED
from tenfold.core.clock import SYSTEM_CLOCK, Clock
from tenfold.core.errors import TenfoldError
from tenfold.core.units import format_size
from tenfold.engines.haproxy import programs as haproxy
from tenfold.engines.haproxy.tls import check_certificate, end_date_argv, expires_at
from tenfold.engines.postgres import programs as postgres
from tenfold.hosts.commands import output_of
from tenfold.hosts.listener import open_listener
from tenfold.topology.map import TlsMap
from tenfold.topology.spec import Spec

PYTHON = (3, 11)
SQLITE = (3, 37, 0)
"""STRICT tables came with it."""
DISK_LOW, DISK_LEAST = 1 << 30, 100 << 20
CERTIFICATE_LOW_DAYS = 21
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "fuse.glusterfs"})
_LATER = {
    "patroni": (4, "replication"),
    "etcd": (4, "replication"),
    "redis-server": (5, "cache tier"),
    "varnishd": (6, "content delivery"),
    "pdns_server": (8, "data centres"),
    "nats-server": (9, "message queue"),
    "prometheus": (10, "metrics"),
}


Verdict = Literal["fine", "warning", "problem", "later"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `fine`, a `warning` (works, with a drawback), a `problem`, or for `later`."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Deployed:
    """What a deployment needs beyond its first step. `runs`: its ports are rightly taken. `postgres`: its data is in a
    server that we run. `haproxy`: balancers stand before it. `tls`: its encrypted address, if it is to have one."""

    runs: bool = False
    postgres: bool = False
    haproxy: bool = False
    tls: TlsMap | None = None


def examine(folder: Path, spec: Spec | None, has: Deployed, clock: Clock = SYSTEM_CLOCK) -> list[Finding]:
    """Everything that a service in `folder` needs of this machine, then what later steps will need."""
    findings = [_python(), _venv(), _sqlite(), _uvloop(), _kind_of_disk(folder), _locks(folder), _space(folder)]
    if spec is not None and not has.runs:
        findings.append(_port("port", spec.public.host, spec.public.port))
    if spec is not None and has.tls is not None:
        findings += _encryption(spec.public.host, has.tls, runs=has.runs, now_us=clock.wall_us())
    findings.append(_postgres(postgres.installed(output_of), needed=has.postgres))
    findings.append(_haproxy(haproxy.installed(output_of), needed=has.haproxy))
    return findings + list(_later_engines())


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON:
        return Finding("python", "problem", found, "Tenfold needs python3 >= 3.11.")
    return Finding("python", "fine", f"{found} at {sys.executable}")


def _venv() -> Finding:
    if sys.prefix != sys.base_prefix:
        return Finding("environment", "fine", sys.prefix)
    return Finding("environment", "warning", "no virtual environment", "A service of its own is easier kept in a venv.")


def _sqlite() -> Finding:
    found = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < SQLITE:
        return Finding(
            "sqlite", "problem", found, "SQLite >= 3.37 is needed (STRICT tables); use a newer Python build."
        )
    return Finding("sqlite", "fine", found)


def _uvloop() -> Finding:
    if importlib.util.find_spec("uvloop") is None:
        return Finding(
            "uvloop", "problem", "not installed", "Install Tenfold with its dependencies: pip install tenfold."
        )
    return Finding("uvloop", "fine", "installed")


def _kind_of_disk(folder: Path) -> Finding:
    kind = kind_of_file_system(folder)
    if kind in _NETWORK:
        return Finding(
            "file system", "problem", f"{kind} at {folder}", "SQLite's WAL needs a local disk; put the service on one."
        )
    if kind == "tmpfs":
        return Finding("file system", "warning", f"tmpfs at {folder}", "Data here is gone after the next boot.")
    return Finding("file system", "fine", kind or "local")


def kind_of_file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The type of the file system that holds `folder` ("ext4", "nfs4"); empty when the system does not say."""
    best, kind = "", ""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    target = f"{folder.resolve()}/"
    for line in lines:
        point, found = line.split()[1:3]
        point = point.encode().decode("unicode_escape").rstrip("/") + "/"
        if target.startswith(point) and len(point) >= len(best):
            best, kind = point, found
    return kind


def _locks(folder: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=folder) as one:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return Finding(
            "locks", "problem", f"{folder}: {error.strerror}", "This user must be able to write and lock there."
        )
    return Finding("locks", "fine", "the folder can be written and locked")


def _space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    text = f"{format_size(free >> 20 << 20)} free"
    if free < DISK_LEAST:
        return Finding("disk", "problem", text, "Free some space: writes fail when the disk is full.")
    if free < DISK_LOW:
        return Finding("disk", "warning", text, "Less than 1 GB: keep an eye on it.")
    return Finding("disk", "fine", text)


def _port(name: str, host: str, port: int) -> Finding:
    try:
        open_listener(host, port).close()
    except TenfoldError as error:
        return Finding(name, "problem", error.message, error.hint)
    return Finding(name, "fine", f"{port} on {host} is free")


def _encryption(host: str, tls: TlsMap, *, runs: bool, now_us: int) -> list[Finding]:
    """The certificate and the port of the encrypted address."""
    path = Path(tls.certificate)
    if path.name == SELF_SIGNED and not path.exists():
        found = [Finding("certificate", "later", "self-signed; made when the balancers start")]
    else:
        found = [_certificate(path, now_us)]
    return found if runs else [*found, _port("tls port", host, tls.port)]


def _certificate(path: Path, now_us: int) -> Finding:
    try:
        check_certificate(path)
    except TenfoldError as error:
        return Finding("certificate", "problem", error.message, error.hint)
    until = expires_at(output_of(end_date_argv(path)))
    return lifetime(path, None if until is None else (until.timestamp() - now_us / 1e6) / 86_400)


def lifetime(path: Path, days: float | None) -> Finding:
    """What is to be said of a usable certificate that is good for so many days still; None: nobody knows."""
    if days is None:
        return Finding("certificate", "fine", f"{path}; how long it is good is not known without openssl")
    if days <= 0:
        return Finding(
            "certificate", "problem", f"{path} has expired", "Put a new one in its place, then `tenfold up`."
        )
    text = f"{path} is good for {days:.0f} days"
    if days < CERTIFICATE_LOW_DAYS:
        return Finding("certificate", "warning", text, "Put a new one in its place, then `tenfold up`.")
    return Finding("certificate", "fine", text)


def _haproxy(found: list[haproxy.Program], *, needed: bool) -> Finding:
    """Without it a service before step 3 lacks nothing; one with balancers cannot start."""
    try:
        program = haproxy.choose(found)
    except TenfoldError as error:
        if needed:
            return Finding("haproxy", "problem", error.message, error.hint)
        return Finding("haproxy", "later", f"{error.message} Not needed before step 3 (load balancer).", error.hint)
    return Finding("haproxy", "fine", f"{program.version} at {program.path}")


def _postgres(found: list[postgres.Programs], *, needed: bool) -> Finding:
    """Without it a service on step 1 lacks nothing; one whose data is in it cannot start."""
    try:
        programs = postgres.choose(found)
    except TenfoldError as error:
        if needed:
            return Finding("postgres", "problem", error.message, error.hint)
        return Finding("postgres", "later", f"{error.message} Not needed before step 2 (database server).", error.hint)
    return Finding("postgres", "fine", f"{programs.version} at {programs.folder}")


def _later_engines() -> Iterator[Finding]:
    for program, (step, purpose) in _LATER.items():
        place = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        found = place or "not installed"
        yield Finding(program, "later", f"{found}; not needed before step {step} ({purpose})")
