"""One host, from /proc and /sys: cores and how busy they are, memory, and the disk of the state directory.

Sources: proc(5) for /proc/stat and /proc/meminfo, the kernel's `block/stat.rst` for the time in which a disk worked.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

from tenfold.control.figures.caps import Caps
from tenfold.control.figures.look import MachineLook
from tenfold.control.figures.processes import TICK_S, read

_IO_TICKS = 9
"""Which number of /sys/dev/block/MAJOR:MINOR/stat is the milliseconds in which the disk worked."""


def machine_look(state: Path, caps: Caps) -> MachineLook:
    """The host as it is now. Where this process may use only a part of it (a container), that part is the host."""
    here = os.getpid()
    cap, there = caps.cores(here), os.cpu_count() or 1
    used = caps.usage_s(here) if cap < there else None
    memory, free = memory_in(read("/proc/meminfo"))
    disk, disk_free = _space(state)
    return MachineLook(
        cores=there if used is None else max(1, math.ceil(cap)),
        busy_s=busy_in(read("/proc/stat")) if used is None else used,
        memory=memory,
        memory_free=free,
        disk=disk,
        disk_free=disk_free,
        disk_busy_s=_disk_busy(state),
    )


def busy_in(text: bytes) -> float:
    """Seconds in which cores worked, all together, from the text of /proc/stat: without waiting for disks, and without
    what a hypervisor took away."""
    user, nice, system, _idle, _wait, irq, soft = (int(word) for word in text.split(b"\n", 1)[0].split()[1:8])
    return (user + nice + system + irq + soft) * TICK_S


def memory_in(text: bytes) -> tuple[int, int]:
    """Bytes of memory, and how many of them a process could still get, from the text of /proc/meminfo."""
    found = {words[0]: int(words[1]) * 1024 for words in (line.split() for line in text.splitlines()) if len(words) > 1}
    return found.get(b"MemTotal:", 0), found.get(b"MemAvailable:", 0)


def _space(state: Path) -> tuple[int, int]:
    """Bytes of the file system, and how many of them we may still fill."""
    with contextlib.suppress(OSError):
        size = os.statvfs(state)
        return size.f_blocks * size.f_frsize, size.f_bavail * size.f_frsize
    return 0, 0


def _disk_busy(state: Path) -> float | None:
    """Seconds in which the disk worked; None for a file system without a disk of its own (tmpfs, overlay, network)."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        device = os.stat(state).st_dev
        return int(read(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").split()[_IO_TICKS]) / 1000
    return None
