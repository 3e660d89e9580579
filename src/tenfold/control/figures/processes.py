"""Processor time and memory of whole process trees, from /proc.

Where the kernel lists children (`/proc/PID/task/TID/children`, Linux built with CONFIG_PROC_CHILDREN, which
distributions have), a tree costs a few reads; else every process of the machine is looked at once.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator

from msgspec import structs

from tenfold.control.figures.look import ProcessLook

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
"""Seconds in a clock tick, the unit of /proc."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MOST = 4096
"""Processes of one tree, at most: what forks without end must not keep us busy."""

Children = Callable[[int], Iterable[int]]


def read(path: str) -> bytes:
    """The beginning (64 KB) of a small file of the kernel. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 65536)
    finally:
        os.close(descriptor)


def up_ticks() -> int:
    """Clock ticks since boot, the clock of `ProcessLook.began`."""
    return int(float(read("/proc/uptime").split()[0]) / TICK_S)


def process_of(pid: int) -> ProcessLook | None:
    """One process; None when there is none with that pid."""
    try:
        return parse_stat(pid, read(f"/proc/{pid}/stat"))
    except (OSError, IndexError, ValueError):
        return None


def parse_stat(pid: int, text: bytes) -> ProcessLook:
    """What /proc/PID/stat says. The name in it may hold spaces and brackets; behind its last one is order."""
    fields = text.rpartition(b")")[2].split()
    own, ended = int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
    return ProcessLook(
        pid=pid,
        parent=int(fields[1]),
        began=int(fields[19]),
        cpu_s=own * TICK_S,
        ended_s=ended * TICK_S,
        memory=int(fields[21]) * _PAGE,
    )


def children_of(pid: int) -> list[int]:
    """The children of a process, as the kernel lists them by the thread that started them."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += [int(word) for word in read(f"/proc/{pid}/task/{thread}/children").split()]
    return found


def lists_children() -> bool:
    """Whether this kernel lists the children of a process."""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def all_children() -> Children:
    """`children_of` for kernels that do not list them: one pass over all processes of the machine, now."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        one = process_of(int(name)) if name.isdigit() else None
        if one is not None:
            found.setdefault(one.parent, []).append(one.pid)
    return lambda pid: found.get(pid, ())


def tree_of(pid: int, children: Children) -> tuple[ProcessLook, ...]:
    """A process and all that it started and that still runs, itself first; empty when it is gone."""
    found = list(_walk(pid, children))
    if len(found) == 1:
        return tuple(found)  # what it shares with others (libraries) is still its own share of the machine
    return tuple(_with_shared(one) for one in found)


def _walk(pid: int, children: Children) -> Iterator[ProcessLook]:
    waiting, seen = [pid], {pid}
    while waiting:
        one = process_of(waiting.pop())
        if one is None:
            continue
        yield one
        fresh = [child for child in children(one.pid) if child not in seen][: _MOST - len(seen)]
        seen.update(fresh)
        waiting += fresh


def _with_shared(one: ProcessLook) -> ProcessLook:
    try:
        fields = read(f"/proc/{one.pid}/statm").split()
    except OSError:
        return one
    return structs.replace(one, shared=int(fields[2]) * _PAGE)


def command_of(pid: int) -> bytes:
    """The command line of a process; empty when it is gone. A server such as PostgreSQL writes there what it does."""
    with contextlib.suppress(OSError):
        return read(f"/proc/{pid}/cmdline")
    return b""
