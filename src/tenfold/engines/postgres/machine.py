"""What the machine, or the container, gives a server: measured, for `render.Machine`."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tenfold.engines.postgres.home import Home, free_bytes
from tenfold.engines.postgres.render import Machine

CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def machine_of(home: Home, limits: tuple[Path, ...] = CGROUP_LIMITS) -> Machine:
    """Memory in bytes (of the container when it has less than the machine) and free bytes where the data is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in limits:
        with contextlib.suppress(OSError, ValueError):  # "max" means no limit
            memory = min(memory, int(limit.read_text()))
    return Machine(memory, free_bytes(home))
