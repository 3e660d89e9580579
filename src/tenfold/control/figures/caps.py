"""How many cores a process can use at most, by the caps of its control groups (versions 1 and 2).

Source: the kernel's documentation of `cpu.max` (cgroup-v2) and of CFS bandwidth control (`cpu.cfs_quota_us`).
"""

from __future__ import annotations

import contextlib
import math
import os
from dataclasses import dataclass
from pathlib import PurePosixPath

from tenfold.control.figures.processes import read

NO_CAP = math.inf


@dataclass(frozen=True)
class Mount:
    """Where a hierarchy of groups is mounted, and which of its groups that folder is."""

    folder: str
    root: str
    unified: bool


def mounts_in(mountinfo: str) -> list[Mount]:
    """The hierarchies that cap processors, from the text of /proc/self/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        words, kind = before.split(), after.split()
        if len(words) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2" or (kind[0] == "cgroup" and "cpu" in kind[2].split(",")):
            found.append(Mount(words[4], words[3], kind[0] == "cgroup2"))
    return found


def groups_in(text: str) -> dict[bool, str]:
    """The groups of a process that matter here, from the text of /proc/PID/cgroup: by whether they are of version 2."""
    found: dict[bool, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            found[True] = path
        elif "cpu" in controllers.split(","):
            found[False] = path
    return found


class Caps:
    """Answers for one look: a group is looked at once."""

    def __init__(self, mounts: list[Mount]) -> None:
        self._mounts = mounts
        self._known: dict[str, float] = {}

    def cores(self, pid: int) -> float:
        """Cores that the groups of a process leave it; infinite without a cap, or when it is gone."""
        try:
            groups = groups_in(read(f"/proc/{pid}/cgroup").decode(errors="replace"))
        except OSError:
            return NO_CAP
        mounts = [mount for mount in self._mounts if mount.unified in groups]
        return min((self._of(_folder(mount, groups[mount.unified]), mount) for mount in mounts), default=NO_CAP)

    def usage_s(self, pid: int) -> float | None:
        """Processor seconds that the group of a process has used; None where that is not counted."""
        with contextlib.suppress(OSError, ValueError):
            groups = groups_in(read(f"/proc/{pid}/cgroup").decode(errors="replace"))
            for mount in self._mounts:
                if mount.unified in groups:
                    return _usage_s(_folder(mount, groups[mount.unified]), mount.unified)
        return None

    def _of(self, folder: str, mount: Mount) -> float:
        """The lowest cap of a group and those above it."""
        if folder not in self._known:
            inside = folder != mount.folder and PurePosixPath(folder).is_relative_to(mount.folder)
            above = self._of(os.path.dirname(folder), mount) if inside else NO_CAP
            self._known[folder] = min(_quota(folder, mount.unified), above)
        return self._known[folder]


def _folder(mount: Mount, path: str) -> str:
    """The folder of a group. In a container the mounted folder is a group below the root of the hierarchy."""
    if mount.root != "/" and PurePosixPath(path).is_relative_to(mount.root):
        path = "/" + str(PurePosixPath(path).relative_to(mount.root))
    return os.path.normpath(mount.folder + path)


def _quota(folder: str, unified: bool) -> float:
    """The cap of one group in cores."""
    with contextlib.suppress(OSError, ValueError):
        if unified:
            quota, period = read(f"{folder}/cpu.max").split()
            return NO_CAP if quota == b"max" else int(quota) / int(period)
        limit = int(read(f"{folder}/cpu.cfs_quota_us"))
        return NO_CAP if limit <= 0 else limit / int(read(f"{folder}/cpu.cfs_period_us"))
    return NO_CAP


def _usage_s(folder: str, unified: bool) -> float | None:
    if unified:
        words = read(f"{folder}/cpu.stat").split()
        return int(words[words.index(b"usage_usec") + 1]) / 1e6
    return int(read(f"{folder}/cpuacct.usage")) / 1e9
