"""Small machines: processes that get only a part of a core, by control groups of their own (root only; v1 and v2).

Source: the kernel's documentation of CFS bandwidth control (`cpu.cfs_quota_us`) and of `cpu.max` (cgroup-v2).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

PERIOD_US = 20_000
"""A short period: with the usual 100 ms a process that has used up its share would stand still for as long."""
_LEAST_US = 1000
"""The kernel takes no smaller quota."""
_V1 = Path("/sys/fs/cgroup/cpu")
_V2 = Path("/sys/fs/cgroup")


def _is_first() -> bool:
    """Whether processors are capped by version 1 here."""
    return (_V1 / "cpu.cfs_quota_us").exists()


def possible() -> bool:
    """Whether this machine lets us: found out by capping a group that nobody is in."""
    if os.geteuid() != 0:
        return False
    try:
        with Caps("try") as caps:
            caps.cap("nobody", 0.5, ())
    except OSError:
        return False
    return True


class Caps:
    """The groups of one owner, gone when it is closed. `mark` is in their names, beside our pid."""

    def __init__(self, mark: str) -> None:
        self._home = _V1 if _is_first() else _V2
        self._mark = f"tenfold-{mark}-{os.getpid()}"
        self._groups: dict[str, Path] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_args: object) -> None:
        self.close()

    def cap(self, name: str, part: float, pids: Iterable[int]) -> None:
        """Puts processes into the group `name`, which gets `part` of a core. Who has ended meanwhile is left out.

        What they start from now on is in it as well. Raises OSError where this is not possible.
        """
        group = self._groups.get(name) or self._made(name, part)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                (group / "cgroup.procs").write_text(str(pid))

    def _made(self, name: str, part: float) -> Path:
        group = self._home / f"{self._mark}-{name}"
        group.mkdir(exist_ok=True)
        self._groups[name] = group
        period_us = max(PERIOD_US, round(_LEAST_US / part))
        quota_us = round(period_us * part)
        if _is_first():
            (group / "cpu.cfs_period_us").write_text(str(period_us))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
            return group
        if not (group / "cpu.max").exists():  # the root hands its controllers down only when told to
            (self._home / "cgroup.subtree_control").write_text("+cpu")
        (group / "cpu.max").write_text(f"{quota_us} {period_us}")
        return group

    def close(self) -> None:
        """Lets everything out and removes the groups. What cannot be removed is left; the machine forgets it."""
        for group in self._groups.values():
            _removed(group, self._home)
        self._groups.clear()


def _removed(group: Path, home: Path) -> None:
    with contextlib.suppress(OSError):
        for left in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                (home / "cgroup.procs").write_text(left)
        group.rmdir()


def sweep(mark: str) -> None:
    """Removes the groups of owners with this mark that were killed."""
    home = _V1 if _is_first() else _V2
    for group in home.glob(f"tenfold-{mark}-[0-9]*"):
        pid = group.name.removeprefix(f"tenfold-{mark}-").partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            _removed(group, home)


@contextlib.contextmanager
def capped(name: str, pid: int, part: float) -> Iterator[None]:
    """`part` of a core for a process and all that it starts, as long as the context lasts."""
    with Caps("bench") as caps:
        caps.cap(name, part, (pid,))
        yield
