"""`size_of`: exact for flat values, close for containers, bounded work for anything."""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from tenfold.blocks.cache.policy import NODES_MAX, SAMPLE_MAX, size_of


@pytest.mark.parametrize("value", [b"", b"x" * 1000, "", "x" * 1000, "é" * 100, 7, 1.5, None, True])
def test_flat_values_are_exact(value: object) -> None:
    assert size_of(value) == sys.getsizeof(value)


class Link(msgspec.Struct):
    code: str
    url: str


@dataclass(slots=True)
class Slotted:
    code: str
    url: str


@dataclass
class Plain:
    code: str
    url: str


Row = namedtuple("Row", "code url")


@pytest.mark.parametrize("kind", [Link, Slotted, Plain, Row])
def test_the_fields_of_an_object_count(kind: Any) -> None:
    small, large = kind("a", "b" * 10), kind("a", "b" * 5_010)
    assert size_of(large) - size_of(small) == 5_000


def made(number: int) -> dict[str, Any]:
    return {f"key-{number}": ("x" * 40 + str(number), [number + 1000, float(number)])}


@pytest.mark.parametrize(
    "make",
    [
        lambda: [str(number) * 3 for number in range(10_000)],
        lambda: [made(number) for number in range(2_000)],
        lambda: {str(number): b"x" * 50 + bytes(number % 7) for number in range(5_000)},
        lambda: tuple(Row(str(number), "u" * 90 + str(number)) for number in range(3_000)),
        lambda: [Link(str(number), "u" * 90 + str(number)) for number in range(3_000)],
    ],
)
def test_containers_are_within_a_fifth_of_what_they_allocate(make: Any) -> None:
    gc.collect()
    tracemalloc.start()
    value = make()
    allocated = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert size_of(value) == pytest.approx(allocated, rel=0.2)


def test_the_work_is_bounded_for_deep_wide_and_circular_values() -> None:
    wide: Any = [[[[[0] * SAMPLE_MAX] * SAMPLE_MAX] * SAMPLE_MAX] * SAMPLE_MAX]
    circular: list[Any] = []
    circular.append(circular)
    began = time.process_time()
    assert size_of(wide) > 0
    assert size_of(circular) > 0
    assert time.process_time() - began < 0.5, f"more than {NODES_MAX} values were looked into"
