"""Commands that run to their end: asked for their version, or to install a package. Nobody looks after them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


def output_of(argv: Sequence[str], timeout_s: float = 10.0) -> str:
    """What a command prints on its standard output; nothing when it cannot run, fails, or takes too long."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip()


def run_attached(argv: Sequence[str]) -> int:
    """Runs a command on our own terminal, where it may ask for a password; its exit code, 127 when there is none."""
    try:
        return subprocess.run(argv, check=False).returncode  # noqa: S603 - the words are ours
    except OSError:
        return 127
