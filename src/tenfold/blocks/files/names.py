"""Names and URLs of static files: the hash in the name, the content type by the extension. Values in, values out."""

from __future__ import annotations

import mimetypes
import re
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote

HASH_CHARS = 16
"""Hex digits of SHA-256 in a URL: 64 bits, so that two contents of one folder do not meet by chance."""

_HASHED = re.compile(r"(.+)\.([0-9a-f]{16})(\.[A-Za-z0-9_-]{1,16})?", re.DOTALL)
_EXTENSION = re.compile(r"\.[A-Za-z0-9_-]{1,16}")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")

# What browsers must be told exactly; the system's own table may say something else on each machine.
_TYPES = {
    ".avif": "image/avif",
    ".css": "text/css",
    ".csv": "text/csv",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".mp4": "video/mp4",
    ".otf": "font/otf",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "text/xml",
}
_SQUEEZED = ("application/json", "application/manifest+json", "application/wasm", "image/svg+xml", "image/x-icon")


@cache
def _built_in() -> mimetypes.MimeTypes:
    """Python's own table. Made when it is first asked: that reads files of the system, which a start has no need of."""
    return mimetypes.MimeTypes(filenames=())


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a URL with a hash asks for."""

    hash: str
    extension: str


def hashed(name: str, digest: str) -> str:
    """The name with the hash before its extension: `css/site.css` becomes `css/site.3f2a91bc5d7e8f01.css`."""
    stem, extension = split(name)
    return f"{stem}.{digest[:HASH_CHARS]}{extension}"


def split(name: str) -> tuple[str, str]:
    """Stem and extension; the extension is empty or a dot and at most 16 plain characters."""
    folder, slash, last = name.rpartition("/")
    stem, dot, extension = last.rpartition(".")
    if stem and _EXTENSION.fullmatch(dot + extension):
        return f"{folder}{slash}{stem}", dot + extension
    return name, ""


def wanted(name: str) -> Wanted | None:
    """What a name with a hash asks for; None for one without."""
    found = _HASHED.fullmatch(name.rpartition("/")[2])
    return Wanted(found[2], found[3] or "") if found else None


def is_prefix(prefix: str) -> bool:
    """Whether URLs may begin with this."""
    return _PREFIX.fullmatch(prefix) is not None and not any(part.strip(".") == "" for part in prefix.split("/")[1:])


def url_path(path: str) -> str:
    """A decoded path as it stands in a URL."""
    return quote(path, safe="/~")


def content_type(extension: str) -> str:
    """The content type, with the character set for text."""
    known = _TYPES.get(extension.lower()) or _built_in().guess_type(f"a{extension}")[0] or "application/octet-stream"
    return f"{known}; charset=utf-8" if known.startswith("text/") else known


def is_text(kind: str) -> bool:
    """Whether gzip makes content of this type much smaller."""
    return kind.startswith("text/") or kind.partition(";")[0] in _SQUEEZED
