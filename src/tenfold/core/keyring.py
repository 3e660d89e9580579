"""A ring of signing keys in one private file (0600): the first key signs, all of them verify.

A new key goes in front and the older ones stay until nothing that they signed can be valid any more. Processes look at
the file's identity, not at a clock: a signature by a key that they do not know makes them read it anew, so that a ring
that was rotated by another process is in force at once and nothing restarts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tenfold.core.clock import Clock
from tenfold.core.errors import StorageDamaged, UsageError
from tenfold.core.files import FileLock, private_dir
from tenfold.core.randomness import Randomness
from tenfold.core.secrets import LOCK, Secrets

KEY_BYTES = 32
"""Random bytes of a key: 256 bits, as many as HMAC-SHA256 makes use of."""
ID_BYTES = 4
"""What names a key in a signature: the beginning of its SHA-256."""
LOOK_EVERY_S = 1.0
"""How often a process looks whether there is another ring than the one it knows."""
KEYS_MAX = 100

_STALE = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class RingKey:
    """One key: its bytes, the name that signatures carry, and when it was made (seconds since 1970)."""

    made_s: int
    secret: bytes
    name: bytes

    @classmethod
    def of(cls, made_s: int, secret: bytes) -> RingKey:
        """The key with its name."""
        return cls(made_s, secret, hashlib.sha256(b"tenfold key name\0" + secret).digest()[:ID_BYTES])


def written(keys: tuple[RingKey, ...]) -> str:
    """The text of a ring: a line for each key, the newest first."""
    return "\n".join(f"{key.made_s} {key.secret.hex()}" for key in keys)


def read(text: str) -> tuple[RingKey, ...]:
    """The keys in a ring's text. Raises ValueError for anything else."""
    keys = []
    for line in text.splitlines():
        made, secret = line.split(" ")
        keys.append(RingKey.of(int(made), bytes.fromhex(secret)))
    if not 1 <= len(keys) <= KEYS_MAX or any(len(key.secret) != KEY_BYTES for key in keys):
        raise ValueError("no keys, too many, or of another length")
    return tuple(keys)


def rotated(keys: tuple[RingKey, ...], new: RingKey, lifetime_s: float) -> tuple[RingKey, ...]:
    """The ring with `new` in front, without keys that stopped signing more than `lifetime_s` before."""
    kept, successor = [new], new
    for key in keys:
        if new.made_s - successor.made_s <= lifetime_s and key.name != new.name:
            kept.append(key)
        successor = key
    return tuple(kept[:KEYS_MAX])


class KeyRing:
    """The ring in one file, as one process uses it; the file is made by whoever needs it first."""

    def __init__(self, path: Path, clock: Clock, randomness: Randomness) -> None:
        self.path = path
        self._clock = clock
        self._randomness = randomness
        self._secrets = Secrets(path.parent, randomness)
        self._keys: tuple[RingKey, ...] = ()
        self._by_name: dict[bytes, RingKey] = {}
        self._seen = _STALE
        self._look_after = float("-inf")
        self.readings = 0
        """How often the file was read: what was verified by the keys before may be verified by none now."""

    def signing(self) -> RingKey:
        """The key that signs. Raises what stands against reading or making the file."""
        self.look(self._clock.monotonic())
        return self._keys[0]

    def look(self, now: float) -> None:
        """Looks at the file, once a second; `now` in monotonic seconds. Raises as `signing` does."""
        if now >= self._look_after:
            self._look()
            self._look_after = now + LOOK_EVERY_S

    def named(self, name: bytes) -> RingKey | None:
        """The key of this name, or None; the file is looked at before that is said."""
        found = self._by_name.get(name)
        if found is None:
            self._look()
            found = self._by_name.get(name)
        return found

    def keys(self) -> tuple[RingKey, ...]:
        """All keys, the newest first."""
        self._look()
        return self._keys

    def ensure(self) -> tuple[RingKey, ...]:
        """The keys; one is made when there is no file. Of several processes that ask then, one makes it."""
        if self._secrets.find(self.path.name) is None:
            with FileLock(private_dir(self.path.parent) / LOCK):
                if self._secrets.find(self.path.name) is None:
                    self._save((self._new(),))
        return self.keys()

    def rotate(self, lifetime_s: float) -> tuple[RingKey, ...]:
        """Puts a new key in front; keys whose last signatures are older than `lifetime_s` go."""
        self.ensure()
        with FileLock(private_dir(self.path.parent) / LOCK):
            self._save(rotated(self._read(), self._new(), lifetime_s))
        return self.keys()

    def _new(self) -> RingKey:
        return RingKey.of(self._clock.wall_us() // 1_000_000, self._randomness.bytes(KEY_BYTES))

    def _save(self, keys: tuple[RingKey, ...]) -> None:
        self._secrets.save(self.path.name, written(keys))

    def _look(self) -> None:
        """Reads the file when it is another one than before."""
        seen = self._identity()
        if seen is None:
            self._made()
        elif seen != self._seen:
            self._keys = self._read()
            self._by_name = {key.name: key for key in self._keys}
            self._seen = seen
            self.readings += 1

    def _made(self) -> None:
        try:
            self.ensure()
        except UsageError as error:  # of whoever runs the service, not of the client whose request came first
            raise StorageDamaged(error.message, hint=error.hint) from error

    def _identity(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageDamaged(
                f"Cannot read {self.path}: {error.strerror}.", hint="It belongs to the user that the service runs as."
            ) from error
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> tuple[RingKey, ...]:
        try:
            return read(self._secrets.find(self.path.name) or "")
        except UsageError as error:
            raise StorageDamaged(error.message, hint=error.hint) from error
        except ValueError:
            raise StorageDamaged(
                f"{self.path} holds no ring of keys.",
                hint="Put it back from a copy; or remove it, and everybody has to sign in again.",
            ) from None
