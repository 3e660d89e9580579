"""Durations and sizes: every unit, every refusal, and that what is shown is read back."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.core.errors import UsageError
from tenfold.core.units import escaped, format_duration, format_size, parse_duration, parse_size, shown

DURATIONS = [
    ("1us", 1e-6),
    ("250ms", 0.25),
    ("1.5s", 1.5),
    ("90s", 90.0),
    ("2m", 120.0),
    ("1h", 3600.0),
    ("1d", 86400.0),
    ("1h30m", 5400.0),
    ("1d 2h 3m 4s 5ms 6us", 93784.005006),
    (" 10 s ", 10.0),
    ("0s", 0.0),
    (90, 90.0),
    (0, 0.0),
    (0.25, 0.25),
]
NOT_DURATIONS: list[Any] = [
    *(
        "",
        " ",
        "90",
        "s",
        "1 week",
        "1H",
        "-1s",
        "1h1h",
        "30m1h",
        "1s 1s",
        "1.5.5s",
        "1e3s",
        "٣s",
        "1s\x00",
        "1" * 13 + "s",
    ),
    *(True, False, -1, -0.5, math.nan, math.inf, -math.inf, None, [], {}),
]
SIZES = [
    ("0B", 0),
    ("5B", 5),
    ("1KB", 1024),
    ("1KiB", 1024),
    ("64MB", 64 * 1024**2),
    ("64 mb", 64 * 1024**2),
    ("1.5GB", 3 * 512 * 1024**2),
    ("1TB", 1024**4),
    (0, 0),
    (1_048_576, 1_048_576),
]
NOT_SIZES: list[Any] = [
    *("", "10", "MB", "1PB", "-1B", "0.3KB", "1.5B", "1 M", "1KBs", "1e3B", "٣B", "1" * 16 + "B"),
    *(True, False, -1, 1.5, None, [], {}),
]


@pytest.mark.parametrize(("text", "seconds"), DURATIONS)
def test_a_duration_is_seconds(text: Any, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert isinstance(parse_duration(text), float)


@pytest.mark.parametrize("found", NOT_DURATIONS)
def test_what_is_not_a_duration_is_refused_with_what_is_allowed(found: Any) -> None:
    with pytest.raises(UsageError, match=r"^TF-USAGE: found .+; allowed: a number of seconds, or a text with units"):
        parse_duration(found)


@pytest.mark.parametrize(("text", "size"), SIZES)
def test_a_size_is_bytes(text: Any, size: int) -> None:
    assert parse_size(text) == size
    assert type(parse_size(text)) is int


@pytest.mark.parametrize("found", NOT_SIZES)
def test_what_is_not_a_size_is_refused_with_what_is_allowed(found: Any) -> None:
    with pytest.raises(UsageError, match=r"^TF-USAGE: found .+; allowed: a whole number of bytes, or a text"):
        parse_size(found)


@given(st.integers(min_value=0, max_value=10**15))
def test_a_shown_duration_is_read_back_to_the_microsecond(microseconds: int) -> None:
    seconds = microseconds / 1_000_000
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(min_value=0, max_value=10**14))
def test_an_exactly_shown_size_is_read_back(size: int) -> None:
    assert parse_size(format_size(size, exact=True)) == size


@given(st.integers(min_value=1, max_value=2**50))
def test_a_rounded_size_is_within_a_twentieth(size: int) -> None:
    number, unit = format_size(size)[:-2], format_size(size)[-2:]
    if unit[0].isdigit():
        assert format_size(size) == f"{size}B"
    else:
        factor = parse_size("1" + unit)
        assert abs(float(number) * factor - size) <= 0.05 * factor * (1 + 1e-9)


@pytest.mark.parametrize(
    ("seconds", "parts", "text"),
    [
        (0.0, 6, "0s"),
        (90.0, 6, "1m30s"),
        (93784.0, 2, "1d2h"),
        (0.0000001, 6, "0s"),
        (0.25, 6, "250ms"),
        (59.9, 1, "59s"),
    ],
)
def test_durations_are_shown_in_the_largest_units(seconds: float, parts: int, text: str) -> None:
    assert format_duration(seconds, parts=parts) == text


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ("two", '"two" (text)'),
        ("x" * 61, '"' + "x" * 57 + '..." (text)'),
        ("a\nb\x1b[31m\u202e", r'"a\nb\x1b[31m\u202e" (text)'),
        (True, "true"),
        (False, "false"),
        (5, "5"),
        (2**64, "a number of 65 bits"),
        pytest.param(1 << 100_000, "a number of 100001 bits", id="huge"),
        (1.5, "1.5"),
        ({}, "a table"),
        ([1], "a list"),
    ],
)
def test_a_message_shows_a_value_on_one_harmless_line(found: object, text: str) -> None:
    assert shown(found) == text


@given(st.text())
def test_an_escaped_text_has_only_printable_characters(text: str) -> None:
    assert escaped(text).isprintable()
