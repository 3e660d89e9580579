"""What the machine, or the container, gives a server: measured, for `render.Machine`."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from tenfold.engines.postgres.home import Home, free_bytes
from tenfold.engines.postgres.render import Machine

SYNCFS = (5, 8)
"""The first Linux whose `syncfs` reports errors."""
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def machine_of(home: Home, limits: tuple[Path, ...] = CGROUP_LIMITS) -> Machine:
    """Memory in bytes (of the container when it has less), free bytes for the data, and what the kernel can."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in limits:
        with contextlib.suppress(OSError, ValueError):  # "max" means no limit
            memory = min(memory, int(limit.read_text()))
    return Machine(memory, free_bytes(home), syncfs=_kernel(os.uname().release) >= SYNCFS)


def _kernel(release: str) -> tuple[int, ...]:
    """The first two numbers of a kernel's version; (0,) when it has none."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0,)
