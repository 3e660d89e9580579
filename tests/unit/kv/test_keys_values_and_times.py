"""What may be a key, a value and a time to live; what becomes of an answer of the database that was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.blocks.kv import Kv, RefusedEntry
from tenfold.blocks.kv.policy import KEY_MAX, Stored, alive, decoded, place_of, stored
from tenfold.core.clock import ManualClock
from tenfold.core.errors import UnknownOutcome
from tenfold.core.randomness import SeededRandomness

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON | st.binary())
def test_what_is_stored_comes_back_the_same(value: Any) -> None:
    try:
        found = stored(value, None)
    except RefusedEntry:
        assert "\\ud" in ascii(value)  # a lone surrogate is no text
        return
    again = decoded(found.kind, found.data)
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "a\x00",
        "a\nb",
        "\x7f",
        "\x85",
        "\ud800",
        "a" * (KEY_MAX + 1),
        "é" * (KEY_MAX // 2 + 1),
        None,
        1,
        b"a",
        ["a"],
    ],
)
def test_what_is_no_key_is_refused(key: Any) -> None:
    with pytest.raises(RefusedEntry, match="TF-KV-REFUSED"):
        place_of(key)


@pytest.mark.parametrize(
    ("key", "place", "name"),
    [
        ("user:1", "user:1", ""),
        ("{42}theme", "42", "{42}theme"),
        ("{42}", "42", "{42}"),
        ("{}theme", "{}theme", ""),
        ("x{42}theme", "x{42}theme", ""),
        ("{{42}}", "{{42}}", ""),
        ("{42", "{42", ""),
    ],
)
def test_braces_at_the_beginning_say_where_a_key_lives(key: str, place: str, name: str) -> None:
    assert place_of(key) == (place, name)


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_two_keys_share_a_row(one: str, other: str) -> None:
    try:
        same = place_of(one) == place_of(other)
    except RefusedEntry:
        return
    assert same == (one == other)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, (1,), {1}, object(), "\ud800", {"a": b"x"}])
def test_what_json_would_change_is_refused(value: Any) -> None:
    with pytest.raises(RefusedEntry):
        stored(value, None)


def test_a_value_that_is_nested_without_end_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(RefusedEntry):
        stored(value, None)


@pytest.mark.parametrize("ttl", [0, -1, "0s", "-1s", "1x", float("nan"), float("inf"), 10**12, True, b"1s", []])
def test_what_is_no_time_to_live_is_refused(ttl: Any) -> None:
    with pytest.raises(RefusedEntry):
        stored(1, ttl)


@pytest.mark.parametrize(("ttl", "us"), [("1s", 10**6), (0.5, 500_000), ("1h30m", 5_400_000_000), (1e-9, 1)])
def test_a_time_to_live_counts_microseconds_from_the_write(ttl: Any, us: int) -> None:
    assert stored(1, ttl).expires_us(7) == 7 + us
    assert alive(7 + us, 6 + us)
    assert not alive(7 + us, 7 + us)


@pytest.mark.parametrize("version", ["1", 1.0, True, b""])
def test_what_is_no_version_is_refused_before_anything_is_written(version: Any) -> None:
    kv = Kv(Lost(), ManualClock(), SeededRandomness(1))  # type: ignore[arg-type]
    with pytest.raises(RefusedEntry):
        asyncio.run(kv.cas("a", version, 1))


class Lost:
    """A database whose answers to COMMIT are lost."""

    def transaction(self, **_: Any) -> Callable[[Any], Any]:
        async def lost(*args: Any, **named: Any) -> None:
            assert any(isinstance(each, Stored) for each in args) or len(args) == 3
            raise UnknownOutcome("The answer was lost.")

        return lambda body: lost


@pytest.mark.parametrize("call", [lambda kv: kv.put("a", 1), lambda kv: kv.cas("a", 1, 2), lambda kv: kv.delete("a")])
def test_an_unknown_outcome_is_told_and_counted_as_nothing(call: Callable[[Kv], Any]) -> None:
    kv = Kv(Lost(), ManualClock(), SeededRandomness(1))  # type: ignore[arg-type]
    with pytest.raises(UnknownOutcome):
        asyncio.run(call(kv))
    assert (kv.stats().writes, kv.stats().lost) == (0, 0)
