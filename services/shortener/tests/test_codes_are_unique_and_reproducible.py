"""Codes: base 62 as in the textbook, a permutation that never collides, a hash that probes, words never given out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortener.links.codes import (
    ALPHABET,
    RESERVED,
    SEQUENCE_END,
    Permutation,
    base62,
    check_alias,
    hash_code,
    hash_codes,
    is_reserved,
    looks_like_code,
    number_of,
    permuted_code,
)
from shortener.refusal import Refusal

sequence_numbers = st.integers(0, SEQUENCE_END - 1)


def test_base62_of_11157_is_2TX_as_in_the_textbook():
    assert base62(11157) == "2TX"
    assert number_of("2TX") == 11157


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (9, "9"), (10, "a"), (35, "z"), (36, "A"), (61, "Z"), (62, "10")]
)
def test_base62_counts_through_digits_then_small_then_capital_letters(number: int, text: str):
    assert base62(number) == text


@given(st.integers(0, 2**256))
def test_base62_reads_back_what_it_wrote(number: int):
    assert number_of(base62(number)) == number


@pytest.mark.parametrize("text", ["", "2T-", "ä", " 2TX"])
def test_what_is_not_base62_is_refused(text: str):
    with pytest.raises(ValueError, match="not a base-62 number"):
        number_of(text)


def test_base62_has_no_negative_numbers():
    with pytest.raises(ValueError, match="no sign"):
        base62(-1)


@given(sequence_numbers, st.text(max_size=20))
def test_the_permutation_can_be_undone_so_it_never_maps_two_numbers_to_one(number: int, key: str):
    permutation = Permutation(key)
    image = permutation.forward(number)
    assert 0 <= image < SEQUENCE_END
    assert permutation.backward(image) == number


@given(sequence_numbers)
def test_a_permuted_code_has_seven_or_eight_characters(number: int):
    code = permuted_code(number, Permutation())
    assert len(code) in (7, 8)
    assert set(code) <= set(ALPHABET)


def test_a_hundred_thousand_consecutive_numbers_give_as_many_codes():
    permutation = Permutation()
    assert len({permuted_code(number, permutation) for number in range(100_000)}) == 100_000


def test_neighbours_share_no_more_than_chance_would_have_them_share():
    permutation = Permutation()
    codes = [permuted_code(number, permutation) for number in range(2_000)]
    same = sum(a == b for left, right in pairwise(codes) for a, b in zip(left, right, strict=False))
    assert same / (1_999 * 7) < 0.03  # 1/62 for unrelated codes; an unpermuted sequence shares six of seven
    assert sorted(codes) != codes


def test_two_keys_give_two_orders():
    numbers = range(100)
    one, other = Permutation("one"), Permutation("other")
    assert [one.forward(n) for n in numbers] != [other.forward(n) for n in numbers]


@pytest.mark.parametrize("number", [-1, SEQUENCE_END])
def test_a_number_outside_the_sequence_is_refused(number: int):
    with pytest.raises(ValueError, match="outside the sequence"):
        Permutation().forward(number)


def test_codes_stay_what_they_are_from_release_to_release():
    """Printed links must not change their meaning: these are what the first release gave."""
    assert permuted_code(0, Permutation()) == "3julBat"
    assert permuted_code(1, Permutation()) == "BMY09qA"
    assert hash_code("https://example.com/") == "3zwNnbp"


def test_a_hash_code_has_seven_characters_and_depends_on_the_address_the_attempt_and_the_variant():
    codes = {
        hash_code("https://example.com/"),
        hash_code("https://example.com/a"),
        hash_code("https://example.com/", 1),
        hash_code("https://example.com/", variant="2030"),
    }
    assert len(codes) == 4
    assert all(len(code) == 7 and set(code) <= set(ALPHABET) for code in codes)


def test_hash_codes_probe_in_the_same_order_every_time():
    assert list(hash_codes("https://example.com/", 4)) == list(hash_codes("https://example.com/", 4))
    assert next(hash_codes("https://example.com/", 4)) == hash_code("https://example.com/")
    assert len(set(hash_codes("https://example.com/", 16))) == 16


@pytest.mark.parametrize(
    "word",
    ["api", "API", "healthz", "readyz", "metrics", "static", "favicon", "robots", "Admin", "well_known", "_api-"],
)
def test_reserved_words_are_reserved_in_any_spelling(word: str):
    assert is_reserved(word)


def test_every_reserved_word_is_written_as_the_check_compares_it():
    assert all(is_reserved(word) for word in RESERVED)


@pytest.mark.parametrize("alias", ["abc", "my-link", "Sommer_2026", "x" * 32, "123"])
def test_good_aliases_pass(alias: str):
    assert check_alias(alias) == alias


@pytest.mark.parametrize(
    ("alias", "says"),
    [
        ("", "3 to 32"),
        ("ab", "this one has 2"),
        ("x" * 33, "this one has 33"),
        ("with space", "letters"),
        ("slash/es", "letters"),
        ("dot.ted", "letters"),
        ("überall", "letters"),
        ("new\r\nline", "letters"),
        ("trailing\n", "letters"),
        ("plus+", "letters"),
        ("api", "reserved"),
        ("HealthZ", "reserved"),
    ],
)
def test_bad_aliases_are_refused_with_the_reason(alias: str, says: str):
    with pytest.raises(Refusal, match=says) as caught:
        check_alias(alias)
    assert caught.value.field == "alias"


@pytest.mark.parametrize("text", ["", "a" * 33, "favicon.ico", "abc+", "a/b", "a\n", "é"])
def test_what_cannot_be_a_code_is_not_worth_a_look(text: str):
    assert not looks_like_code(text)
