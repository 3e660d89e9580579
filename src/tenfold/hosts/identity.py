"""Which process a number means: a pid alone is recycled, so it goes with its start time and the boot it belongs to."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Identity:
    """One process for ever: `start_ticks` is field 22 of /proc/PID/stat, `boot` the kernel's boot id."""

    pid: int
    start_ticks: int
    boot: str


def boot_id() -> str:
    """The id of this boot; start times are only comparable within one."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def identity_of(pid: int) -> Identity | None:
    """The identity of a live process, or None when there is none with that pid (a zombie counts as none)."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in field 2 may hold spaces and brackets; everything behind its last bracket is well-formed.
    fields = stat.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    return Identity(pid, int(fields[19]), boot_id())


def is_alive(identity: Identity) -> bool:
    """Whether exactly this process still runs."""
    return identity_of(identity.pid) == identity


def open_pidfd(identity: Identity) -> int | None:
    """A descriptor that means exactly this process and becomes readable when it ends; None when it has ended."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    if is_alive(identity):  # looked at after the descriptor was opened, so the pid cannot have been recycled between
        return descriptor
    os.close(descriptor)
    return None


def send_signal(pidfd: int, number: int) -> None:
    """Signals the process behind a pidfd; nothing happens when it has ended."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)


def command_of(pid: int) -> str:
    """The command line of a process as a person would type it, shortened; empty when it is not ours to see."""
    try:
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ""
    text = raw.replace(b"\0", b" ").decode(errors="replace").strip()
    return text if len(text) <= 120 else text[:117] + "..."
