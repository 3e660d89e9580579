"""What HTTP says about content that is known: conditions, ranges, encodings, names of downloads. Values in, values out.

After RFC 9110 (sections 8.8, 12.5.3, 13, 14), RFC 6266 and RFC 8187 (Content-Disposition).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

Headers = list[tuple[bytes, bytes]]
Lookup = Callable[[str], str | None]
"""The first header of a request by its lower-case name, or None."""

_TAGS = re.compile(r'(?:W/)?("[^"]*")')
_RANGE = re.compile(r"\s*bytes\s*=\s*+(\d{0,18})\s*+-\s*+(\d{0,18})\s*+", re.ASCII | re.IGNORECASE)
_CODING = re.compile(r"\s*([\w*-]+)\s*(?:;\s*q\s*=\s*([\d.]+)\s*)?", re.ASCII)
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_FORBIDDEN_ASCII = re.compile(r'[^\x20-\x7e]|["\\%;]')

NAME_MAX = 200
"""Characters of the name of a file."""


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from `start` to `stop`, without the last."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many bytes."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and headers of an answer about content, and which bytes are its body (None: none).

    The headers hold no Content-Length; it is the size of the span, and none for 304.
    """

    status: int
    headers: Headers
    span: Span | None


def answer(header: Lookup, size: int, etag: str, headers: Headers) -> Answer:
    """What to send for content of `size` bytes: 200, 206, 304 or 416. `headers` go with all but the last."""
    tagged = [*headers, (b"etag", etag.encode("ascii"))]
    if matches(header("if-none-match"), etag):
        return Answer(304, tagged, None)
    span = wanted(header("range"), size) if _range_holds(header("if-range"), etag) else "whole"
    if span == "whole":
        return Answer(200, [*tagged, (b"accept-ranges", b"bytes")], Span(0, size))
    if span == "none":
        return Answer(416, [(b"content-range", b"bytes */%d" % size), (b"cache-control", b"no-store")], None)
    part = (b"content-range", b"bytes %d-%d/%d" % (span.start, span.stop - 1, size))
    return Answer(206, [*tagged, (b"accept-ranges", b"bytes"), part], span)


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has this content already (the weak comparison)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag.removeprefix("W/") in _TAGS.findall(if_none_match)


def _range_holds(if_range: str | None, etag: str) -> bool:
    """A date does not hold: no answer of ours carries Last-Modified."""
    return if_range is None or if_range.strip() == etag


def wanted(header: str | None, size: int) -> Span | Literal["whole", "none"]:
    """The range that was asked for; "none" when it lies outside.

    Several ranges, other units and what cannot be read are passed over, as RFC 9110 14.2 allows: the whole is sent. A
    multipart answer would cost more than it helps, and lets a client ask for one byte a thousand times.
    """
    found = _RANGE.fullmatch(header) if header is not None else None
    if found is None or not (found[1] or found[2]):
        return "whole"
    if not found[1]:
        last = min(int(found[2]), size)
        return Span(size - last, size) if last else "none"
    start, stop = int(found[1]), int(found[2]) + 1 if found[2] else size
    if stop <= start and found[2]:
        return "whole"  # "9-3" is no range
    return Span(start, min(stop, size)) if start < size else "none"


def accepts(accept_encoding: str | None, coding: str) -> bool:
    """Whether the client takes this content coding; only when it says so."""
    if not accept_encoding:
        return False
    quality: dict[str, str | None] = {}
    for part in accept_encoding.lower().split(","):
        if found := _CODING.fullmatch(part):
            quality[found[1]] = found[2]
    if coding in quality or "*" in quality:
        return (quality.get(coding, quality.get("*")) or "1").strip("0.") != ""
    return False


def plain_name(name: str) -> str:
    """A client's name for its file as we keep it: one line without a path, at most 200 characters; maybe "file"."""
    last = re.split(r"[/\\]", name)[-1]
    shown = _UNSHOWN.sub("", last).strip().strip(".")
    if len(shown) > NAME_MAX:
        stem, dot, extension = shown.rpartition(".")
        keep = f"{dot}{extension}" if 0 < len(extension) <= 16 and stem else ""
        shown = shown[: NAME_MAX - len(keep)] + keep
    return shown or "file"


def disposition(kind: Literal["attachment", "inline"], name: str) -> bytes:
    """The value of Content-Disposition: for old clients in ASCII, for the others exactly."""
    name = plain_name(name)
    plain = _FORBIDDEN_ASCII.sub("_", name)
    text = f'{kind}; filename="{plain}"'
    if plain != name:
        text += f"; filename*=UTF-8''{quote(name, safe='')}"
    return text.encode("ascii")


def lookup(headers: Mapping[str, str] | list[tuple[bytes, bytes]]) -> Lookup:
    """A look-up in the headers of an ASGI scope, or in a mapping with lower-case names."""
    if isinstance(headers, Mapping):
        return headers.get
    found: dict[str, str] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found.get
