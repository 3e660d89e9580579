"""What a child that ended left running: processes of the same program, in the folder that it owns.

PostgreSQL's sessions each lead a process group of their own. When the server itself is killed, one that is busy goes on
until it notices, and no new server may start before. They are known by program, folder and age, and by having lost
their parent: a server that somebody else started there is older than our child, or its sessions still have it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path

from tenfold.hosts.identity import Identity, identity_of, open_pidfd, send_signal

_GONE_LIMIT_S = 5.0
_DELETED = " (deleted)"


def leftovers(program: str, folder: str, ended: Identity) -> list[Identity]:
    """The processes of `program` that work in `folder`, lost their parent and are not older than what ended."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        with contextlib.suppress(OSError):
            if not _is_of(pid, program) or os.readlink(entry / "cwd") != os.path.realpath(folder):
                continue
            identity = identity_of(pid)
            if identity is not None and identity.start_ticks >= ended.start_ticks and not _has_parent(pid, program):
                found.append(identity)
    return found


def _is_of(pid: int, program: str) -> bool:
    return os.readlink(f"/proc/{pid}/exe").removesuffix(_DELETED) == os.path.realpath(program)


def _has_parent(pid: int, program: str) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_text()
    parent = int(stat.rpartition(")")[2].split()[1])
    with contextlib.suppress(OSError):
        return _is_of(parent, program) and identity_of(parent) is not None
    return False


def end_leftovers(program: str, folder: str, ended: Identity) -> int:
    """Kills them and waits until they are gone (a few seconds at most); how many there were. Blocks."""
    these = leftovers(program, folder, ended)
    for identity in these:
        pidfd = open_pidfd(identity)
        if pidfd is not None:
            send_signal(pidfd, signal.SIGKILL)
            waiting = select.poll()
            waiting.register(pidfd, select.POLLIN)
            waiting.poll(_GONE_LIMIT_S * 1000)
            os.close(pidfd)
    return len(these)
