"""LRU, LFU and FIFO against models that are plain lists, and what each keeps of a trace with scans."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.blocks.cache.eviction import COUNT_MAX, QUEUES, Eviction
from tenfold.blocks.cache.memory import Memory
from tenfold.blocks.cache.policy import Entry

LIMIT = 4
STEPS = st.lists(st.tuples(st.sampled_from(["read", "remove"]), st.integers(0, 7)), max_size=120)


class Naive:
    """Keys from the first to go to the last, as the policy's name says."""

    def __init__(self, eviction: Eviction) -> None:
        self.eviction = eviction
        self.order: list[int] = []
        self.hits: dict[int, int] = {}

    def read(self, key: int) -> None:
        if key in self.hits:
            self.hits[key] += 1
            if self.eviction == "lru" or (self.eviction == "lfu" and self.hits[key] <= COUNT_MAX):
                self.order.remove(key)
                self.order.append(key)
            return
        if len(self.order) == LIMIT:
            self.remove(self.first())
        self.order.append(key)
        self.hits[key] = 0

    def first(self) -> int:
        if self.eviction == "lfu":
            return min(self.order, key=lambda key: self.hits[key])
        return self.order[0]

    def remove(self, key: int) -> None:
        if key in self.hits:
            self.order.remove(key)
            del self.hits[key]


def read(memory: Memory, table: dict[Any, Entry], key: Any) -> bool:
    entry = table.get(key)
    if entry is not None:
        entry.visited = True
        return True
    memory.put(Entry(table, key, key, 1, 1e9), 0.0)
    return False


@pytest.mark.parametrize("eviction", ["lru", "lfu", "fifo"])
@given(steps=STEPS)
def test_every_sequence_leaves_what_the_model_leaves(eviction: Eviction, steps: list[tuple[str, int]]) -> None:
    memory, table, model = Memory(LIMIT, 10**6, eviction), dict[Any, Entry](), Naive(eviction)
    for what, key in steps:
        if what == "read":
            read(memory, table, key)
            model.read(key)
        else:
            memory.remove(table, key)
            model.remove(key)
        memory._queue.check()
        assert set(table) == set(model.hits)


def ratio(eviction: Eviction, trace: list[int]) -> float:
    memory, table = Memory(300, 10**9, eviction), dict[Any, Entry]()
    return sum(read(memory, table, key) for key in trace) / len(trace)


def test_the_default_resists_scans_by_five_points_and_more() -> None:
    weights = list(itertools.accumulate(1 / (rank + 1) ** 0.9 for rank in range(30_000)))
    trace = random.Random(7).choices(range(30_000), cum_weights=weights, k=30_000)
    trace[::3] = range(10**6, 10**6 + len(trace[::3]))
    found = {eviction: ratio(eviction, trace) for eviction in QUEUES}
    assert found["sieve"] >= found["lru"] + 0.05, found
    assert found["lfu"] > found["lru"] > found["fifo"], found


def test_another_policy_takes_over_what_is_there() -> None:
    memory, table = Memory(3, 10**6), dict[Any, Entry]()
    for key in "abc":
        read(memory, table, key)
    memory.evict_by("lru")
    read(memory, table, "a")
    read(memory, table, "d")
    assert set(table) == {"a", "c", "d"}
    memory.evict_by("sieve")
    memory._queue.check()
    assert memory.entries == 3
