"""Eviction decisions against a model that is a plain list; bounds and accounts after every step."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.blocks.cache.eviction import SWEEP_MAX, Sieve
from tenfold.blocks.cache.memory import Memory, Table
from tenfold.blocks.cache.policy import ENTRY_BYTES, JITTER, Entry, admits, lifetime


class NaiveSieve:
    """SIEVE as the paper tells it, over a list from the oldest to the newest; None for the hand is the oldest."""

    def __init__(self, entries_limit: int, bytes_limit: int) -> None:
        self.limits = (entries_limit, bytes_limit)
        self.queue: list[str] = []
        self.info: dict[str, dict[str, Any]] = {}
        self.hand: str | None = None

    def put(self, key: str, size: int, expires: float, now: float) -> None:
        visited = self.info[key]["visited"] if key in self.info else False
        self.remove(key)
        if not admits(size, *self.limits):
            return
        self.make_room(1, size, now)
        self.queue.append(key)
        self.info[key] = {"size": size, "expires": expires, "visited": visited}

    def make_room(self, entries: int, size: int, now: float) -> None:
        while self.queue and (len(self.queue) + entries > self.limits[0] or self.weight() + size > self.limits[1]):
            at = self.queue.index(self.hand) if self.hand is not None else 0
            while self.info[self.queue[at]]["visited"] and self.info[self.queue[at]]["expires"] > now:
                self.info[self.queue[at]]["visited"] = False
                at = (at + 1) % len(self.queue)
            self.hand = self.queue[at]
            self.remove(self.queue[at])

    def remove(self, key: str) -> None:
        if key not in self.info:
            return
        at = self.queue.index(key)
        if self.hand == key:
            self.hand = self.queue[at + 1] if at + 1 < len(self.queue) else None
        del self.queue[at], self.info[key]

    def weight(self) -> int:
        return sum(row["size"] for row in self.info.values())


KEYS = st.sampled_from("abcdefgh")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.integers(1, 30), st.integers(1, 20)),
        st.tuples(st.just("hit"), KEYS),
        st.tuples(st.just("remove"), KEYS),
        st.tuples(st.just("resize"), st.integers(0, 8), st.integers(0, 300)),
    ),
    max_size=60,
)


@given(steps=STEPS)
def test_every_sequence_leaves_what_the_model_leaves(steps: list[tuple[Any, ...]]) -> None:
    memory, model, table = Memory(5, 160), NaiveSieve(5, 160), dict[Any, Entry]()
    for now, step in enumerate(steps):
        match step:
            case ("put", key, size, lives):
                memory.put(Entry(table, key, key, size, now + lives), now)
                model.put(key, size, now + lives, now)
            case ("hit", key):
                if key in table:
                    table[key].visited = model.info[key]["visited"] = True
            case ("remove", key):
                memory.remove(table, key)
                model.remove(key)
            case ("resize", entries, size):
                memory.resize(entries, size, now)
                model.limits = (entries, size)
                model.make_room(0, 0, now)
        memory._queue.check()
        assert [entry.key for entry in memory._queue] == model.queue
        assert set(table) == set(model.info)
        assert memory.bytes == model.weight() <= model.limits[1]
        assert memory.entries == len(model.queue) <= model.limits[0]


def fill(memory: Memory, table: Table, keys: range, size: int = 10) -> None:
    for key in keys:
        memory.put(Entry(table, key, key, size, 1e9), 0.0)


def test_a_scan_does_not_push_out_what_is_read_again() -> None:
    memory, table = Memory(100, 10**6), dict[Any, Entry]()
    fill(memory, table, range(50))
    for key in range(50):
        table[key].visited = True
    fill(memory, table, range(1000, 1140))
    assert all(key in table for key in range(50))


def test_an_expired_entry_goes_before_a_live_one_even_when_it_was_read() -> None:
    memory, table = Memory(2, 10**6), dict[Any, Entry]()
    memory.put(Entry(table, "old", 1, 10, 5.0), 0.0)
    memory.put(Entry(table, "live", 1, 10, 50.0), 0.0)
    table["old"].visited = True
    memory.put(Entry(table, "new", 1, 10, 50.0), 6.0)
    assert set(table) == {"live", "new"}


def test_one_eviction_clears_a_bounded_number_of_bits() -> None:
    sieve = Sieve()
    for number in range(SWEEP_MAX * 3):
        sieve.add(Entry({}, number, None, 1, 1e9))
    for entry in sieve:
        entry.visited = True
    assert sieve.victim(0.0).key == SWEEP_MAX
    assert sum(not entry.visited for entry in sieve) == SWEEP_MAX


def test_a_value_over_an_eighth_of_the_bytes_is_not_kept_and_pushes_nothing_out() -> None:
    memory, table = Memory(100, 8_000), dict[Any, Entry]()
    fill(memory, table, range(10))
    memory.put(Entry(table, "large", 1, 1_001, 1e9), 0.0)
    assert "large" not in table
    assert (memory.entries, memory.refusals, memory.evictions) == (10, 1, 0)
    memory.put(Entry(table, "fits", 1, 1_000, 1e9), 0.0)
    assert "fits" in table


def test_a_value_that_grew_too_large_takes_its_old_version_with_it() -> None:
    memory, table = Memory(100, 8_000), dict[Any, Entry]()
    memory.put(Entry(table, "x", "small", 10, 1e9), 0.0)
    memory.put(Entry(table, "x", "large", 2_000, 1e9), 0.0)
    assert "x" not in table


def test_a_bound_of_zero_entries_keeps_nothing() -> None:
    memory, table = Memory(0, 10**6), dict[Any, Entry]()
    fill(memory, table, range(3))
    assert (memory.entries, memory.bytes, table) == (0, 0, {})


def test_clear_leaves_no_entry_and_no_weight() -> None:
    memory, table = Memory(100, 10**6), dict[Any, Entry]()
    fill(memory, table, range(30))
    memory.clear()
    memory._queue.check()
    assert (memory.entries, memory.bytes, table) == (0, 0, {})


@given(ttl=st.floats(0.001, 1e6), uniform=st.floats(0, 1, exclude_max=True))
def test_a_life_is_never_longer_than_its_ttl_nor_more_than_the_jitter_shorter(ttl: float, uniform: float) -> None:
    assert ttl * (1 - JITTER) <= lifetime(ttl, JITTER, uniform) <= ttl


def test_the_overhead_of_an_entry_is_accounted_within_a_third() -> None:
    memory, table = Memory(10**6, 10**9), dict[Any, Entry]()
    keys, value = [str(number) for number in range(20_000)], "shared"
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for key in keys:
        memory.put(Entry(table, key, value, ENTRY_BYTES, 1e9 + len(key)), 0.0)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert used / memory.bytes == pytest.approx(1.0, abs=0.34)
