"""Commands that run to their end: asked for their version, or to install a package. Nobody looks after them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence


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


def run_quietly(argv: Sequence[str], variables: Mapping[str, str], timeout_s: float) -> str:
    """Runs a command with `variables` added to its environment; why it failed (its last line), or nothing."""
    try:
        done = subprocess.run(  # noqa: S603 - the words are ours
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            env={**os.environ, **variables},
        )
    except subprocess.TimeoutExpired:
        return f"it did not end within {timeout_s:g} s"
    except OSError as error:
        return error.strerror or str(error)
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return "" if done.returncode == 0 else (lines or [f"it ended with {done.returncode}"])[-1]
