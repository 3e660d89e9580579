from __future__ import annotations

import math

import pytest

from tenfold.blocks.metrics.sketch import EXACT, STANDARD_ERROR, M, Sketch, hash_of
from tenfold.core.randomness import SeededRandomness


def sketch_of(numbers: list[int]) -> Sketch:
    made = Sketch()
    for number in numbers:
        made.add(number)
    return made


def draws(count: int, seed: int = 0) -> list[int]:
    randomness = SeededRandomness(seed)
    return [randomness.bits(64) for _ in range(count)]


@pytest.mark.parametrize("count", [0, 1, 100, EXACT])
def test_few_are_counted_exactly(count: int) -> None:
    made = sketch_of(draws(count) * 2)
    assert (made.count(), bool(made)) == (count, count > 0)


@pytest.mark.parametrize("count", [EXACT + 1, 10_000, 2.5 * M, 5 * M, 150_000])
def test_many_are_estimated_within_the_stated_error(count: float) -> None:
    errors = [sketch_of(draws(int(count), seed)).count() / int(count) - 1 for seed in range(4)]
    assert math.isclose(STANDARD_ERROR, 0.0081, abs_tol=0.0001)
    assert all(abs(error) < 4 * STANDARD_ERROR for error in errors), errors
    assert abs(sum(errors) / 4) < 2 * STANDARD_ERROR, "no bias where the formulas of 2007 change over (2.5 m to 5 m)"


def test_a_merge_is_the_union_whatever_the_sizes() -> None:
    for left, right in ((10, 20), (10, 5000), (5000, 10), (5000, 5000), (1500, 1500)):
        numbers = draws(left + right)
        merged, both = sketch_of(numbers[:left]), sketch_of(numbers)
        assert merged.merge(sketch_of(numbers[left:]))
        assert merged.count() == both.count()
        assert not merged.merge(sketch_of(numbers[left:])), "a second time changes nothing"


@pytest.mark.parametrize("count", [0, 1, EXACT, EXACT + 1, 100_000])
def test_it_is_read_back_as_it_was_written(count: int) -> None:
    made = sketch_of(draws(count))
    data = made.dump()
    assert len(data) <= 8 * EXACT + 1
    again = Sketch.load(data)
    assert again.count() == made.count()
    assert not made.merge(again)


@pytest.mark.parametrize(
    "data", [b"", b"\x01123", b"\x02", b"\x02nonsense", b"\x03", sketch_of(draws(3000)).dump()[:-9]]
)
def test_what_is_no_sketch_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a sketch"):
        Sketch.load(data)


def test_all_hashes_from_zero_to_the_highest_are_taken() -> None:
    made = sketch_of([*range(EXACT), 0, (1 << 64) - 1, 1 << 50, (1 << 50) - 1])
    assert made.count() > 0


def test_hashes_of_two_metrics_differ() -> None:
    assert hash_of(b"bob", b"active") != hash_of(b"bob", b"returning")
    assert 0 <= hash_of(b"", b"x") < 1 << 64
