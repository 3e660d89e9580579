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

from tenfold.core.errors import TenfoldError
from tenfold.core.units import format_size
from tenfold.engines.postgres.programs import Programs, choose, installed
from tenfold.hosts.commands import output_of
from tenfold.hosts.listener import open_listener
from tenfold.topology.spec import Spec

PYTHON = (3, 11)
SQLITE = (3, 37, 0)
"""STRICT tables came with it."""
DISK_LOW, DISK_LEAST = 1 << 30, 100 << 20
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "fuse.glusterfs"})
_LATER = {
    "haproxy": (3, "load balancer"),
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


def examine(folder: Path, spec: Spec | None, *, runs: bool, postgres: bool = False) -> list[Finding]:
    """Everything that a service in `folder` needs of this machine, then what later steps will need.

    `runs`: the service runs already, so its port is rightly taken. `postgres`: its data is in a server that we run.
    """
    findings = [_python(), _venv(), _sqlite(), _uvloop(), _kind_of_disk(folder), _locks(folder), _space(folder)]
    if spec is not None and not runs:
        findings.append(_port(spec.public.host, spec.public.port))
    findings.append(_postgres(installed(output_of), needed=postgres))
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


def _port(host: str, port: int) -> Finding:
    try:
        open_listener(host, port).close()
    except TenfoldError as error:
        return Finding("port", "problem", error.message, error.hint)
    return Finding("port", "fine", f"{port} on {host} is free")


def _postgres(found: list[Programs], *, needed: bool) -> Finding:
    """Without it a service on step 1 lacks nothing; one whose data is in it cannot start."""
    try:
        programs = choose(found)
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
