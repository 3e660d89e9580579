"""HAProxy's program on this machine: found on PATH and where Debian, Ubuntu and others keep it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tenfold.core.errors import TenfoldError

LEAST = (2, 6)
"""The oldest version that Tenfold works with: the first whose servers can be added and removed while it runs, with
health checks."""
FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin")
PACKAGE = "haproxy"
"""Its name for apt-get on Debian and Ubuntu."""
STOP_SERVICE = ("systemctl", "disable", "--now", "haproxy")
"""Ends the service that Debian's package starts by itself; Tenfold runs HAProxy as a child of its own."""
SERVICE_NOTE = (
    "The package starts an HAProxy of its own as a service; Tenfold does not use that one, and stops and disables it "
    "after an install that it made itself."
)
INSTALL_HINT = (
    "Install HAProxy 2.6 or newer, on Debian and Ubuntu: apt-get install haproxy; "
    "then systemctl disable --now haproxy, because Tenfold runs its own."
)
_VERSION = re.compile(r"HAProxy version ((\d+)\.(\d+)(?:\.\d+)?)")

Ask = Callable[[Sequence[str]], str]
"""Runs a command and returns what it printed; given by the floor above, because only `hosts` starts processes."""


@dataclass(frozen=True)
class Program:
    """One installation: its program, and its version as numbers and as it is shown."""

    path: Path
    major_minor: tuple[int, int]
    version: str

    def check_argv(self, config: str) -> tuple[str, ...]:
        """The command that reads a config and says whether it is good (exit 0), without starting anything."""
        return (str(self.path), "-c", "-q", "-f", config)

    def run_argv(self, config: str) -> tuple[str, ...]:
        """The command that serves in the foreground until SIGUSR1 (finishes what it has) or SIGTERM (ends at once)."""
        return (str(self.path), "-db", "-f", config)


def installed(ask: Ask, path: str | None = None, folders: Iterable[str] = FOLDERS) -> list[Program]:
    """Every HAProxy of this machine, the newest first; those on PATH before others of the same version."""
    words = (os.environ.get("PATH", "") if path is None else path).split(os.pathsep)
    found: dict[Path, Program] = {}
    for folder in [*(word for word in words if word), *folders]:
        program = Path(folder) / "haproxy"
        if os.access(program, os.X_OK) and program.is_file() and program.resolve() not in found:
            match = _VERSION.search(ask([str(program), "-v"]))
            if match is not None:
                found[program.resolve()] = Program(program.resolve(), (int(match[2]), int(match[3])), match[1])
    return sorted(found.values(), key=lambda one: one.major_minor, reverse=True)


def choose(found: Sequence[Program]) -> Program:
    """The newest. Raises a `TenfoldError`: TF-HAPROXY-MISSING when there is none, TF-HAPROXY-VERSION when it is old."""
    if not found:
        raise TenfoldError("HAProxy is not installed.", hint=INSTALL_HINT, code="TF-HAPROXY-MISSING")
    if found[0].major_minor < LEAST:
        least = ".".join(map(str, LEAST))
        raise TenfoldError(
            f"HAProxy {found[0].version} is too old: Tenfold needs {least} or newer.",
            hint=INSTALL_HINT,
            code="TF-HAPROXY-VERSION",
        )
    return found[0]
