"""Time comes from outside: every part that asks for it takes a `Clock`, so that tests run in virtual time."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def wall_us(self) -> int:
        """Microseconds since 1970-01-01 UTC; may step back when somebody sets the machine's clock."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The machine's clock. `offset_s` is by how much its wall time is wrong on purpose, in this process only."""

    def __init__(self) -> None:
        self._offset_us = 0

    @property
    def offset_s(self) -> float:
        """Seconds that the wall time is ahead of the machine's; 0 unless a proof put it off."""
        return self._offset_us / 1e6

    def put_off(self, seconds: float) -> None:
        """Puts the wall time forward or back, as if somebody had set the machine's clock; 0 puts it right again."""
        self._offset_us = round(seconds * 1e6)

    def wall_us(self) -> int:
        return time.time_ns() // 1000 + self._offset_us

    monotonic = staticmethod(time.monotonic)  # not a method around it: each request asks for it several times


class ManualClock:
    """A clock that moves only when told to; for tests and simulations."""

    def __init__(self, wall_us: int = 1_700_000_000_000_000, monotonic: float = 0.0) -> None:
        self._wall_us = wall_us
        self._monotonic = monotonic

    def wall_us(self) -> int:
        return self._wall_us

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Moves both clocks forward."""
        assert seconds >= 0, "time does not run backwards; use step_wall for a clock step"
        self._monotonic += seconds
        self._wall_us += round(seconds * 1e6)

    def step_wall(self, seconds: float) -> None:
        """Sets the wall clock forward or back, as an administrator or NTP does; the monotonic clock stays."""
        self._wall_us += round(seconds * 1e6)


SYSTEM_CLOCK = SystemClock()
