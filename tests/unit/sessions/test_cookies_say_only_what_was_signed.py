"""Forged, truncated, replayed, doubled cookies: whatever a client sends is a claim or nothing."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.blocks.sessions import cookie
from tenfold.blocks.sessions.cookie import ANONYMOUS, Claim, Reader
from tenfold.core.clock import ManualClock
from tenfold.core.keyring import KeyRing, RingKey, written
from tenfold.core.randomness import SeededRandomness

ID, OTHER = b"i" * 16, b"o" * 16


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing(tmp_path_factory.mktemp("x") / "secrets" / "session-keys", ManualClock(), SeededRandomness(1))


def made(ring: KeyRing, id_: bytes = ID, version: int = 7) -> bytes:
    return cookie.write(ring, Claim(id_, version)).encode()


def sent(text: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"cookie", b"s=" + text)]


def test_a_cookie_says_what_it_was_made_of(ring: KeyRing) -> None:
    assert cookie.read(ring, [made(ring)]) == Claim(ID, 7)
    assert cookie.read(ring, [made(ring, version=2**40 + 5)]) == Claim(ID, 5)
    assert len(made(ring)) == 56


def test_no_changed_character_goes_unnoticed(ring: KeyRing) -> None:
    text = made(ring)
    for at in range(len(text)):
        for character in b"A_-z9":
            changed = text[:at] + bytes([character]) + text[at + 1 :]
            assert (cookie.read(ring, [changed]) is not None) == (changed == text)


def test_no_part_of_a_cookie_is_one(ring: KeyRing) -> None:
    text = made(ring)
    for part in (*(text[:at] for at in range(len(text))), text + b"A", text + b"=", b" " + text, text + text):
        assert cookie.read(ring, [part]) is None


def test_what_was_signed_for_forms_is_no_session(ring: KeyRing) -> None:
    text = cookie.seal(ring, ANONYMOUS, ID + bytes(4))
    assert cookie.unseal(ring, ANONYMOUS, text.encode(), 20) == ID + bytes(4)
    assert cookie.read(ring, [text.encode()]) is None


def test_a_signature_of_another_ring_is_nothing(ring: KeyRing, tmp_path: Path) -> None:
    other = KeyRing(tmp_path / "secrets" / "session-keys", ManualClock(), SeededRandomness(2))
    assert cookie.read(ring, [made(other)]) is None
    known = base64.urlsafe_b64decode(made(ring))[:4] + base64.urlsafe_b64decode(made(other))[4:]
    assert cookie.read(ring, [base64.urlsafe_b64encode(known)]) is None, "with the name of a key that is known"


def test_of_two_cookies_of_one_session_the_newer_counts(ring: KeyRing) -> None:
    assert cookie.read(ring, [made(ring, version=3), made(ring, version=9), made(ring, version=4)]) == Claim(ID, 9)


def test_of_two_sessions_none_counts_because_one_was_planted(ring: KeyRing) -> None:
    assert cookie.read(ring, [made(ring), made(ring, OTHER)]) is None
    assert cookie.read(ring, [b"forged", made(ring)]) == Claim(ID, 7), "a forged one beside it harms nobody"
    assert cookie.read(ring, [b"forged"] * 4 + [made(ring)]) is None, "only so many are looked at"


def test_a_cookie_is_believed_for_as_long_as_its_key_is_in_the_ring(tmp_path: Path) -> None:
    clock = ManualClock()
    ring = KeyRing(tmp_path / "secrets" / "session-keys", clock, SeededRandomness(1))
    reader, text = Reader(ring), made(ring)
    for _ in range(2):
        assert reader.read(sent(text), b"s", clock.monotonic()) == (Claim(ID, 7), cookie.hash_of(ID))
    ring.rotate(1e9)
    clock.advance(1)
    assert reader.read(sent(text), b"s", clock.monotonic()) is not None
    ring.path.write_text(written((RingKey.of(0, b"n" * 32),)))
    clock.advance(1)
    assert reader.read(sent(text), b"s", clock.monotonic()) is None
    assert reader.refused == 1


def test_a_reader_remembers_so_many_cookies_and_no_more(ring: KeyRing) -> None:
    reader = Reader(ring)
    reader.KEPT = 5
    for version in range(20):
        reader.read(sent(made(ring, version=version)), b"s", 0.0)
        reader.read(sent(b"forged"), b"s", 0.0)
        reader.read(sent(made(ring) + b"; " + b"x" * 1024), b"s", 0.0)
    assert (len(reader._known), reader.refused) == (5, 20)
    assert reader.read([(b"x", b"s")], b"s", 0.0) is None


def test_the_second_cookie_says_the_version_of_its_own_session_only(ring: KeyRing) -> None:
    def seen(*texts: str) -> int:
        return cookie.newest(ring, cookie.hash_of(ID), 7, [text.encode() for text in texts])

    of_it, of_another = (cookie.write_version(ring, cookie.hash_of(each), 12) for each in (ID, OTHER))
    assert (seen(), seen(of_it), seen(of_another), seen(of_another, of_it)) == (7, 12, 7, 12)
    assert seen(cookie.write_version(ring, cookie.hash_of(ID), 3)) == 7
    assert seen(of_it[:-1], of_it + "A", made(ring).decode(), "") == 7
    line = sent(made(ring) + b"; s_at=" + of_it.encode())
    assert Reader(ring).read(line, b"s", 0.0) == (Claim(ID, 12), cookie.hash_of(ID))


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], []),
        ([(b"cookie", b"s=1")], [b"1"]),
        ([(b"cookie", b"a=2; s=1;b=3")], [b"1"]),
        ([(b"cookie", b"a=2;\ts=1 ; s=4")], [b"1", b"4"]),
        ([(b"cookie", b"s=1"), (b"x", b"s=9"), (b"cookie", b"s=2")], [b"1", b"2"]),
        ([(b"cookie", b"xs=1; ss=2; s; S=3; =s")], [b""]),
        ([(b"cookie", b's="1"; s=a=b')], [b'"1"', b"a=b"]),
    ],
)
def test_cookies_are_found_by_their_whole_name(headers: list[tuple[bytes, bytes]], found: list[bytes]) -> None:
    assert cookie.texts_of(headers, b"s") == found


@given(st.lists(st.binary(max_size=80), max_size=6))
def test_no_bytes_make_it_fail(ring: KeyRing, texts: list[bytes]) -> None:
    assert cookie.read(ring, texts) is None
    assert cookie.texts_of([(b"cookie", text) for text in texts], b"s") is not None
