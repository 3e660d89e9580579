"""The wire formats of the streaming clients, against examples of the standards and every way to cut the bytes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.prove.connections.frames import (
    CLOSE,
    NO_CODE,
    TEXT,
    Event,
    Events,
    Frame,
    Frames,
    ProtocolError,
    accept_of,
    encode,
)


def test_the_examples_of_rfc_6455() -> None:
    assert accept_of("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert encode(TEXT, b"Hello", bytes([0x37, 0xFA, 0x21, 0x3D])).hex() == "818537fa213d7f9f4d5158"
    assert Frames().feed(bytes.fromhex("810548656c6c6f")) == [Frame(TEXT, b"Hello")]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_a_frame_says_its_size_in_the_shortest_form_and_is_masked(size: int) -> None:
    framed = encode(TEXT, b"x" * size, b"\0\0\0\0")
    assert framed.endswith(b"x" * size)
    assert framed[1] & 0x80
    head = 6 if size < 126 else 8 if size < 65_536 else 14
    assert len(framed) == head + size


def server_frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    long = bytes([size]) if size < 126 else bytes([126]) + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + long + payload


@given(st.lists(st.binary(max_size=300), max_size=5), st.lists(st.integers(0, 1500), max_size=8))
def test_frames_are_whole_however_their_bytes_arrive(payloads: list[bytes], cuts: list[int]) -> None:
    data = b"".join(server_frame(TEXT, payload) for payload in payloads)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    frames = Frames()
    found = [frame for a, b in itertools.pairwise(edges) for frame in frames.feed(data[a:b])]
    assert found == [Frame(TEXT, payload) for payload in payloads]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x01\x00", "fragment"),
        (b"\x80\x00", "fragment"),
        (b"\xc1\x00", "extension"),
        (b"\x81\x80", "mask"),
        (b"\x81\x7f" + (1 << 40).to_bytes(8, "big"), "bytes"),
    ],
)
def test_what_a_server_may_not_send_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        Frames().feed(data)


def test_a_close_frame_has_a_code_or_none() -> None:
    assert Frame(CLOSE, (1012).to_bytes(2, "big") + b"bye").code == 1012
    assert Frame(CLOSE, b"").code == NO_CODE


def test_events_are_read_as_html_says() -> None:
    text = b": hello\n\nid: 1\ndata: a\ndata:b\n\nevent: x\ndata\n\nid: 2\n\ndata:  two\r\n\r\nid\ndata: c\r\r"
    expected = [Event("1", "a\nb"), Event("1", ""), Event("2", " two")]
    assert Events().feed(text) == expected, "the last CR may be half of a line end"
    events = Events()
    events.feed(text)
    assert events.feed(b"\n") == [Event("", "c")]


@given(st.lists(st.integers(0, 200), max_size=10))
def test_events_are_whole_however_their_bytes_arrive(cuts: list[int]) -> None:
    data = b"".join(b"id: %d\r\ndata: %d\r\n\r\n" % (number, number) for number in range(1, 8)) + b":\n"
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    events = Events()
    found = [each for a, b in itertools.pairwise(edges) for each in events.feed(data[a:b])]
    assert found == [Event(str(number), str(number)) for number in range(1, 8)]


def test_a_line_without_an_end_is_refused() -> None:
    with pytest.raises(ProtocolError, match="line"):
        Events().feed(b"x" * (1 << 21))
