"""The system's clock: wrong on purpose in one process, and right again."""

from __future__ import annotations

import time

from tenfold.core.clock import SystemClock

CLOSE_US = 5_000_000


def test_only_the_wall_time_is_put_off_and_zero_puts_it_right():
    clock = SystemClock()
    for seconds in (-3600.5, 3600.0, 0.0):
        monotonic = clock.monotonic()
        clock.put_off(seconds)
        assert clock.offset_s == seconds
        assert abs(clock.wall_us() - time.time_ns() // 1000 - seconds * 1e6) < CLOSE_US
        assert 0 <= clock.monotonic() - monotonic < CLOSE_US / 1e6


def test_other_clocks_of_the_process_stay_right():
    wrong, right = SystemClock(), SystemClock()
    wrong.put_off(60)
    assert right.offset_s == 0
