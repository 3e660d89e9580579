"""Small machines: processes that get only a part of a core, by a cgroup of their own (root only; version 1 and 2)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

PERIOD_US = 20_000
"""A short period: with the usual 100 ms a process that has used up its share would stand still for as long."""
_V1 = Path("/sys/fs/cgroup/cpu")
_V2 = Path("/sys/fs/cgroup")


def possible() -> bool:
    """Whether this machine lets us."""
    return os.geteuid() == 0 and (os.access(_V1 / "cpu.cfs_quota_us", os.F_OK) or (_V2 / "cgroup.controllers").exists())


@contextlib.contextmanager
def capped(name: str, pid: int, part: float) -> Iterator[None]:
    """`part` of a core for a process and all that it starts; its group is removed in the end, when it has ended."""
    first = (_V1 / "cpu.cfs_quota_us").exists()
    group = (_V1 if first else _V2) / f"tenfold-bench-{os.getpid()}-{name}"
    quota_us = max(1000, round(PERIOD_US * part))
    group.mkdir()
    try:
        if first:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        else:
            (group / "cpu.max").write_text(f"{quota_us} {PERIOD_US}")
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        home = _V1 if first else _V2
        for left in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (home / "cgroup.procs").write_text(left)
        group.rmdir()
