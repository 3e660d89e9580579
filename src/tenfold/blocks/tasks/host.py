"""Who this process is, so that another one on the same host can know that it is dead.

A process is named by the kernel's boot id and its pid namespace, its pid, and when it was started: pids come again,
the pair of pid and start does not within one boot.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Identity:
    """One process for ever. `host` is empty where it cannot be known; then nobody judges by it."""

    host: str
    pid: int
    started: int


def identity() -> Identity:
    """This process."""
    pid = os.getpid()
    started = started_at(pid)
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        host = f"{boot}/{os.readlink(_PROC / 'self/ns/pid')}"
    except (OSError, UnicodeDecodeError):
        host = ""
    return Identity(host if started is not None else "", pid, started or 0)


def started_at(pid: int) -> int | None:
    """When the process was started, in ticks after the boot; None when there is none, or it has ended."""
    try:
        text = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def is_gone(process: Identity, here: Identity) -> bool:
    """Whether the process has surely ended: only somebody on its host can say so."""
    return bool(here.host) and process.host == here.host and started_at(process.pid) != process.started
