from __future__ import annotations

import enum
import hashlib
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.blocks.database.keys import BUCKETS, bucket_of, canonical, same_key
from tenfold.blocks.database.token import EMPTY, MAX_TOKEN_CHARS, Position, Token, decode
from tenfold.blocks.database.types import InvalidValue

ZERO = uuid.UUID("00000000-0000-0000-0000-000000000000")
HIGH = uuid.UUID("ABCDEF00-0000-4000-8000-00000000000F")
VECTORS: list[tuple[object, int]] = [
    ("", 0xD41), ("a", 0x0CC), ("hello", 0x5D4), (0, 0xCFC), (42, 0xA1D), ("42", 0xA1D), (-1, 0x6BB),
    ("2TX", 0x6B6), (2**63 - 1, 0x157), (ZERO, 0x9F8), (HIGH, 0x926),
]  # fmt: skip


class Kind(enum.StrEnum):
    ONE = "one"


class Number(enum.IntEnum):
    SEVEN = 7


@pytest.mark.parametrize(("key", "bucket"), VECTORS, ids=lambda value: repr(value)[:30])
def test_buckets_are_fixed_for_ever(key: object, bucket: int) -> None:
    assert bucket_of(key) == bucket


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.integers() | st.uuids())
def test_a_bucket_is_the_first_twelve_bits_of_the_md5_of_the_text(key: Any) -> None:
    assert bucket_of(key) == int(hashlib.md5(str(key).encode()).hexdigest()[:3], 16) < BUCKETS
    assert same_key(key, canonical(key))


def test_enum_members_are_keys_by_their_value() -> None:
    assert canonical(Kind.ONE) == "one"
    assert canonical(Number.SEVEN) == "7"
    assert bucket_of(Kind.ONE) == bucket_of("one")


@pytest.mark.parametrize("key", [None, True, 1.5, b"x", ("a",), "\ud800"])
def test_other_things_are_no_keys(key: object) -> None:
    with pytest.raises(InvalidValue, match=r"TF-VALUE: Found .*; a key is"):
        bucket_of(key)


positions = st.builds(Position, *[st.integers(0, 2**40)] * 4)
tokens = st.dictionaries(st.sampled_from(["0", "1", "s2", "s3"]), positions).map(
    lambda found: Token(tuple(sorted(found.items())))
)


@given(tokens, tokens, tokens)
def test_merging_tokens_is_commutative_associative_idempotent_and_never_goes_back(
    one: Token, two: Token, three: Token
) -> None:
    assert one.merged(two) == two.merged(one)
    assert one.merged(two).merged(three) == one.merged(two.merged(three))
    assert one.merged(one) == one
    assert one.merged(EMPTY) == one == EMPTY.merged(one)
    for shard, position in (*one.positions, *two.positions):
        assert (one.merged(two).at(shard) or position) >= position
    assert one.advanced("s2", Position(1, 2, 3, 4)).at("s2") >= Position(1, 2, 3, 4)  # type: ignore[operator]


@given(tokens)
def test_tokens_survive_their_encoding(token: Token) -> None:
    text = token.encode()
    assert decode(text) == token
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_garbage_is_the_empty_token_or_a_token_and_never_an_error(text: str) -> None:
    decoded = decode(text)
    assert decode(decoded.encode()) == decoded


@given(tokens, st.integers(0, 400), st.integers(1, 255))
def test_damaged_tokens_never_raise(token: Token, at: int, change: int) -> None:
    raw = bytearray(token.encode().encode())
    if raw:
        raw[at % len(raw)] ^= change
    decode(raw.decode("latin-1"))


def test_oversized_tokens_are_ignored() -> None:
    crowd = Token(tuple((str(n), Position(1, 1, 1, 1)) for n in range(65)))
    assert decode(crowd.encode()) == EMPTY
    assert decode("A" * (MAX_TOKEN_CHARS + 1)) == EMPTY
    assert EMPTY.encode() == ""
    assert decode("") == EMPTY
