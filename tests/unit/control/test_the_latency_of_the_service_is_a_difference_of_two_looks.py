"""The 99th percentile that paces a copy: histograms of several processes, of which some are new and some are gone."""

from __future__ import annotations

import pytest

from tenfold.control.latency import between, quantile

BOUNDS = (0.001, 0.01, 0.1)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([100, 0, 0, 0], 0.00099),
        ([50, 50, 0, 0], 0.00982),
        ([98, 0, 2, 0], 0.055),
        ([0, 0, 0, 10], 0.1),
        ([99, 1, 0, 0], 0.001),
    ],
)
def test_the_quantile_is_spread_evenly_in_its_bucket(counts: list[int], expected: float) -> None:
    assert quantile(BOUNDS, counts, 0.99) == pytest.approx(expected)


def test_only_what_happened_between_counts() -> None:
    before = {"web-1 10": [5, 5, 0, 0], "web-2 11": [9, 9, 9, 9]}
    after = {"web-1 10": [7, 5, 1, 0], "web-1 12": [1, 0, 0, 2]}
    assert between(before, after) == [3, 0, 1, 2]


def test_a_process_that_began_anew_under_its_pid_does_not_count_backwards() -> None:
    assert between({"web-1 10": [5, 5, 0, 0]}, {"web-1 10": [1, 6, 0, 0]}) == [0, 1, 0, 0]
