"""How long to wait before trying again: a pure function of the attempt, with jitter from outside."""

from __future__ import annotations

from dataclasses import dataclass

from tenfold.core.randomness import Randomness


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that grow by a factor up to a limit, and that are spread so that many who failed together do not return so.

    The wait before attempt n+1 is `first_s * factor**(n-1)`, at most `limit_s`; of it, the share `jitter` is random.
    """

    first_s: float = 0.1
    factor: float = 2.0
    limit_s: float = 30.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        assert 0 < self.first_s <= self.limit_s, "the first wait is above 0 and within the limit"
        assert self.factor >= 1, "waits do not shrink"
        assert 0 <= self.jitter <= 1, "jitter is a share"

    def longest_s(self, failures: int) -> float:
        """Seconds to wait after the n-th failure in a row (1 or more), before jitter."""
        assert failures >= 1, "the first failure has number 1"
        try:
            # As a float: whole numbers would be multiplied out to any length first.
            return min(self.limit_s, self.first_s * float(self.factor) ** (failures - 1))
        except OverflowError:
            return self.limit_s

    def wait_s(self, failures: int, randomness: Randomness) -> float:
        """Seconds to wait after the n-th failure in a row, between `(1 - jitter)` times `longest_s` and all of it."""
        return self.longest_s(failures) * (1 - self.jitter * randomness.uniform())
