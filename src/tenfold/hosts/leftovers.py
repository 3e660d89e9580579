"""What a child that ended left running: processes of a program, in the folder that the child owns.

PostgreSQL's sessions each lead a process group of their own. When the server itself is killed, one that is busy goes on
until it notices, and no new server may start before. They are known by program, folder and age, and by having lost
their parent: a server that somebody else started there is older than our child, or its sessions still have it.

HAProxy is another program than the process that looks after it, and outlives it on purpose: it is left alone until its
child is no longer wanted, and then all of it that works in the folder is killed, however old.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Sequence
from pathlib import Path

from tenfold.hosts.identity import Identity, identity_of, open_pidfd, send_signal
from tenfold.hosts.records import Launch

_GONE_LIMIT_S = 5.0
_DELETED = " (deleted)"


def leftovers(program: str, folder: str, ended: Identity) -> list[Identity]:
    """The processes of `program` that work in `folder`, lost their parent and are not older than what ended."""
    return [
        identity
        for identity in working_in(program, folder)
        if identity.start_ticks >= ended.start_ticks and not _has_parent(identity.pid, program)
    ]


def working_in(program: str, folder: str) -> list[Identity]:
    """The processes of `program` whose current folder is `folder`, oldest first."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if _is_of(int(entry.name), program) and os.readlink(entry / "cwd") == os.path.realpath(folder):
                found += [identity_of(int(entry.name))]
    return sorted((identity for identity in found if identity), key=lambda one: (one.start_ticks, one.pid))


def _is_of(pid: int, program: str) -> bool:
    return os.readlink(f"/proc/{pid}/exe").removesuffix(_DELETED) == os.path.realpath(program)


def _has_parent(pid: int, program: str) -> bool:
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        parent = int(stat.rpartition(")")[2].split()[1])
        return _is_of(parent, program) and identity_of(parent) is not None
    return False


def end_leftovers(program: str, folder: str, ended: Identity) -> int:
    """Kills them and waits until they are gone (a few seconds at most); how many there were. Blocks."""
    return _end_all(leftovers(program, folder, ended))


def end_left_programs(launch: Launch) -> int:
    """Kills what a child that is no longer wanted `leaves`, and waits until it is gone; how many there were. Blocks."""
    return _end_all(left_programs(launch))


def left_programs(launch: Launch) -> list[Identity]:
    """The processes that a child `leaves` to its next life and that run now; none for most children."""
    return working_in(launch.leaves, launch.owns) if launch.leaves else []


def _end_all(these: Sequence[Identity]) -> int:
    for identity in these:
        pidfd = open_pidfd(identity)
        if pidfd is not None:
            send_signal(pidfd, signal.SIGKILL)
            waiting = select.poll()
            waiting.register(pidfd, select.POLLIN)
            waiting.poll(_GONE_LIMIT_S * 1000)
            os.close(pidfd)
    return len(these)
