"""Tokens against forged forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.blocks.sessions.csrf import CsrfRefused, check, fits, masked, secret_of

KEY = b"k" * 32
SECRET, OTHER = secret_of(KEY, b"one"), secret_of(KEY, b"other")


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_a_token_fits_its_secret_whatever_the_mask(mask: bytes, other: bytes) -> None:
    assert fits(masked(SECRET, mask), SECRET)
    assert not fits(masked(OTHER, mask), SECRET)
    assert (masked(SECRET, mask) == masked(SECRET, other)) == (mask == other)


@given(st.text(max_size=60))
def test_no_text_is_taken_for_a_token(text: str) -> None:
    assert not fits(text, SECRET)


@pytest.mark.parametrize(
    "token", [None, "", "x" * 43, "ä" * 43, masked(OTHER, bytes(16)), masked(SECRET, bytes(16))[:-1]]
)
def test_a_form_without_the_token_is_refused_with_what_to_do(token: str | None) -> None:
    with pytest.raises(CsrfRefused) as refused:
        check(token, [SECRET])
    assert (refused.value.status, refused.value.code) == (403, "TF-CSRF")
    assert "Load the page again" in refused.value.hint


def test_a_visitor_without_a_secret_has_no_right_token() -> None:
    with pytest.raises(CsrfRefused):
        check(masked(SECRET, bytes(16)), [])
    check(masked(SECRET, bytes(16)), [OTHER, SECRET])


def test_each_key_and_each_visitor_has_another_secret() -> None:
    assert len({SECRET, OTHER, secret_of(b"l" * 32, b"one")}) == 3
