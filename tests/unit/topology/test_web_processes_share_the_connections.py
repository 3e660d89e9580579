"""How `database.pool` goes round: shares never exceed it, and what stands beside a share shrinks with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.topology.pools import LEAST, SNAPSHOTS, carries, most, most_together, reading, share, snapshots, steady


@pytest.mark.parametrize(
    ("pool", "processes", "each", "opens"),
    [(16, 1, 16, 34), (16, 2, 8, 22), (16, 4, 4, 12), (16, 8, 2, 8), (5, 2, 2, 8), (1000, 64, 15, 32), (16, 0, 16, 34)],
)
def test_the_share_of_a_process_and_what_it_opens(pool: int, processes: int, each: int, opens: int) -> None:
    assert (share(pool, processes), most(share(pool, processes))) == (each, opens)


@given(st.integers(2, 1000), st.integers(1, 128))
def test_shares_are_within_the_pool_for_as_many_processes_as_it_carries(pool: int, processes: int) -> None:
    each = share(pool, processes)
    assert each >= LEAST
    assert (processes * each <= pool) is (processes <= carries(pool))
    assert LEAST <= snapshots(each) <= min(SNAPSHOTS, each)
    assert each < reading(each) + each < steady(each) < most(each)


@given(st.integers(2, 1000), st.integers(1, 64))
def test_what_all_open_together_is_counted_for_every_number_of_them_twice_over(pool: int, processes: int) -> None:
    allowed = most_together(pool, 64)
    if processes <= carries(pool):
        assert allowed >= 2 * processes * most(share(pool, 2 * processes))
    assert allowed >= 2 * most(pool)
    assert most_together(pool, 1) <= most_together(pool, processes) <= allowed
