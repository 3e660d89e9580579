"""Passwords on disk: one private file each (0600, in a folder of 0700), made once and never shown."""

from __future__ import annotations

from pathlib import Path

from tenfold.core.errors import StorageDamaged
from tenfold.core.files import FileLock, atomic_write, private_dir, storage_errors
from tenfold.core.randomness import SYSTEM_RANDOMNESS, Randomness

DOOR = "door"
"""The name of the secret by which web servers know a request that comes from a balancer of theirs."""

SESSION_KEYS = "session-keys"
"""The name of the ring of keys (core/keyring.py) that sign the cookies of sessions."""

LOCK = ".lock"
"""The file in their folder that is locked while one is made: for a few milliseconds, once."""
SECRET_BYTES = 24
"""Random bytes in a generated secret: 192 bits."""


class Secrets:
    """The secrets in one folder, by name. The folder is made with the first one."""

    def __init__(self, folder: Path, randomness: Randomness = SYSTEM_RANDOMNESS) -> None:
        self.folder = folder
        self._randomness = randomness

    def find(self, name: str) -> str | None:
        """The secret, or None. Raises `StorageDamaged` when its file is empty or is not text."""
        path = self.folder / name
        with storage_errors("read", path):
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return None
        try:
            text = data.decode().removesuffix("\n")
        except UnicodeDecodeError:
            text = ""
        if not text:
            raise StorageDamaged(f"{path} holds no secret.", hint="Put the password into it again, as plain text.")
        return text

    def ensure(self, name: str) -> str:
        """The secret; a random one is made and saved the first time. Of several processes that ask for it then, one
        makes it and all get the same."""
        found = self.find(name)
        if found is not None:
            return found
        with FileLock(private_dir(self.folder) / LOCK):
            found = self.find(name)
            if found is None:
                found = self._randomness.bytes(SECRET_BYTES).hex()
                self.save(name, found)
            return found

    def save(self, name: str, secret: str) -> None:
        """Replaces the secret, durably. Raises `StorageFull` or `UsageError` when it cannot be saved."""
        atomic_write(private_dir(self.folder) / name, secret.encode() + b"\n")

    def forget(self, *names: str) -> None:
        """Removes them; those that are not there are passed over."""
        for name in names:
            with storage_errors("remove", self.folder / name):
                (self.folder / name).unlink(missing_ok=True)
