"""The waits between attempts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.core.randomness import SeededRandomness
from tenfold.core.retry import Backoff


class Fixed(SeededRandomness):
    """Draws the same share every time."""

    def __init__(self, share: float) -> None:
        super().__init__(0)
        self._share = share

    def uniform(self) -> float:
        return self._share


def test_waits_double_up_to_the_limit() -> None:
    backoff = Backoff(first_s=0.1, factor=2, limit_s=1.0)
    assert [backoff.longest_s(n) for n in range(1, 7)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_thousand_failures_still_wait_the_limit() -> None:
    assert Backoff(factor=10).longest_s(10**9) == 30.0


@pytest.mark.parametrize(("share", "wait"), [(0.0, 1.0), (0.5, 0.75), (1.0 - 2**-53, 0.5)])
def test_jitter_takes_up_to_its_share_away(share: float, wait: float) -> None:
    assert Backoff(first_s=1, jitter=0.5).wait_s(1, Fixed(share)) == pytest.approx(wait)


def test_a_seed_repeats_the_waits_and_another_spreads_them() -> None:
    backoff = Backoff()

    def waits(seed: int) -> list[float]:
        randomness = SeededRandomness(seed)
        return [backoff.wait_s(n, randomness) for n in range(1, 9)]

    assert waits(1) == waits(1)
    assert waits(1) != waits(2)


@given(
    first=st.floats(0.001, 10),
    factor=st.floats(1, 10),
    limit=st.floats(10, 1000),
    jitter=st.floats(0, 1),
    failures=st.integers(1, 10**6),
    seed=st.integers(),
)
def test_a_wait_is_never_negative_nor_above_the_limit(
    first: float, factor: float, limit: float, jitter: float, failures: int, seed: int
) -> None:
    backoff = Backoff(first, factor, limit, jitter)
    longest = backoff.longest_s(failures)
    assert (1 - jitter) * longest <= backoff.wait_s(failures, SeededRandomness(seed)) <= longest <= limit
    assert longest <= backoff.longest_s(failures + 1)


@pytest.mark.parametrize("wrong", [{"first_s": 0}, {"first_s": 31}, {"factor": 0.9}, {"jitter": -0.1}, {"jitter": 1.1}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(AssertionError):
        Backoff(**wrong)


def test_failures_count_from_one() -> None:
    with pytest.raises(AssertionError, match="number 1"):
        Backoff().longest_s(0)
