"""Randomness comes from outside, so that a seed repeats a run."""

from __future__ import annotations

import random
import secrets
from typing import Protocol


class Randomness(Protocol):
    """Where randomness comes from."""

    def uniform(self) -> float:
        """A float in [0, 1)."""
        ...

    def bits(self, n: int) -> int:
        """An integer of n random bits."""
        ...

    def bytes(self, n: int) -> bytes:
        """n random bytes."""
        ...


class SystemRandomness:
    """Unpredictable randomness from the operating system for `bits` and `bytes`; a fast generator for `uniform`."""

    def __init__(self) -> None:
        self._fast = random.Random(secrets.randbits(128))  # noqa: S311 - jitter only; secrets come from bits/bytes

    def uniform(self) -> float:
        return self._fast.random()

    def bits(self, n: int) -> int:
        return secrets.randbits(n)

    def bytes(self, n: int) -> bytes:
        return secrets.token_bytes(n)


class SeededRandomness:
    """The same sequence for the same seed; for tests, simulations and fault schedules."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose

    def uniform(self) -> float:
        return self._random.random()

    def bits(self, n: int) -> int:
        return self._random.getrandbits(n)

    def bytes(self, n: int) -> bytes:
        return self._random.randbytes(n)


SYSTEM_RANDOMNESS = SystemRandomness()
