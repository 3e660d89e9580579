"""What content is by its own bytes, whatever its sender claims. Values in, values out.

Signatures after the MIME Sniffing Standard (section 6) and the formats' own descriptions. They say how a content
begins, not that all of it is sound: what users bring is served so that a browser runs none of it (answers.py).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

from tenfold.core.errors import ContractError

HEAD_BYTES = 512
"""So much of a content decides what it is."""

OTHER = "application/octet-stream"
TEXT = "text/plain"

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"\x00\x00\x01\x00", "image/x-icon"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"OggS\x00", "application/ogg"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"\x00asm", "application/wasm"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"MZ", "application/x-msdownload"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heic",
    b"qt  ": "video/quicktime",
    b"M4A ": "audio/mp4",
}
# `*+` never tries a shorter way: comments in a row could be read in 2^n ways, and the client chooses the head.
_MARKUP: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"(?:\s|<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE svg[^>]*>)*+<svg[\s>]", re.I | re.S), "image/svg+xml"),
    (re.compile(rb"(?:\s|<!--.*?-->)*+<(!doctype html|html|head|body|script|iframe|title|table|div|a|p|h1|br)[\s>]",
                re.I | re.S), "text/html"),
    (re.compile(rb"\s*<\?xml[\s?]", re.I), "text/xml"),
)  # fmt: skip

KNOWN = frozenset(
    {kind for _, _, kind in _SIGNATURES}
    | set(_RIFF.values())
    | set(_BRANDS.values())
    | {kind for _, kind in _MARKUP}
    | {"video/mp4", "video/webm", "video/x-matroska", TEXT, OTHER}
)
"""All types that can be told."""

ACTIVE = frozenset({"image/svg+xml", "text/html", "text/xml", "application/wasm"})
"""What may carry scripts: only its own name lets it in, no pattern such as `image/*`."""


def kind_of(head: bytes) -> str:
    """The type of a content by its first `HEAD_BYTES`; text and octet-stream where nothing tells more."""
    for at, signature, kind in _SIGNATURES:
        if head.startswith(signature, at):
            return kind
    if head[:4] == b"RIFF" and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[:4] == b"\x1aE\xdf\xa3":
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    return _text_kind(head) if _may_be_text(head) else OTHER


def _may_be_text(head: bytes) -> bool:
    check = TextCheck()
    check.feed(head)
    return check.is_text


def _text_kind(head: bytes) -> str:
    start = head.removeprefix(b"\xef\xbb\xbf")
    return next((kind for pattern, kind in _MARKUP if pattern.match(start)), TEXT)


class TextCheck:
    """Whether what is fed to it piece by piece is UTF-8 without control characters other than white space."""

    _CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")

    def __init__(self) -> None:
        self.is_text = True
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")

    def feed(self, piece: bytes, final: bool = False) -> None:
        """Looks at the next piece; `final` at the last, where a character must not be cut."""
        if self.is_text:
            try:
                self._decoder.decode(piece, final)
            except UnicodeDecodeError:
                self.is_text = False
            else:
                self.is_text = self._CONTROL.search(piece) is None


class Types:
    """The types that an upload may have: names and patterns such as `image/*`; None for any."""

    def __init__(self, patterns: Iterable[str] | None) -> None:
        self.patterns = None if patterns is None else tuple(patterns)
        allowed: set[str] = set()
        for pattern in self.patterns or ():
            found = _named(pattern)
            if not found:
                raise ContractError(
                    f"The type {pattern!r} is none that can be told from content.",
                    hint=f"There are: {', '.join(sorted(KNOWN))}; or a group such as image/*.",
                    code="TF-FILES-TYPES",
                )
            allowed |= found
        self._allowed = frozenset(allowed)

    def allow(self, kind: str) -> bool:
        """Whether a content of this type is taken."""
        return self.patterns is None or kind in self._allowed


def _named(pattern: str) -> set[str]:
    if pattern.endswith("/*"):
        return {kind for kind in KNOWN if kind.startswith(pattern[:-1]) and kind not in ACTIVE}
    return {pattern} & KNOWN
