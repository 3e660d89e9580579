"""Programs that a step needs and this machine lacks: what the command line may offer to install, and installing it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tenfold.core.errors import TenfoldError
from tenfold.engines.haproxy import programs as haproxy
from tenfold.engines.postgres import programs as postgres
from tenfold.hosts.commands import output_of, run_attached

SYSTEMD = Path("/run/systemd/system")
"""There where systemd runs the machine's services."""

Command = tuple[str, ...]


@dataclass(frozen=True)
class Offer:
    """What would install a program: the question to ask first, and the commands in order.

    `afterwards` are run too, and may fail: where there are no services, there is none to stop.
    """

    missing: str
    question: str
    commands: tuple[Command, ...]
    afterwards: tuple[Command, ...] = ()


@dataclass(frozen=True)
class _Package:
    name: str
    package: str
    least: str
    failed: str
    """The code of the error when it cannot be installed."""
    check: Callable[[], object]
    """Raises when the program is not there."""
    note: str = ""
    stop: Command = ()
    """What ends the service that the package starts by itself, where systemd runs; empty when it starts none."""


_PACKAGES = {
    "TF-PG-MISSING": _Package(
        "PostgreSQL",
        "postgresql",
        str(postgres.LEAST),
        "TF-PG-INSTALL",
        lambda: postgres.choose(postgres.installed(output_of)),
    ),
    "TF-HAPROXY-MISSING": _Package(
        "HAProxy",
        haproxy.PACKAGE,
        ".".join(map(str, haproxy.LEAST)),
        "TF-HAPROXY-INSTALL",
        lambda: haproxy.choose(haproxy.installed(output_of)),
        note=haproxy.SERVICE_NOTE,
        stop=haproxy.STOP_SERVICE,
    ),
}


def install_offer(missing: str) -> Offer | None:
    """What would install the program whose lack the code `missing` tells: apt, as root or with sudo.

    None for any other code, and where we do not know how.
    """
    wanted = _PACKAGES.get(missing)
    if wanted is None or shutil.which("apt-get") is None:
        return None
    prefix: Command = ()
    if os.geteuid() != 0:
        if shutil.which("sudo") is None:
            return None
        prefix = ("sudo",)
    quiet = (*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get")
    commands = ((*quiet, "update"), (*quiet, "install", "--yes", wanted.package))
    shown = " ".join((*prefix, "apt-get install", wanted.package))
    note = f"{wanted.note}\n" if wanted.note else ""
    afterwards = tuple((*prefix, *words) for words in _stopping(wanted))
    return Offer(missing, f"{note}{wanted.name} is not installed. Install it now ({shown})?", commands, afterwards)


def _stopping(wanted: _Package) -> tuple[Command, ...]:
    """The commands that end the package's own service and keep it from coming back; none without services."""
    if not wanted.stop or SYSTEMD.exists():
        return (wanted.stop,) if wanted.stop else ()
    if shutil.which("service") and shutil.which("update-rc.d"):
        return (("service", wanted.package, "stop"), ("update-rc.d", wanted.package, "disable"))
    return ()


def install(offer: Offer) -> None:
    """Runs the offer's commands on this terminal, where sudo may ask. Raises TF-...-INSTALL when one fails."""
    wanted = _PACKAGES[offer.missing]
    for command in offer.commands:
        code = run_attached(command)
        if code != 0:
            raise TenfoldError(
                f"`{' '.join(command)}` failed with exit code {code}.",
                hint=f"Install {wanted.name} {wanted.least} or newer yourself, then run the command again.",
                code=wanted.failed,
            )
    for command in offer.afterwards:
        run_attached(command)
    wanted.check()
