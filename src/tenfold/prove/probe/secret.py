"""The probe's secret: one file, made by whoever needs it first.

The web process and the prover may both come first. Each writes a draft of its own and gives it the final name with
`link`, which succeeds for exactly one of them; then both read what is there. So they agree, and nobody ever reads half
a secret.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tenfold.core.errors import StorageDamaged
from tenfold.core.files import atomic_write, private_dir, storage_errors, sync_dir
from tenfold.core.randomness import Randomness

BYTES = 32
LIMIT = 4096


def secret_path(state: Path) -> Path:
    """Where the secret of the deployment with that state directory is."""
    return state / "secrets" / "probe"


def probe_secret(state: Path, randomness: Randomness) -> str:
    """The secret of the deployment, made if there is none yet: 64 hexadecimal digits, in a file only its owner reads.

    Raises `UsageError` or `StorageFull` when it can neither be read nor made, `StorageDamaged` when the file is empty.
    """
    path = secret_path(state)
    if not path.exists():
        _make(path, randomness.bytes(BYTES).hex())
    with storage_errors("read the probe's secret", path), path.open("rb") as file:
        found = file.read(LIMIT).strip()
    if not found or not found.isascii():
        raise StorageDamaged(f"The secret in {path} is empty or damaged.", hint="Remove the file and start again.")
    return found.decode("ascii")


def _make(path: Path, secret: str) -> None:
    draft = private_dir(path.parent) / f".probe-{secret[:16]}"
    atomic_write(draft, f"{secret}\n".encode())
    try:
        with storage_errors("make the probe's secret", path), contextlib.suppress(FileExistsError):
            os.link(draft, path)
        sync_dir(path.parent)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
