"""Ranges, conditions, encodings, names of downloads, and what content is by its bytes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenfold.blocks.files.http import NAME_MAX, Span, accepts, answer, disposition, matches, plain_name, wanted
from tenfold.blocks.files.kinds import ACTIVE, KNOWN, Types, kind_of
from tenfold.blocks.files.names import content_type, hashed, is_prefix
from tenfold.blocks.files.names import wanted as wanted_name


@pytest.mark.parametrize(
    ("asked", "size", "expected"),
    [
        (None, 10, "whole"),
        ("bytes=0-0", 10, Span(0, 1)),
        ("bytes=0-9", 10, Span(0, 10)),
        ("bytes=0-99", 10, Span(0, 10)),
        ("bytes=3-", 10, Span(3, 10)),
        ("bytes=-3", 10, Span(7, 10)),
        ("bytes=-99", 10, Span(0, 10)),
        ("BYTES = 1-2", 10, Span(1, 3)),
        ("bytes=10-", 10, "none"),
        ("bytes=10-12", 10, "none"),
        ("bytes=-0", 10, "none"),
        ("bytes=0-", 0, "none"),
        ("bytes=-1", 0, "none"),
        ("bytes=9-3", 10, "whole"),
        ("bytes=0-1,3-4", 10, "whole"),
        ("bytes=-", 10, "whole"),
        ("bytes=a-b", 10, "whole"),
        ("items=0-1", 10, "whole"),
        ("bytes=٣-٤", 10, "whole"),
        (f"bytes={'9' * 19}-", 10, "whole"),
        ("", 10, "whole"),
    ],
)
def test_a_range_is_one_part_the_whole_or_none(asked: str | None, size: int, expected: object) -> None:
    assert wanted(asked, size) == expected


@given(st.text(st.sampled_from("bytes=-, 0123456789"), max_size=24), st.integers(0, 50))
def test_no_range_leads_out_of_the_content(asked: str, size: int) -> None:
    found = wanted(asked, size)
    if isinstance(found, Span):
        assert 0 <= found.start < found.stop <= size


@pytest.mark.parametrize(
    ("headers", "status", "span"),
    [
        ({}, 200, Span(0, 10)),
        ({"if-none-match": '"e"'}, 304, None),
        ({"if-none-match": 'W/"a", W/"e"'}, 304, None),
        ({"if-none-match": "*"}, 304, None),
        ({"if-none-match": '"x"'}, 200, Span(0, 10)),
        ({"if-none-match": "e"}, 200, Span(0, 10)),
        ({"if-none-match": '"e"', "range": "bytes=1-2"}, 304, None),
        ({"range": "bytes=1-2"}, 206, Span(1, 3)),
        ({"range": "bytes=1-2", "if-range": '"e"'}, 206, Span(1, 3)),
        ({"range": "bytes=1-2", "if-range": 'W/"e"'}, 200, Span(0, 10)),
        ({"range": "bytes=1-2", "if-range": "Wed, 21 Oct 2015 07:28:00 GMT"}, 200, Span(0, 10)),
        ({"range": "bytes=99-"}, 416, None),
    ],
)
def test_conditions_come_before_ranges(headers: dict[str, str], status: int, span: Span | None) -> None:
    found = answer(headers.get, 10, '"e"', [(b"x", b"y")])
    assert (found.status, found.span) == (status, span)
    said = dict(found.headers)
    assert said.get(b"content-range") == {206: b"bytes 1-2/10", 416: b"bytes */10"}.get(status)
    assert (said.get(b"etag") == b'"e"') == (status != 416)
    assert said.get(b"accept-ranges") == (b"bytes" if status in (200, 206) else None)


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("br, gzip;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("*", True),
        ("*;q=0", False),
        ("*;q=0, gzip", True),
        ("gzip;q=0, *", False),
        ("identity", False),
        ("gzip;q=0.001", True),
        ("gzip;q=1.0", True),
        ("x" * 5000, False),
    ],
)
def test_a_coding_is_used_only_where_the_client_takes_it(header: str | None, taken: bool) -> None:
    assert accepts(header, "gzip") is taken


def test_a_tag_is_matched_whole() -> None:
    assert matches('"a", "b"', '"b"')
    assert not matches('"ab"', '"b"')
    assert not matches(None, '"b"')


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("cat.png", "cat.png"),
        ("C:\\Users\\me\\cat.png", "cat.png"),
        ("../../etc/passwd", "passwd"),
        ("", "file"),
        ("..", "file"),
        (".bashrc", "bashrc"),
        ("a\r\nSet-Cookie: x", "aSet-Cookie: x"),
        ("photo\u202egnp.exe", "photognp.exe"),
        ("\ud800.txt", "txt"),
        ("a" * 300 + ".png", "a" * (NAME_MAX - 4) + ".png"),
        ("고양이.png", "고양이.png"),
    ],
)
def test_a_clients_name_is_kept_as_one_plain_line(name: str, kept: str) -> None:
    assert plain_name(name) == kept


@given(st.text(max_size=300))
def test_no_name_breaks_out_of_its_header_and_new_clients_get_it_exactly(name: str) -> None:
    said = disposition("attachment", name).decode("ascii")
    found = re.fullmatch(r"attachment; filename=\"([^\"\\%;]*)\"(?:; filename\*=UTF-8''([A-Za-z0-9%._~-]*))?", said)
    assert found is not None
    assert (unquote(found[2]) if found[2] else found[1]) == plain_name(name)
    assert said.isprintable()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n1", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt", "audio/wav"),
        (b"\x00\x00\x00\x20ftypavif", "image/avif"),
        (b"\x00\x00\x00\x20ftypisom", "video/mp4"),
        (b"\x00\x00\x00\x20ftypM4A ", "audio/mp4"),
        (b"\x1aE\xdf\xa3\x00\x00webm", "video/webm"),
        (b"%PDF-1.7", "application/pdf"),
        (b"PK\x03\x04", "application/zip"),
        (b"\x1f\x8b\x08", "application/gzip"),
        (b"MZ\x90\x00", "application/x-msdownload"),
        (b"\x7fELF", "application/x-executable"),
        (b"\x00" * 257 + b"ustar", "application/x-tar"),
        (b"<svg xmlns='x'>", "image/svg+xml"),
        (b"<?xml version='1.0'?>\n<!-- x --><svg>", "image/svg+xml"),
        (b"<?xml version='1.0'?><a/>", "text/xml"),
        (b"  <!DOCTYPE html>", "text/html"),
        (b"\xef\xbb\xbf<html>", "text/html"),
        (b"<script>", "text/html"),
        (b"hello", "text/plain"),
        (b"", "text/plain"),
        ("é".encode()[:1], "text/plain"),
        (b"a\x00b", "application/octet-stream"),
        (b"\xff\xfe a", "application/octet-stream"),
        (b"<scripted", "text/plain"),
    ],
)
def test_content_is_what_its_first_bytes_say(head: bytes, kind: str) -> None:
    assert kind_of(head) == kind


@pytest.mark.parametrize(
    "judge",
    [
        lambda: kind_of(b"<!---->" * 26),
        lambda: wanted(f"bytes={' ' * 60_000}x", 1),
        lambda: accepts(" " * 60_000 + "x", "br"),
    ],
    ids=["comments", "range", "encodings"],
)
def test_what_a_client_makes_up_takes_no_time_to_judge(judge: Callable[[], object]) -> None:
    began = time.process_time()
    judge()
    assert time.process_time() - began < 0.5  # patterns that try all ways take 5 s and more


@given(st.binary(max_size=600))
def test_every_content_has_a_type_that_is_known(head: bytes) -> None:
    assert kind_of(head) in KNOWN


def test_patterns_let_nothing_in_that_can_carry_scripts() -> None:
    for pattern in {kind.partition("/")[0] + "/*" for kind in KNOWN}:
        types = Types([pattern])
        assert not any(types.allow(kind) for kind in ACTIVE), pattern
    assert Types(["image/svg+xml"]).allow("image/svg+xml")
    assert Types(None).allow("text/html")
    assert not Types(()).allow("text/plain")


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("site.css", "site.0123456789abcdef.css"),
        ("css/app.min.js", "css/app.min.0123456789abcdef.js"),
        ("LICENSE", "LICENSE.0123456789abcdef"),
        ("a.tar.gz", "a.tar.0123456789abcdef.gz"),
        ("v1.2/x", "v1.2/x.0123456789abcdef"),
        ("a.b c", "a.b c.0123456789abcdef"),
    ],
)
def test_the_hash_stands_before_the_extension_and_is_found_again(name: str, url: str) -> None:
    assert hashed(name, "0123456789abcdef0000") == url
    found = wanted_name(f"/static/{url}")
    assert found is not None
    assert found.hash == "0123456789abcdef"


@pytest.mark.parametrize("name", ["site.css", "a.0123.css", "a.0123456789abcdeg.css", ".0123456789abcdef.css", ""])
def test_what_has_no_hash_asks_for_none(name: str) -> None:
    assert wanted_name(f"/static/{name}") is None


@pytest.mark.parametrize(
    ("prefix", "allowed"),
    [
        ("/static", True),
        ("/a/b-c", True),
        ("static", False),
        ("/", False),
        ("", False),
        ("/a/", False),
        ("/..", False),
        ("/a/./b", False),
        ("/{x}", False),
        ("/a b", False),
    ],
)
def test_a_prefix_is_plain(prefix: str, allowed: bool) -> None:
    assert is_prefix(prefix) is allowed


def test_types_are_the_same_on_every_machine() -> None:
    assert content_type(".css") == "text/css; charset=utf-8"
    assert content_type(".JS") == "text/javascript; charset=utf-8"
    assert content_type(".woff2") == "font/woff2"
    assert content_type(".png") == "image/png"
    assert content_type(".unheard") == content_type("") == "application/octet-stream"
